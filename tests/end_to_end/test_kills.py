"""Kill -9 at random points while a reply streams: every message is found again."""

import asyncio
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from assistant.client import Client
from assistant.dialogue.exchange import Dialogue, ReplyEnded
from assistant.engine.models import catalogue
from assistant.engine.models.catalogue import Remote
from assistant.events import Token
from assistant.paths import Paths
from assistant.settings import EngineSettings, Settings
from assistant.store import conversations, messages
from assistant.store.database import check, open_database
from prompts.library import Library
from tests.end_to_end.terminal import Terminal
from tests.fake_engine import FakeEngine, Reply
from tests.matrix import matrix

WORDS = [f"word{number}" for number in range(200)]
PER_WORD_S = 0.01
SAMPLING = {"temperature": 0, "max_tokens": 60}
BEHIND_S = 1.0
"""What is stored of a reply is at most so much older than what was said."""


@pytest.mark.slow
@pytest.mark.parametrize("kills", matrix([5, 25]))
def test_the_program_is_killed_while_a_reply_streams(home: Paths, kills: int) -> None:
    chance = random.Random(7)
    home.config_file.write_text('model = "scripted"\n', encoding="utf-8")
    whole = " ".join(WORDS)
    with FakeEngine(plain=True) as engine:
        catalogue.add_remote(home, Remote("scripted", f"{engine.endpoint.url}/v1", "m"))
        for kill in range(kills):
            engine.enqueue(Reply(whole, delay_s=PER_WORD_S))
            terminal = Terminal(home.data.parent)
            terminal.wait_for("Type a message")
            terminal.type(f"question {kill}\r")
            while len(engine.requests) <= kill:
                terminal.read(0.01)
            terminal.read(chance.uniform(0, 1.8))
            said = engine.sent[kill]
            terminal.kill()
            check_log(home, kill, said, whole)


def check_log(home: Paths, kill: int, said: int, whole: str) -> None:
    db = open_database(home.database)
    try:
        assert check(db) == []
        rows = db.conn.execute("SELECT id, content FROM messages WHERE role = 'user' ORDER BY id").fetchall()
        assert [content for _, content in rows] == [f"question {number}" for number in range(kill + 1)]
        replies = db.conn.execute("SELECT content, state FROM messages WHERE parent_id = ?", (rows[-1][0],)).fetchall()
        assert len(replies) == 1
        content, state = replies[0]
        assert state == "growing"
        assert whole.startswith(content)
        assert len(content.split()) >= said - BEHIND_S / PER_WORD_S - 5
        db.conn.execute("UPDATE messages SET updated_ms = updated_ms - 60000")
        assert messages.mark_interrupted(db) == 1
    finally:
        db.close()


def engine_pid(home: Paths) -> int:
    return int(json.loads((home.run / "engine.json").read_text())["pid"])


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.slow
async def test_the_engine_is_killed_while_a_reply_streams(real_home: Paths) -> None:
    chance = random.Random(3)
    settings = Settings(engine=EngineSettings(keep_alive_s=0))
    db = open_database(real_home.database)
    async with Client(real_home, settings) as client:
        dialogue = Dialogue(db, client, Library(None), settings)
        one = conversations.create(db, model=catalogue.DEFAULT, template="plain", sampling=SAMPLING).id
        leaf = None
        for kill in range(4):
            said, after = "", chance.randrange(1, 10)
            end = None
            async for step in dialogue.send(one, f"Write a long story about {kill + 2} whales.", parent_id=leaf):
                if isinstance(step, Token):
                    said += step.text
                    after -= 1
                    if after == 0:
                        os.kill(engine_pid(real_home), signal.SIGKILL)
                elif isinstance(step, ReplyEnded):
                    end = step
            assert end is not None
            assert end.state == "interrupted"
            assert end.error
            row = messages.get(db, end.message_id)
            assert row.content == said
            assert said
            leaf = end.message_id
        assert len(messages.path(db, leaf or 0)) == 8
        pid = None
        async for step in dialogue.continue_reply(leaf or 0):
            if isinstance(step, Token) and pid is None:
                pid = engine_pid(real_home)
        assert messages.get(db, leaf or 0).state in ("complete", "cut")
    db.close()
    until = time.monotonic() + 20
    while pid is None or not is_gone(pid):  # it ends with its last client
        assert time.monotonic() < until
        await asyncio.sleep(0.1)
