"""The default model with an adapter of its own: registered, promoted, spoken with, replayed, rolled back."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from assistant.adapters.folder import AdapterFolder
from assistant.client import Client
from assistant.dialogue.exchange import Dialogue, ReplyEnded
from assistant.dialogue.replay import replay
from assistant.dialogue.reply_tokens import stored
from assistant.engine.models.catalogue import DEFAULT
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import conversations, messages
from assistant.store.database import open_database
from assistant.store.training import adapters
from finetune.cli.eval import tasks_measured
from finetune.prove import promote
from prompts import user_templates
from prompts.library import Library
from tests.assistant.tui.judging.test_compare_real import make_adapter

pytestmark = pytest.mark.slow


@pytest.fixture
async def client(real_home: Paths) -> AsyncIterator[Client]:
    async with Client(real_home, Settings()) as client:
        yield client


async def test_promoted_spoken_with_and_rolled_back(real_home: Paths, client: Client) -> None:
    db = open_database(real_home.database)
    dialogue = Dialogue(db, client, Library(real_home.templates), Settings())

    async def ended(steps: object) -> ReplyEnded:
        async with aclosing(steps) as each:  # type: ignore[type-var]
            (last,) = [step async for step in each if isinstance(step, ReplyEnded)]
        return last

    async def ask(text: str = "Name two animals of the sea.") -> int:
        one = conversations.create(db, model=DEFAULT, sampling={"temperature": 0.0, "max_tokens": 10, "seed": 1})
        return (await ended(dialogue.send(one.id, text, parent_id=None))).message_id

    def said(message_id: int) -> tuple[str, list[float | None]]:
        return messages.get(db, message_id).content, [token.logprob for token in stored(db, message_id)]

    def spoke(message_id: int) -> str:
        return messages.reply_info(db, message_id).provenance.adapter_hash

    before = await ask()
    assert said(before)[0] and not spoke(before)

    make_adapter(real_home, "sea")
    folder = real_home.adapters / "sea"
    hash_ = AdapterFolder.open(folder).hash
    base_hash = messages.reply_info(db, before).outcome.model_hash
    assert promote.weights_hash(real_home, DEFAULT) == base_hash
    adapters.add(db, hash_, "sea", None, DEFAULT, base_hash, {})
    assert not spoke(await ask())  # registered is not in use
    assert promote.promote(db, real_home, "sea", anyway=True).reasons

    adapted = await ask()
    assert spoke(adapted) == hash_
    assert said(adapted)[0] != said(before)[0]
    assert messages.get(db, adapted).state == "cut"
    again = await replay(db, client, real_home, adapted)
    assert again.same and again.whole
    assert (await ended(dialogue.continue_reply(adapted))).error == ""
    assert spoke(adapted) == hash_ and len(said(adapted)[1]) > 10

    weights = folder / "adapter_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    refused = await ask()
    assert messages.get(db, refused).state == "failed"
    assert "its files were changed" in messages.get(db, refused).error
    weights.write_bytes(kept)

    assert adapters.roll_back(db, DEFAULT) is None
    after = await ask()
    assert not spoke(after)
    assert said(after) == said(before)  # bit for bit
    old = conversations.get(db, messages.get(db, adapted).conversation_id)
    assert old.adapter is None  # it follows: its next reply is the base's
    db.close()


async def test_a_task_is_measured_with_it_and_without(real_home: Paths) -> None:
    make_adapter(real_home, "sea")
    path = user_templates.duplicate(Library(None).find("sentiment"), real_home.templates, "moods")
    rows = [("Warm bread and a smile.", "positive"), ("Never again, it broke at once.", "negative")] * 6
    lines = [json.dumps({"input": f"{number}: {text}", "label": label}) for number, (text, label) in enumerate(rows)]
    path.with_suffix(".jsonl").write_text("\n".join(lines))
    (measure,) = await tasks_measured(("moods",), DEFAULT, "sea", seed=0)
    assert measure.name == "moods accuracy"
    assert measure.base > 0.5
    assert measure.items == 12
