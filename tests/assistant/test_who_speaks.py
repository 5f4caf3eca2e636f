"""Every way in answers with what is in use: before a promotion, after it and after a rollback; one server all along."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlite_utils import Database
from textual.widget import Widget

from assistant.adapters.folder import hash_of
from assistant.adapters.speakers import BASE
from assistant.cli.group import run as run_assistant
from assistant.client import Client
from assistant.dialogue.exchange import Dialogue, ReplyEnded
from assistant.dialogue.replay import replay
from assistant.engine.generate.sampling import Sampling
from assistant.engine.models import catalogue
from assistant.events import Finished, Token
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import conversations, messages
from assistant.store.database import open_database, open_memory
from assistant.store.training import adapters
from assistant.tui.clock import local_now
from assistant.tui.log_worker import LogWorker
from assistant.tui.logs import Logs
from assistant.tui.prompts.trying import Trying
from finetune.cli.group import top as finetune
from finetune.prove import promote
from prompts.library import Library
from prompts.message import Message
from tests.assistant.engine import tiny
from tests.assistant.engine.test_adapted_engine import save_adapter

SAID = "the quick brown fox jumps over"
GREEDY = {"temperature": 0.0, "max_tokens": 12, "seed": 1}
TEMPLATES = {
    "say": "---\nkind: text\nsampling: {max_tokens: 12}\n---\n# user\n{{ input }}\n",
    "mood": "---\nkind: label\nlabels: {good: [quick], bad: [lazy]}\n---\n# user\n{{ input }}?\n",
}


@pytest.fixture
def db(home: Paths, tmp_path: Path) -> Iterator[Database]:
    """The log of a home with a tiny model, an adapter of it that isn't in use yet, and two templates with data."""
    catalogue.add_path(home, "tiny", tiny.save(tmp_path / "tiny"))
    home.config_file.write_text('model = "tiny"\ntemplate = "plain"\n[sampling]\ntemperature = 0.0\nmax_tokens = 12\n')
    for name, text in TEMPLATES.items():
        (home.templates / f"{name}.md").write_text(text)
    rows = [{"input": f"{number} {SAID}", "label": ("good", "bad")[number % 2]} for number in range(12)]
    (home.templates / "mood.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "rows.txt").write_text(SAID)
    save_adapter(tmp_path / "tiny", home.adapters / "sea", 1)
    db = open_database(home.database)
    base_hash = promote.weights_hash(home, "tiny")
    adapters.add(db, hash_of(home.adapters / "sea"), "sea", None, "tiny", base_hash, {})
    yield db
    db.close()


@pytest.fixture
def url(db: Database) -> Iterator[str]:  # noqa: ARG001  the model is there before the server is
    """An `assistant serve` that all programs of this home share."""
    line = [sys.executable, "-m", "assistant", "serve", "--port", "0"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().rpartition(" ")[2].strip()
    process.kill()
    process.communicate()


@pytest.fixture
async def client(home: Paths, url: str) -> AsyncIterator[Client]:  # noqa: ARG001  it finds the one that serves
    async with Client(home, Settings()) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_is_piped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)


def post(url: str, path: str, **fields: Any) -> dict[str, Any]:
    asked = {"model": "tiny", "messages": [{"role": "user", "content": SAID}], **fields}
    answer: dict[str, Any] = httpx.post(f"{url}/{path}", json=asked, trust_env=False, timeout=60).json()
    return answer


def command(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """What a command line printed as JSON."""
    capsys.readouterr()
    code = run_assistant([*words, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    told: dict[str, Any] = json.loads(out)
    return told


async def said_in_chat(dialogue: Dialogue, db: Database) -> int:
    """The id of a reply in a new conversation."""
    talk = conversations.create(db, model="tiny", template="plain", sampling=GREEDY).id
    async with aclosing(dialogue.send(talk, SAID, parent_id=None)) as steps:
        (ended,) = [step async for step in steps if isinstance(step, ReplyEnded)]
    assert ended.error == ""
    return ended.message_id


async def who_speaks(
    home: Paths, db: Database, url: str, client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """(the name of the adapter that spoke, what it said) for each way in."""
    speaks: dict[str, str] = {}
    says: dict[str, str] = {}
    names = {"": "", hash_of(home.adapters / "sea"): "sea"}
    library = Library(home.templates)
    private = open_memory()
    for way, log in (("chat", db), ("private chat", private)):
        dialogue = Dialogue(log, client, library, Settings(), registry=db)
        message_id = await said_in_chat(dialogue, log)
        speaks[way] = names[messages.reply_info(log, message_id).provenance.adapter_hash]
        says[way] = messages.get(log, message_id).content
        if log is db:
            again = await replay(db, client, home, message_id)
            assert again.same and again.whole
    private.close()
    async with aclosing(client.chat("tiny", [Message("user", SAID)], Sampling(**GREEDY))) as events:
        heard = [event async for event in events]
    says["client"] = "".join(event.text for event in heard if isinstance(event, Token))
    speaks["client"] = names[next(event.adapter_hash for event in heard if isinstance(event, Finished))]
    worker = LogWorker(partial(open_database, home.database))
    trying = Trying(Widget(), Logs(worker, library, home, Settings(model="tiny")), local_now)
    speaks["prompts screen"] = (await trying.task(library.find("say"))).adapter
    await worker.close()

    chat = post(url, "chat/completions", **GREEDY)
    speaks["API"], says["API"] = chat["adapter"], chat["choices"][0]["message"]["content"]
    assert chat["model"] == f"tiny:{chat['adapter']}".removesuffix(":")
    assert names[chat["adapter_hash"]] == chat["adapter"]
    with httpx.stream("POST", f"{url}/chat/completions", trust_env=False, json={
        "model": "tiny", "messages": [{"role": "user", "content": SAID}], "stream": True, **GREEDY
    }) as stream:  # fmt: skip
        chunks = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: {")]
    assert {chunk["model"] for chunk in chunks} == {chat["model"]}
    for way in ("score", "logprobs", "completions"):
        answer = post(url, way, continuations=["the fox"], reply="the fox", prompt=SAID, max_tokens=4)
        speaks[way] = answer["adapter"]
        assert answer["model"] == chat["model"]
    listed = httpx.get(f"{url}/models", trust_env=False).json()["data"]
    assert [one["id"] for one in listed] == ["tiny", "tiny:base", "tiny:sea"]
    speaks["list of models"] = listed[0]["adapter"]

    def by_commands() -> None:
        """Each runs an event loop of its own."""
        for way, more in (("ask", []), ("ask --no-log", ["--no-log"])):
            told = command(capsys, "ask", SAID, *more)
            speaks[way], says[way] = told["adapter"], told["reply"]
        rows, out = tmp_path / "rows.txt", tmp_path / f"out-{time.monotonic_ns()}.jsonl"
        told = command(capsys, "run", "say", "-i", str(rows), "-o", str(out))
        speaks["run"], says["run"] = told["adapter"], json.loads(out.read_text())["prediction"]
        speaks["prompts test"] = command(capsys, "prompts", "test", "mood")["adapter"]
        speaks["prompts attack"] = command(capsys, "prompts", "test", "mood", "--attack", "--attack-rows", "1")[
            "adapter"
        ]
        speaks["prompts optimize"] = command(
            capsys, "prompts", "optimize", "mood", "--budget", "40", "--out", str(out.with_suffix(".md"))
        ).get("adapter", "")

    await asyncio.to_thread(by_commands)
    return speaks, says


async def test_all_ways_in(
    home: Paths, db: Database, url: str, client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_name = {name: post(url, "chat/completions", model=f"tiny:{name}", **GREEDY) for name in ("base", "sea")}
    text = {name: one["choices"][0]["message"]["content"].strip() for name, one in by_name.items()}
    assert text["base"] != text["sea"]
    assert [one["model"] for one in by_name.values()] == ["tiny", "tiny:sea"]
    made: list[int] = []
    for state in ("before", "promoted", "rolled back"):
        if state == "promoted":
            promote.promote(db, home, "sea", anyway=True)
        elif state == "rolled back":
            finetune(["rollback", "--model", "tiny", "--json"], standalone_mode=False)
        wanted = "sea" if state == "promoted" else ""
        speaks, says = await who_speaks(home, db, url, client, tmp_path, capsys)
        assert speaks == dict.fromkeys(speaks, wanted), state
        assert {way: said.strip() for way, said in says.items()} == dict.fromkeys(says, text[wanted or "base"]), state
        assert len(speaks) == 15
        made.append(await said_in_chat(Dialogue(db, client, Library(home.templates), Settings()), db))
    for message_id in made:
        assert (await replay(db, client, home, message_id)).same, "whatever is in use now"
    base = await said_in_chat(Dialogue(db, client, Library(home.templates), Settings()), db)
    assert messages.get(db, base).content.strip() == text["base"]


async def test_promoted_in_mid_reply_named_and_broken(
    home: Paths, db: Database, url: str, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    """One server sees it all, as it takes long to start."""
    await promoted_in_mid_reply(home, db, client)
    await named(url, client, capsys)
    changed_or_gone(home, url)


async def named(url: str, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever is named speaks, whatever is in use."""
    assert post(url, "chat/completions", adapter="", **GREEDY)["model"] == "tiny"
    assert post(url, "chat/completions", adapter="base", **GREEDY)["model"] == "tiny"
    assert post(url, "chat/completions", model="tiny:base", **GREEDY)["adapter"] == ""
    assert post(url, "chat/completions", adapter="sea", **GREEDY)["adapter"] == "sea"
    refused = post(url, "chat/completions", model="tiny:none", **GREEDY)["error"]
    assert refused["code"] == "adapter_not_found" and "There are: sea" in refused["message"]
    refused = post(url, "embeddings", model="tiny:sea", input="the fox")["error"]
    assert "Embeddings are made by the base alone" in refused["message"]
    assert post(url, "embeddings", model="tiny:base", input="the fox")["data"]

    def by_commands() -> None:
        assert command(capsys, "ask", SAID, "-a", "base")["adapter"] == ""
        assert command(capsys, "ask", SAID)["adapter"] == "sea"
        assert command(capsys, "prompts", "test", "mood", "-a", "base")["adapter"] == ""

    await asyncio.to_thread(by_commands)
    async with aclosing(client.chat("tiny", [Message("user", SAID)], Sampling(**GREEDY), speaker=BASE)) as events:
        assert [event.adapter_hash async for event in events if isinstance(event, Finished)] == [""]


async def promoted_in_mid_reply(home: Paths, db: Database, client: Client) -> None:
    """The reply that is being written goes on with what began it; the next one has the adapter."""
    asked, hashes = Sampling(temperature=0, max_tokens=120), list[str]()
    for _ in range(2):
        async with aclosing(client.chat("tiny", [Message("user", SAID)], asked)) as events:
            async for event in events:
                if isinstance(event, Token) and not adapters.in_use(db, "tiny"):
                    promote.promote(db, home, "sea", anyway=True)
                elif isinstance(event, Finished):
                    hashes.append(event.adapter_hash)
    assert hashes == ["", hash_of(home.adapters / "sea")]


def changed_or_gone(home: Paths, url: str) -> None:
    """What is in use, when its files change or go."""
    assert post(url, "chat/completions", **GREEDY)["adapter"] == "sea"
    weights = home.adapters / "sea" / "adapter_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    refused = post(url, "chat/completions", **GREEDY)["error"]
    assert refused["code"] == "adapter_unusable" and "its files were changed" in refused["message"]
    weights.unlink()
    assert "lacks adapter_model.safetensors" in post(url, "chat/completions", **GREEDY)["error"]["message"]
    (home.adapters / "sea").rename(home.adapters / "elsewhere")
    assert "is gone" in post(url, "chat/completions", **GREEDY)["error"]["message"]
    assert post(url, "chat/completions", model="tiny:base", **GREEDY)["choices"]
    (home.adapters / "elsewhere").rename(home.adapters / "sea")
    weights.write_bytes(kept)
    assert post(url, "chat/completions", **GREEDY)["adapter"] == "sea"
