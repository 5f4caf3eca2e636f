"""Screenshots of all screens as SVG for the README: python -m benchmarks.screenshots [FOLDER]

Deterministic: a generated log, with clock, version, machine and colours pinned. The trainings shown are real, recorded
by `python -m benchmarks.recorded_training`. The snapshot tests show the same scenes.
"""

import asyncio
import atexit
import os
import random
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from sqlite_utils import Database
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from assistant.client import Endpoint
from assistant.engine.hardware.machine import Machine
from assistant.engine.models import catalogue
from assistant.engine.models.catalogue import InstalledModel, Remote
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import conversations, messages, template_tests
from assistant.store.database import open_database
from assistant.store.judgements import curation
from assistant.store.messages import Outcome, Provenance
from assistant.store.search import exchanges
from assistant.store.template_tests import TemplateTest
from assistant.tui.app import AssistantApp
from assistant.tui.background import REPEATED
from assistant.tui.rooms import ROOMS
from benchmarks import recorded_training
from prompts import user_templates
from prompts.library import Library
from prompts.template import text_hash

NOW = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
MACHINE = Machine(ram_bytes=16_000_000_000, free_ram_bytes=9_000_000_000, cores=4)
STORY = """<think>A keeper, a whale, one night. Keep it short.</think>
Once upon a time, in the year 1850, there was a lighthouse keeper named **Barnaby**. Each night he lit the lamp, and \
each night a whale came to look at it.

1. On the first night she only looked.
2. On the second night 鲸鱼唱了一首很长的歌, a long song about the deep.
3. On the third night the lamp stayed dark.
"""
CODE = """A lamp that knows its nights:

```python
def lamp(night: int) -> str:
    \"\"\"Lit until the third night.\"\"\"
    return "lit" if night < 3 else "dark"
```

| night | lamp |
|-------|------|
| 1     | lit  |
| 3     | dark |
"""


@dataclass(frozen=True)
class Scene:
    """Keys that open a screen, in a home with or without models."""

    keys: Sequence[str] = ()
    theme: str = "quiet-dark"
    models: bool = True
    damaged: bool = False
    curated: bool = False
    """Whether some replies are rated, tagged, kept, corrected."""
    trained: bool = False
    """Whether the trainings of `recorded_training` are in the log."""
    written: bool = False
    """Whether the user has written a template, and tested it."""


SCENES = {
    "chat": Scene(),
    "chat-light": Scene(theme="quiet-light"),
    "message": Scene(("up", "up", "up")),
    "judged": Scene(("up", "up", "up", "plus", "k", "t", *"story", "enter")),
    "correct": Scene(("up", "up", "up", "e")),
    "compare": Scene(("up", "up", "up", "v", "enter")),
    "compared": Scene(("up", "up", "up", "v", "enter", "a")),
    "makers": Scene(("up", "V")),
    "branches": Scene(("up", "up", "up", "minus", "f9")),
    "private": Scene(("ctrl+r",)),
    "list": Scene(("ctrl+l", "down")),
    "templates": Scene(("ctrl+n", "slash")),
    "inputs": Scene(("ctrl+n", "slash", *"translator", "enter")),
    "sampling": Scene(("ctrl+g",)),
    "tokens": Scene(("up", "p", *["right"] * 9)),
    "rename": Scene(("f2",)),
    "palette": Scene(("ctrl+p",)),
    "help": Scene(("f1",)),
    "log": Scene(("f8", "down"), curated=True),
    "log-search": Scene(("f8", "slash", *"鲸鱼"), curated=True),
    "log-filter": Scene(("f8", "f", *"good #st"), curated=True),
    "log-queue": Scene(("f8", "q", "plus"), curated=True),
    "log-empty": Scene(("f8", "slash", *"zebra"), theme="quiet-light", curated=True),
    "log-tag": Scene(("f8", "t", *"st"), curated=True),
    "log-correct": Scene(("f8", "e"), curated=True),
    "log-note": Scene(("f8", "n"), curated=True),
    "log-marked": Scene(("f8", "space", "down", "space"), curated=True),
    "train": Scene(("f7",), curated=True, trained=True),
    "train-new": Scene(("f7",)),
    "train-data": Scene(("f7", "d"), trained=True),
    "train-method": Scene(("f7", "m"), theme="quiet-light", trained=True),
    "train-settings": Scene(("f7", "m", *"else", "enter"), trained=True),
    "training": Scene(("f7", "down", "enter"), trained=True),
    "training-promote": Scene(("f7", "down", "down", "enter", "p"), trained=True),
    "prompts": Scene(("f6", "slash", *"sentiment")),
    "prompts-run": Scene(("f6", "slash", *"translation", "enter", "r")),
    "prompts-answer": Scene(("f6", "slash", *"topic", "enter", "r", *"A new sports hall opens.", "ctrl+g")),
    "prompts-tests": Scene(("f6", "slash", *"reviews", "enter", "T"), written=True),
    "prompts-copy": Scene(("f6", "c")),
    "prompts-wrong": Scene(("f6", "slash", *"reviews", "enter", "e", "down", "down", "end", *": or so"), written=True),
    "prompts-versions": Scene(("f6", "slash", *"reviews", "enter", "v"), theme="quiet-light", written=True),
    "first-run": Scene(models=False),
    "recovery": Scene(damaged=True),
}
SCENES |= {name: Scene((room.key,)) for name, room in ROOMS.items() if name not in SCENES}


def make_home(home: Paths, scene: Scene) -> None:
    """A log with a few conversations, and models if the scene has any."""
    home.create()
    if scene.models:
        folder = home.models / catalogue.DEFAULT
        folder.mkdir()
        model = InstalledModel(catalogue.DEFAULT, folder, "wheel", "Apache-2.0", {"model.gguf": 91_700_000})
        catalogue.write_manifest(folder, model)
        catalogue.add_remote(home, Remote("workstation", "http://192.0.2.7:8000/v1", "Qwen3-32B", "WORKSTATION_KEY"))
    if scene.damaged:
        home.database.write_bytes(b"This was a log once. " * 400)
        return
    db = open_database(home.database)
    talks = {
        "Regex for dates": 26 * 60,
        "Why is the sea salt?": 9 * 24 * 60,
        "A letter to the landlord": 15 * 24 * 60,
        "Capital of France": 130,
        "旅行计划：从北京到昆明的火车": 200,
    }
    for title, minutes_ago in talks.items():
        _say(db, title, ["Hello.", ["Hello."]], minutes_ago)
    pinned = _say(db, "Recipe for bread", ["Hello.", ["Hello."]], 3000)
    conversations.pin(db, pinned, True)
    question = "Write a story about a lighthouse keeper and a whale."
    versions = ["Once.", "A whale swam.", STORY]
    story = _say(db, "Lighthouse and whale", [question, versions, "Now as code, please.", [CODE]], 25)
    conversations.remember(db, "open", str(story))
    if scene.curated:
        _curate(db)
    if scene.trained:
        recorded_training.restore(db, int(NOW.timestamp() * 1000))
    if scene.written:
        _write(home, db)
    db.close()


def _say(db: Database, title: str, turns: Sequence[str | list[str]], minutes_ago: int) -> int:
    """Add a conversation; a list is the versions of one reply, the last one open."""
    talk = conversations.create(db, model=catalogue.DEFAULT, template="plain").id
    conversations.rename(db, talk, title)
    parent = None
    for turn in turns:
        if isinstance(turn, str):
            parent = messages.add_user(db, talk, parent, turn)
            continue
        replies = [messages.begin_reply(db, talk, parent, _made_with(seed)) for seed, _ in enumerate(turn)]
        for reply, text in zip(replies, turn, strict=True):
            tokens = re.findall(r"\s?\w+|\s?\W", text)
            figures = Outcome(
                prompt_tokens=1_030,
                completion_tokens=174,
                context_tokens=8192,
                first_token_s=0.05,
                total_s=1.37,
                token_ids=range(len(tokens)),
                token_lengths=[len(token) for token in tokens],
                logprobs=[-(((7 * number) % 13) ** 2) / 30 for number in range(len(tokens))],
            )
            messages.end_reply(db, reply, text, "complete", figures)
        parent = replies[-1]
    then_ms = int(NOW.timestamp() * 1000) - minutes_ago * 60_000
    with db.conn:
        db.conn.execute("UPDATE conversations SET updated_ms = ? WHERE id = ?", (then_ms, talk))
        for table, name in (("messages", "id"), ("exchanges", "message_id")):
            db.conn.execute(
                f"UPDATE {table} SET created_ms = ? + {name} * 1000 WHERE conversation_id = ?", (then_ms, talk)
            )
    return talk


def _made_with(seed: int) -> Provenance:
    return Provenance(catalogue.DEFAULT, "plain", "0" * 64, "", {"temperature": 0.8, "seed": seed}, seed)


def _curate(db: Database) -> None:
    """Judge some replies."""
    first, *others, code = [row.message_id for row in exchanges.page(db, descending=False)]
    curation.rate(db, code, 1)
    curation.tag(db, code, "story")
    curation.tag(db, others[-1], "story")
    curation.note(db, others[-1], "Good rhythm, but the whale should speak.")
    curation.decide(db, first, "keep")
    curation.rate(db, others[0], -1)


def _write(home: Paths, db: Database) -> None:
    """A user's template with an earlier version, both tested."""
    built_in = Library(None).find("sentiment")
    path = user_templates.duplicate(built_in, home.templates, "reviews")
    text = built_in.text.replace("Exactly what I had been looking for.", "I would buy it again.")
    user_templates.write(path, text)
    for number, (shown, right) in enumerate([(built_in.text, 27), (text, 33)]):
        values = [1.0] * right + [0.0] * (40 - right)
        classes = {name: {"f1-score": right / 40 + step} for name, step in (("positive", 0.04), ("negative", -0.05))}
        what = ("reviews", text_hash(shown), catalogue.DEFAULT, "", {}, "reviews.jsonl", "d" * 64, "accuracy")
        template_tests.add(db, TemplateTest(*what, values, {"per_class": classes, "failed": 0}, text=shown))
        then_ms = int(NOW.timestamp() * 1000) - (2 - number) * 3_600_000
        with db.conn:
            db.conn.execute("UPDATE template_tests SET done_ms = ? WHERE id = ?", (then_ms, number + 1))
            db.conn.execute("UPDATE templates SET first_used_ms = ? WHERE hash = ?", (then_ms, text_hash(shown)))


def make_app(scene: Scene) -> AssistantApp:
    """The app in a home below the current folder, so that the displayed paths are the same everywhere."""
    home = Paths(Path("assistant/config"), Path("assistant/data"))
    make_home(home, scene)
    engine = _engine() if "f6" in scene.keys else None
    settings = Settings(theme=scene.theme)
    return AssistantApp(home, settings, engine=engine, machine=MACHINE, now=lambda: NOW, version="0.1.0")


@cache
def _engine() -> Endpoint:
    """A scripted engine, with the same counts and scores everywhere."""
    from tests.fake_engine import FakeEngine

    engine = FakeEngine(models=(catalogue.DEFAULT,)).__enter__()
    atexit.register(engine.__exit__, None, None, None)
    return engine.endpoint


async def play(pilot: Pilot[None], scene: Scene) -> None:
    """Press the scene's keys once the logs are open, and stop the cursor's blinking."""
    app = pilot.app
    assert isinstance(app, AssistantApp)
    while not (app.chat.is_attached_to_logs or (scene.damaged and len(app.screen_stack) > 1)):
        await pilot.pause(0.01)
    random.seed(1)  # which reply is shown first
    if not scene.damaged:  # else the log waits for an answer
        await _answered(pilot)
    for key in scene.keys:
        await pilot.press(key)
        await _answered(pilot)
    await pilot.pause(0.1)
    for screen in app.screen_stack:  # also screens below a dialog
        for line in screen.query(Input):
            line.cursor_blink = False
        for area in screen.query(TextArea):
            area.cursor_blink = False
    await pilot.pause()


async def _answered(pilot: Pilot[None]) -> None:
    """Wait until the log has answered, which it does in a thread."""
    await pilot.pause()
    while any(one.is_running for one in pilot.app.workers if one.group not in ("meaning", REPEATED)):
        await pilot.pause(0.01)


async def draw(scene: Scene, size: tuple[int, int]) -> str:
    """A scene as SVG."""
    app = make_app(scene)
    async with app.run_test(size=size) as pilot:
        await play(pilot, scene)
        return app.export_screenshot(title="assistant")


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/screens").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for name, scene in SCENES.items():
        with tempfile.TemporaryDirectory() as home:
            os.chdir(home)
            (folder / f"{name}.svg").write_text(asyncio.run(draw(scene, (120, 32))), encoding="utf-8")
            print(folder / f"{name}.svg")


if __name__ == "__main__":
    main()
