"""One person's first ten minutes, with real keys in a real terminal and the real model."""

import os
import shutil
import sqlite3
import sys

import pytest

from assistant.paths import Paths
from tests.end_to_end.terminal import Tmux

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]


def program(home: Paths) -> str:
    """As a person starts it: the engine computes on every core, not on one as in the other tests."""
    unset = "-u COLUMNS -u LINES -u OMP_NUM_THREADS"
    return f"env {unset} ASSISTANT_HOME={home.data.parent} LANG=C.UTF-8 {sys.executable} -m assistant"


def rows(home: Paths) -> list[tuple[str, str, str]]:
    connection = sqlite3.connect(home.database)
    try:
        return connection.execute("SELECT role, state, content FROM messages ORDER BY id").fetchall()
    finally:
        connection.close()


def test_a_conversation_with_the_real_model(real_home: Paths) -> None:
    with Tmux(program(real_home), columns=110, rows=30) as tmux:
        tmux.wait_for("Type a message", "+ new")  # the first frame: the log is opened while the keys below are pressed
        tmux.press("What is the capital of", "C-j", "France? 一个词回答")
        screen = tmux.wait_for("France? 一个词回答")
        assert "capital of France" not in screen  # Ctrl+J made a line
        tmux.press("Enter")
        tmux.wait_for("tok/s", gone="esc stop", timeout_s=60)
        said = rows(real_home)
        assert said[0] == ("user", "complete", "What is the capital of\nFrance? 一个词回答")
        assert said[1][:2] == ("assistant", "complete")
        assert said[1][2]

        tmux.press("Write a very long story about a lighthouse, with many chapters.", "Enter")
        tmux.wait_for("esc stop", "first word", timeout_s=60)
        tmux.press("Escape")
        tmux.wait_for("stopped", gone="esc stop")
        assert rows(real_home)[3][1] == "stopped"
        assert rows(real_home)[3][2]

        tmux.press("F5")
        tmux.wait_for("2 of 2", "first word", "esc stop", timeout_s=60)
        tmux.press("Escape")
        tmux.wait_for("stopped", gone="esc stop")
        assert [state for _, state, _ in rows(real_home)] == ["complete", "complete", "complete", "stopped", "stopped"]

        tmux.press("half a thought")
        tmux.wait_for("half a thought")
        tmux.press("C-q")
        tmux.wait_for_end()

    with Tmux(program(real_home), columns=80, rows=24) as tmux:
        tmux.wait_for("half a thought", "2 of 2")
        tmux.press("C-q")
        tmux.wait_for_end()


def judged(home: Paths) -> list[tuple[int, str, str, int]]:
    """(rating, decision, tags, corrections) of each message that was judged, oldest first."""
    connection = sqlite3.connect(home.database)
    try:
        return connection.execute(
            "SELECT ifnull(rating, 0), ifnull(decision, 'undecided'), "
            "(SELECT ifnull(group_concat(tag), '') FROM tags WHERE message_id = m.id) AS tagged, "
            "(SELECT count(*) FROM messages c WHERE c.corrects_id = m.id) AS corrected "
            "FROM messages m LEFT JOIN judgements j ON j.message_id = m.id "
            "WHERE j.message_id IS NOT NULL OR tagged <> '' OR corrected ORDER BY m.id"
        ).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 32)])
def test_curating_in_the_chat_and_in_the_log(real_home: Paths, columns: int, lines: int) -> None:
    with Tmux(program(real_home), columns=columns, rows=lines) as tmux:
        tmux.wait_for("Type a message", "/ for templates")
        tmux.press("What is the capital of France? 一个词回答", "Enter")
        tmux.wait_for("of 8,192 tokens", gone="esc stop", timeout_s=120)
        tmux.press("Up")
        tmux.wait_for("+ good")  # one that was cut has no room for more at 80 columns
        tmux.press("+")
        tmux.wait_for("good · z undoes")
        tmux.press("t")
        tmux.wait_for("an existing or a new tag")
        tmux.press("海洋", "Enter")
        tmux.wait_for("tagged #海洋")
        tmux.press("e")
        tmux.wait_for("Correct the reply")
        tmux.press("它们睡在海里。", "C-g")
        tmux.wait_for("2 of 2", "corrected · z undoes", "它们睡在海里。")
        assert judged(real_home) == [(1, "undecided", "海洋", 1)]

        tmux.press("v")
        tmux.wait_for("Which reply is better?", "一个词回答")
        tmux.press("=")
        tmux.wait_for("You chose neither", "you, as a correction")
        tmux.press("Escape")
        tmux.wait_for("vote stored · z undoes")

        tmux.press("F8")
        tmux.wait_for("/ words", "2 of 2", "+ good", "e correct")  # the log's own: the chat has the others too
        tmux.press("/")
        tmux.wait_for("esc back", gone="+ good")
        tmux.press("回答")
        tmux.wait_for("search   回答", "2 of 2")
        tmux.press("Escape")
        tmux.wait_for("/ words")
        tmux.press("Escape")
        tmux.wait_for("+ good")
        tmux.press("f")
        tmux.wait_for("esc back", gone="+ good")
        tmux.press("#海洋")
        tmux.wait_for("1 of 2", "correction · 2 of 2")
        tmux.press("Enter")
        tmux.wait_for("+ good")
        tmux.press("k")
        tmux.wait_for("kept for training · z undoes", "+ keep")
        tmux.press("k")
        tmux.wait_for("decision cleared · z undoes", gone="+ keep")
        for undone in ("decision", "decision", "vote", "correction"):
            tmux.press("z")
            tmux.wait_for(f"undone: {undone}")
        tmux.wait_for("+ good", gone="correction · 2 of 2")
        assert judged(real_home) == [(1, "undecided", "海洋", 0)]
        tmux.press("Z")
        tmux.wait_for("redone: correction", "correction · 2 of 2")

        tmux.press("Enter")
        tmux.wait_for("Type a message", "1 of 2", "+ good  #海洋")
        tmux.press("C-q")
        tmux.wait_for_end()


def test_a_large_paste_arrives_whole_and_does_not_send(real_home: Paths) -> None:
    text = "".join(f"line {number} 行\n" for number in range(20_000)) + "the end"
    with Tmux(program(real_home)) as tmux:
        tmux.wait_for("Type a message", "+ new")
        tmux.paste(text)
        tmux.wait_for("pasted 20,001 lines")
        tmux.press("C-q")
        tmux.wait_for_end()
    connection = sqlite3.connect(real_home.database)
    drafts = [value for (value,) in connection.execute("SELECT value FROM state WHERE key = 'draft'")]
    drafts += [value for (value,) in connection.execute("SELECT draft FROM conversations")]
    connection.close()
    assert text in drafts
    assert rows(real_home) == []


def test_no_terminal_at_all(home: Paths) -> None:
    import subprocess

    ran = subprocess.run(
        [sys.executable, "-m", "assistant"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ASSISTANT_HOME": str(home.data.parent)},
        timeout=30,
    )
    assert ran.returncode == 1
    assert "terminal" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
