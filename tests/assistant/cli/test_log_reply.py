"""`assistant log replay`, and `show --provenance` and `--tokens`, with the real model."""

import json

import pytest

from assistant import shades
from assistant.engine.models.catalogue import DEFAULT
from assistant.paths import Paths
from assistant.store import conversations, messages
from assistant.store.database import execute, open_database
from assistant.store.messages import Outcome, Provenance
from tests.assistant.cli.conftest import Cli

pytestmark = pytest.mark.shared_engine


@pytest.fixture
def told(home: Paths) -> int:
    """A reply of three tokens, the last of them unlikely. Its id."""
    db = open_database(home.database)
    one = conversations.create(db, model="m").id
    user = messages.add_user(db, one, None, "Where?")
    made = Provenance("m", "plain", "hash", "# system\n\nBe brief.\n", {"temperature": 0.5}, 3, version="1.2")
    reply = messages.begin_reply(db, one, user, made)
    outcome = Outcome(
        completion_tokens=3, token_ids=[1, 2, 3], logprobs=[-0.01, -1.0, -8.0], token_lengths=[2, 1, 4],
        first_token_s=0.5, total_s=1.5, model_hash="ab" * 32,
    )  # fmt: skip
    messages.end_reply(db, reply, "In 鲸\x1b[m", "complete", outcome)
    db.close()
    return reply


def test_provenance(cli: Cli, told: int) -> None:
    shown = cli("log", "show", str(told), "--provenance").out
    for words in ("m\n", "ab" * 32, "temperature 0.5", "1.2", "0.500 s", "2.0 tokens/s", "# system\n\nBe brief.\n"):
        assert words in shown
    plain = json.loads(cli("log", "show", str(told), "--provenance", "--json").out)
    assert plain["provenance"]["template_text"] == "# system\n\nBe brief.\n"
    assert plain["outcome"]["tokens_per_s"] == 2.0
    assert "not a reply" in cli("log", "show", "1", "--provenance").err
    assert cli("log", "show", str(told), "--provenance", "--tokens").code == 2


def test_tokens_as_numbers_and_as_colours(cli: Cli, told: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [line.split() for line in cli("log", "show", str(told), "--tokens").out.splitlines()]
    assert rows[1:] == [["1", "98", "%", "In"], ["2", "37", "%", "·"], ["3", "<0.1", "%", "鲸"]]
    assert [one["id"] for one in json.loads(cli("log", "show", str(told), "--tokens", "--json").out)] == [1, 2, 3]
    monkeypatch.setattr("assistant.cli.log_reply._colours", lambda: True)
    for colours, code in (("truecolor", "48;2;255;120;80m"), ("", "48;5;209m")):
        monkeypatch.setenv("COLORTERM", colours)
        shown = cli("log", "show", str(told), "--tokens").out
        assert shown.startswith("In\x1b[38;")
        assert f"{code}鲸" in shown and "\x1b[m" not in shown


@pytest.mark.parametrize(
    ("logprob", "strength", "percent"),
    [(0.0, 0.0, "100 %"), (-0.05, 0.0, "95 %"), (-2.3026, 1 / 3, "10 %"), (-99.0, 1.0, "<0.1 %")],
)
def test_shades(logprob: float, strength: float, percent: str) -> None:
    assert shades.strength(logprob) == pytest.approx(strength, abs=0.01)
    assert shades.percent(logprob) == percent


@pytest.mark.slow
def test_replay(cli: Cli, real_home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    asked = json.loads(cli("ask", "Name a colour.", "-m", DEFAULT, "-o", "max_tokens=12", "--json").out)
    reply = str(asked["message_id"])
    same = cli("log", "replay", reply)
    assert (same.code, same.out.startswith("The same: ")) == (0, True), same
    shown = json.loads(cli("log", "show", reply, "--tokens", "--alternatives", "--json").out)
    assert "".join(token["text"] for token in shown) == asked["reply"]
    assert len(shown[0]["top"]) == 5
    table = cli("log", "show", reply, "--alternatives").out
    assert "likeliest in its place" in table and table.count("\n") == len(shown) + 1
    db = open_database(real_home.database)
    execute(db, "UPDATE messages SET content = content || ' no' WHERE id = ?", (asked["message_id"],))
    db.close()
    differs = cli("log", "replay", reply)
    assert differs.code == 1 and "It differs from character" in differs.out
    assert differs.out.splitlines()[1].endswith("| no")
    assert cli("log", "replay", "1").code == 2
