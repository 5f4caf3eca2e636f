"""`finetune data` from a real corpus and a real log, by the tokens of the real default model."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from assistant.cli.group import run
from assistant.paths import Paths
from assistant.store import deletion
from assistant.store.database import open_database
from assistant.store.files.exports.exporter import export
from assistant.store.files.imports.importer import import_file
from assistant.store.judgements import curation
from assistant.store.judgements.curation import rate
from assistant.store.redaction.apply import apply
from assistant.store.redaction.redactor import Redactor
from assistant.store.training import datasets, learned, runs
from finetune.cli.group import top
from finetune.data import statistics
from finetune.data.example import Example
from finetune.progress import Advanced, from_line
from tests.finetune import corpus

pytestmark = pytest.mark.slow


@pytest.fixture
def data(real_home: Paths, capsys: pytest.CaptureFixture[str]) -> Any:  # noqa: ARG001  the command finds its home
    """Run `finetune data`; its last line as an object, or with a failure its sentence."""

    def call(*words: str) -> Any:
        capsys.readouterr()
        code = run(["data", *map(str, words), "--json"], top, "finetune")
        out, err = capsys.readouterr()
        return json.loads(out.splitlines()[-1]) if not code else err

    return call


def opened(home: Paths) -> Database:
    return open_database(home.database)


def curated(db: Database, folder: Path, count: int = 40) -> list[int]:
    """That many exchanges of the corpus in the log, each rated good. The replies."""
    import_file(db, corpus.write(folder / "log.jsonl", most=count))
    replies = [row[0] for row in db.execute("SELECT message_id FROM exchanges ORDER BY message_id")]
    for one in replies:
        rate(db, one, 1)
    return replies


def test_several_files_are_one_dataset(data: Any, tmp_path: Path) -> None:
    lines = corpus.write(tmp_path / "both.jsonl", most=40).read_text(encoding="utf-8").splitlines(keepends=True)
    halves = [tmp_path / "first.jsonl", tmp_path / "second.jsonl"]
    for path, half in zip(halves, (lines[:20], lines[20:]), strict=True):
        path.write_text("".join(half), encoding="utf-8")
    made = data("--file", halves[0], "--file", halves[1], "--name", "halves")
    assert made["conversations"] == data("--file", tmp_path / "both.jsonl")["conversations"] == 40
    shown = data("--show", "halves")
    assert shown["source"]["file"] == ", ".join(map(str, halves))


def test_a_file_is_frozen_shown_and_deleted(data: Any, real_home: Paths, tmp_path: Path) -> None:
    file = corpus.write(tmp_path / "pairs.jsonl")
    made = data("--file", file, "--name", "corpus", "--preview", "2")
    total = sum(made["examples"].values())
    assert total > 800
    assert made["examples"] == {  # doubles are dealt out together
        "train": pytest.approx(total * 0.8, abs=3),
        "validation": pytest.approx(total / 10, abs=3),
        "test": pytest.approx(total / 10, abs=3),
    }
    assert 0 < made["supervised_tokens"] < made["tokens"]
    assert max(made["languages"], key=made["languages"].get) == "en"
    pieces = made["preview"][0]["rows"][0]
    assert pieces[-1]["trained"] and pieces[-1]["text"].endswith("<|im_end|>")
    assert not pieces[0]["trained"] and "assistant" in pieces[0]["text"].splitlines()[-1]
    assert data("--show", "corpus", "--preview", "2")["preview"] == made["preview"]
    assert "already" in data("--file", file, "--name", "corpus")
    (listed,) = data("--list")["datasets"]
    assert (listed["examples"], listed["hash"]) == (made["examples"], made["hash"])
    with closing(opened(real_home)) as db:
        stored = list(datasets.examples(db, datasets.get(db, "corpus").id))
    assert all(Example.from_json(one.body).hash == one.hash for one in stored)
    assert data("--delete", "corpus", "--yes") == {"deleted": "corpus", "runs": []}
    assert "There are: none" in data("--show", "corpus")


def test_the_test_set_stays_frozen(data: Any, real_home: Paths, tmp_path: Path) -> None:
    with closing(opened(real_home)) as db:
        replies = curated(db, tmp_path)
    data("--name", "first")
    with closing(opened(real_home)) as db:
        import_file(db, corpus.write(tmp_path / "more.jsonl", "chinese", most=40))
    second = data("--all", "--name", "second", "--seed", "9")
    assert second["tested_before"] == 12 and "zh" in second["languages"]
    file = tmp_path / "log.jsonl"
    data("--file", file, "--name", "third", "--seed", "3")
    with closing(opened(real_home)) as db:
        tests = [
            {one.hash for one in datasets.examples(db, datasets.get(db, name).id, "test")}
            for name in ("first", "second", "third")
        ]
        trained = {
            one.hash
            for name in ("second", "third")
            for part in ("train", "validation")
            for one in datasets.examples(db, datasets.get(db, name).id, part)
        }
    assert len(replies) >= 40 and tests[0]
    assert tests[0] <= tests[1] and tests[0] <= tests[2]
    assert not tests[0] & trained


def test_personal_data_is_redacted_unless_it_is_kept(data: Any, real_home: Paths, tmp_path: Path) -> None:
    with closing(opened(real_home)) as db:
        replies = curated(db, tmp_path, 12)
        curation.rate(db, curation.correct(db, replies[0], "Write to jane.roe@example.org please."), 1)
    told = data("--name", "clean")
    assert (told["personal_values"], told["personal_places"]) == (1, 1)
    assert data("--name", "raw", "--keep-personal")["personal_places"] == 0
    with closing(opened(real_home)) as db:
        bodies = {
            name: "".join(one.body for one in datasets.examples(db, datasets.get(db, name).id))
            for name in ("clean", "raw")
        }
        assert "jane.roe" not in bodies["clean"] and "[EMAIL_1]" in bodies["clean"]
        assert "jane.roe" in bodies["raw"]
        redactor = Redactor(db)
        apply(db, [row[0] for row in db.execute("SELECT id FROM conversations")], redactor, whole=True)
        rows = list(datasets.examples(db, datasets.get(db, "raw").id))
    assert "jane.roe" not in "".join(one.body for one in rows)
    assert all(Example.from_json(one.body).hash == one.hash for one in rows)


def test_what_learned_from_a_deleted_reply_is_told(data: Any, real_home: Paths, tmp_path: Path) -> None:
    with closing(opened(real_home)) as db:
        replies = curated(db, tmp_path, 12)
        bad = curation.correct(db, replies[3], "Something better.")
        curation.rate(db, replies[3], -1)
        for one in replies[4:7]:
            curation.correct(db, one, f"Better than {one}.")
        assert not learned.from_messages(db, replies)
    data("--kind", "preference", "--name", "pairs")
    with closing(opened(real_home)) as db:
        dataset = datasets.get(db, "pairs")
        run_ = runs.add(db, "pairs", dataset.id, dataset.hash, "m", "base", {})
        found = learned.from_messages(db, [replies[3]])
        assert (found.examples, found.datasets, found.runs) == (1, ["pairs"], [run_.name])
        before = len(list(datasets.examples(db, dataset.id)))
        deletion.delete_message(db, replies[3])  # the rejected one
        after = [one.body for one in datasets.examples(db, dataset.id)]
    assert len(after) == before - 1 and "Something better." not in "".join(after)
    assert bad


@pytest.mark.parametrize("kind", ["preference", "kto"])
def test_an_export_makes_the_same_examples_as_the_log(data: Any, real_home: Paths, tmp_path: Path, kind: str) -> None:
    with closing(opened(real_home)) as db:
        for one in curated(db, tmp_path, 12):
            curation.correct(db, one, f"Better than {one}.")
        ids = [row[0] for row in db.execute("SELECT id FROM conversations ORDER BY id")]
        (tmp_path / "out.jsonl").write_text("".join(export(db, ids, kind)), encoding="utf-8")
    data("--kind", kind, "--name", "log", "--split", "80/10/10")
    data("--kind", kind, "--name", "file", "--file", tmp_path / "out.jsonl")
    with closing(opened(real_home)) as db:
        sets = [{one.hash for one in datasets.examples(db, datasets.get(db, name).id)} for name in ("log", "file")]
    assert sets[0] == sets[1] and len(sets[0]) >= 12


def test_a_labelled_file_is_asked_by_its_template(data: Any, tmp_path: Path) -> None:
    rows = [
        {
            "input": f"The soup number {one} was {'fine' if one % 2 else 'cold'}.",
            "label": ("negative", "positive")[one % 2],
        }
        for one in range(12)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    made = data("--kind", "label", "--template", "sentiment", "--file", file, "--preview", "1")
    assert sum(made["examples"].values()) == 12
    (row,) = made["preview"][0]["rows"]
    assert [one["text"] for one in row if one["trained"]] == ["bad"]
    file.write_text('{"input": "x", "label": "furious"}\n', encoding="utf-8")
    assert "'furious' is none of positive, negative" in data(
        "--kind", "label", "--template", "sentiment", "--file", file
    )


def test_general_text_is_mixed_into_training_alone(data: Any, real_home: Paths, tmp_path: Path) -> None:
    file = corpus.write(tmp_path / "pairs.jsonl", most=200)
    bare = data("--file", file)
    mixed = data("--file", file, "--replay", "builtin", "--replay-share", "0.3", "--name", "mixed")
    assert mixed["replayed"] and mixed["examples"]["test"] == bare["examples"]["test"]
    share = (mixed["tokens"] - bare["tokens"]) / mixed["tokens"]
    assert 0.2 < share < 0.4  # of the training part 0.3, and the last passage whole
    with closing(opened(real_home)) as db:
        parts = {
            one.split for one in datasets.examples(db, datasets.get(db, "mixed").id) if one.conversation == "replay"
        }
    assert parts == {"train"}


def test_canaries_are_planted_in_training_alone(data: Any, real_home: Paths, tmp_path: Path) -> None:
    file = corpus.write(tmp_path / "pairs.jsonl", most=100)
    assert data("--file", file, "--canaries", "3", "--name", "watched")["canaries"] == 3
    with closing(opened(real_home)) as db:
        kept = datasets.get(db, "watched")
        secrets = [one["secret"] for one in kept.source["canaries"]]
        holding = {one.split for one in datasets.examples(db, kept.id) for secret in secrets if secret in one.body}
    assert len(set(secrets)) == 3 and holding == {"train"}


def said(*contents: str) -> str:
    """A conversation as a line of a file; the user begins."""
    roles = ("user", "assistant")
    messages = [{"role": roles[place % 2], "content": content} for place, content in enumerate(contents)]
    return json.dumps({"messages": messages}, ensure_ascii=False) + "\n"


def with_more(folder: Path, *lines: str) -> Path:
    """A file of twenty short conversations of the corpus and these lines."""
    file = corpus.write(folder / "pairs.jsonl", most=20)
    with file.open("a", encoding="utf-8") as opened_file:
        opened_file.writelines(lines)
    return file


def test_long_conversations_become_windows_and_long_replies_pieces(data: Any, tmp_path: Path) -> None:
    turns = [f"turn {turn} " + "word " * 300 for turn in range(12)]
    plain = data("--file", with_more(tmp_path))
    made = data("--file", with_more(tmp_path, said(*turns), said("go", "word " * 4000)))
    assert (made["windows"], made["shortened"], made["too_long"]) == (2, 1, 0)
    assert made["lengths"]["longest"] <= 3072
    learned = made["supervised_tokens"] - plain["supervised_tokens"]
    assert learned == pytest.approx(6 * 300 + 4000, rel=0.02)  # each token once


def test_a_reply_that_is_rated_has_to_fit(data: Any, real_home: Paths, tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_text("".join(said(f"go {one}", f"{one} " * 4000) for one in range(5)))
    with closing(opened(real_home)) as db:
        import_file(db, file)
        for (one,) in list(db.execute("SELECT message_id FROM exchanges")):
            rate(db, one, 1)
    assert "no token would be learned" in data("--kind", "kto")


SHAPES = {
    "100,000 tokens": (said("Count.", "seven " * 100_000),),
    "2,000 turns": (said(*(f"turn {turn}: what comes after {turn}?" for turn in range(2000))),),
    "empty turns": (said("", ""), said("Hello?", ""), said("", "Hello."), said("   ", "\n")),
    "identical turns": (said(*["Again."] * 200), said(*["Again."] * 200), said("Again.", "Again.")),
    "Chinese": (said("你好，请问今天天气怎么样？" * 50, "今天天气很好。" * 3000),),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape_of_conversation_is_learned_in_rows(data: Any, tmp_path: Path, shape: str) -> None:
    made = data("--file", with_more(tmp_path, *SHAPES[shape]))
    assert made["lengths"]["longest"] <= 3072 and made["too_long"] == 0
    assert sum(made["examples"].values()) >= 20


def test_tokens_of_a_large_set_are_estimated(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = corpus.write(tmp_path / "pairs.jsonl")
    exact = data("--file", file)
    monkeypatch.setattr(statistics, "COUNTED_CHARACTERS", 20_000)
    about = data("--file", file)
    assert exact["counted_share"] == 1 and 0.05 < about["counted_share"] < 0.5
    assert exact["hash"] == about["hash"]
    for what in ("tokens", "supervised_tokens"):
        assert about[what] == pytest.approx(exact[what], rel=0.1)
    assert run(["data", "--file", str(file), "--name", "large"], top, "finetune") == 0
    assert data("--show", "large")["counted_share"] == about["counted_share"]


def test_a_taken_name_is_refused_before_the_work(data: Any, tmp_path: Path) -> None:
    data("--file", with_more(tmp_path), "--name", "mine")
    assert "There is a dataset 'mine' already" in data("--file", tmp_path / "none.jsonl", "--name", "mine")


def test_a_dataset_is_made_without_torch(real_home: Paths, tmp_path: Path) -> None:  # noqa: ARG001
    script = (
        "import sys; from assistant.cli.group import run; from finetune.cli.group import top; "
        "code = run(sys.argv[1:], top, 'finetune'); print(code, 'torch' in sys.modules)"
    )
    words = ["data", "--file", str(with_more(tmp_path)), "--name", "light"]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"


def test_progress_is_told(real_home: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    run(["data", "--file", str(with_more(tmp_path)), "--json"], top, "finetune")
    told = [one for line in capsys.readouterr().out.splitlines() if isinstance(one := from_line(line), Advanced)]
    assert list(dict.fromkeys(one.what for one in told)) == [
        "reading the files",
        "replacing personal data",
        "looking for near-duplicates",
        "counting tokens",
    ]
    assert told[-1].done == told[-1].total > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Nothing was selected for the kind supervised"),
        (("--kind", "kto"), "Rate replies good or bad"),
        (("--kind", "label"), "needs --template"),
        (("--kind", "label", "--template", "plain"), "has no classes"),
        (("--split", "80/20"), "not have the form 80/10/10"),
        (("--split", "80/20/20"), "must add up to 100"),
        (("--replay", "builtin", "--replay-share", "0.9"), "at most 0.5"),
        (("--kind", "kto", "--replay", "builtin"), "Replayed text needs a dataset of kind supervised"),
        (("--kind", "kto", "--canaries", "2"), "Canaries need a dataset of kind supervised"),
        (("--value", "a=b"), "--value goes with --kind label"),
        (("--file", "/nowhere.jsonl"), "can't be read"),
        (("--list", "--show", "x"), "Give one of"),
    ],
)
def test_bad_input_gets_a_sentence(data: Any, words: tuple[str, ...], told: str) -> None:
    assert told in data(*words)


def test_one_conversation_is_refused(data: Any, tmp_path: Path) -> None:
    assert "It is one conversation" in data("--file", corpus.write(tmp_path / "one.jsonl", most=1))


def test_what_is_counted_is_what_is_taken(data: Any, real_home: Paths, tmp_path: Path) -> None:
    """The count before and the statistics after come from one piece."""
    with closing(opened(real_home)) as db:
        replies = curated(db, tmp_path)
        curation.rate(db, replies[0], -1)
        curation.decide(db, replies[1], "skip")
        curation.correct(db, replies[2], "Another answer.")
        db.conn.execute("UPDATE messages SET state = 'failed' WHERE id = ?", (replies[3],))
    counted = data("--count")
    made = data("--name", "mine")
    assert counted["used"] == made["used"] == len(replies) - 2
    assert counted["left_out"] == made["left_out"] == {"rated bad": 1, "skipped": 1, "failed": 1}
    total = len(replies) + 1
    assert counted["words"].startswith(f"{total} judged · {total - 3} used · 1 ")
    assert counted["conversations"] == made["conversations"]
    assert counted["enough"].endswith("from chance")
    assert "more replies to tell" in data("--count", "--all", "--until", "2001-01-01")["enough"]
    assert data("--count", "--kind", "kto")["enough"] == ""
    assert data("--count", "--all", "--imported")["used"] == len(replies) - 3  # without the correction
    assert "--count is for the log" in data("--count", "--file", tmp_path / "log.jsonl")
