"""`assistant ask` as a program of its own, against a scripted server added as a model, and the real model."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from assistant.engine.models import catalogue
from assistant.engine.models.catalogue import Remote
from assistant.paths import Paths
from assistant.store import conversations, messages
from assistant.store.database import open_database
from tests.fake_engine import Fail, FakeEngine, Reply

ASK = [sys.executable, "-m", "assistant", "ask"]


@pytest.fixture
def engine(home: Paths) -> Iterator[FakeEngine]:
    with FakeEngine(plain=True) as engine:
        catalogue.add_remote(home, Remote("elsewhere", f"{engine.endpoint.url}/v1", "m"))
        home.config_file.write_text('model = "elsewhere"\n', encoding="utf-8")
        yield engine


def ask(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ASK, *words], input=stdin, capture_output=True, text=True, timeout=60, check=False)


def test_plain_text_to_a_pipe(engine: FakeEngine) -> None:
    engine.enqueue(Reply("Hello \x1b[31mthere."))
    ran = ask("Hi")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "Hello there.\n", "")


def test_stdin_comes_before_the_question(engine: FakeEngine) -> None:
    ask("Sum", "up.", stdin="a long\ntext\n")
    assert engine.requests[0]["messages"][-1]["content"] == "a long\ntext\n\nSum up."


def test_a_template_with_values(engine: FakeEngine) -> None:
    ask("Good morning", "-t", "translator", "-v", "target=German", "-o", "temperature=0", "-o", "seed=5")
    request = engine.requests[0]
    assert "into German" in request["messages"][0]["content"]
    assert (request["temperature"], request["seed"]) == (0, 5)


def test_json_has_the_promised_fields(engine: FakeEngine, home: Paths) -> None:
    engine.enqueue(Reply("Yes."))
    told = json.loads(ask("Hi", "--json").stdout)
    assert told["reply"] == "Yes."
    assert told["model"] == "elsewhere"
    assert told["usage"]["completion_tokens"] == 1
    assert told["timing"]["total_s"] >= 0
    db = open_database(home.database)
    assert messages.get(db, told["message_id"]).content == "Yes."
    assert conversations.get(db, told["conversation_id"]).title == "Hi"
    db.close()


def test_no_log_leaves_no_trace(engine: FakeEngine, home: Paths) -> None:
    told = json.loads(ask("A secret", "--json", "--no-log").stdout)
    assert told["conversation_id"] is None
    assert len(engine.requests) == 1
    assert not home.database.exists()


def test_going_on_with_the_last_conversation(engine: FakeEngine) -> None:
    engine.enqueue(Reply("Blue."), Reply("Why not?"))
    ask("Which colour?", "-t", "concise")
    told = json.loads(ask("Why?", "-c", "--json").stdout)
    said = [message["content"] for message in engine.requests[1]["messages"]][-3:]
    assert said == ["Which colour?", "Blue.", "Why?"]
    assert told["conversation_id"] == 1


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_failure_is_one_line_and_1(engine: FakeEngine, flags: list[str]) -> None:
    engine.enqueue(Fail("The model is out of memory."))
    ran = ask("Hi", *flags)
    assert ran.returncode == 1
    assert "out of memory" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1


def test_ctrl_c_keeps_what_was_said_and_leaves_with_130(engine: FakeEngine, home: Paths) -> None:
    engine.enqueue(Reply("one two three", hold_after=2))
    program = subprocess.Popen(
        [*ASK, "Count"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    assert program.stdout.read(len("one two")) == b"one two"
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=20)
    assert (program.returncode, out, err.strip()) == (130, b"\n", b"")
    db = open_database(home.database)
    leaf = conversations.get(db, 1).leaf_id
    assert leaf is not None
    assert (messages.get(db, leaf).content, messages.get(db, leaf).state) == ("one two", "stopped")
    db.close()


@pytest.mark.parametrize("program", ["assistant", "finetune"])
def test_ctrl_c_during_the_first_imports_is_no_traceback(program: str) -> None:
    script = (
        f"import builtins, sys, {program}.__main__ as program\n"
        "def pressed(name, *rest, imported=builtins.__import__):\n"
        "    if name == 'click': raise KeyboardInterrupt\n"
        "    return imported(name, *rest)\n"
        "builtins.__import__ = pressed\n"
        "program.main()"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (130, b"")


def test_a_reader_that_leaves_is_no_traceback(engine: FakeEngine) -> None:
    engine.enqueue(Reply("many words " * 200, delay_s=0.002))
    ran = subprocess.run(
        f"{sys.executable} -m assistant ask Go < /dev/null | head -c 5", shell=True, capture_output=True, check=False
    )
    assert ran.stdout == b"many "
    assert ran.stderr == b""


@pytest.mark.slow
def test_the_real_model_answers_the_same_twice(real_home: Paths) -> None:
    question = ["What is the capital of France?", "-o", "seed=1", "-o", "max_tokens=30", "--json"]
    first, second = (json.loads(ask(*question).stdout) for _ in range(2))
    assert "Paris" in first["reply"]
    assert first["reply"] == second["reply"]
    assert first["usage"]["completion_tokens"] > 3
    assert os.listdir(real_home.models)  # noqa: PTH208
