"""One exchange against the real store and a scripted engine."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
from sqlite_utils import Database

from assistant.client import Client
from assistant.dialogue.exchange import Dialogue, Maker, ReplyEnded, ReplyStarted, Step, follow_branch, turns
from assistant.errors import AdapterUnknown
from assistant.events import Finished, Prefilled, Timing, Token
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import conversations, messages
from assistant.store.database import open_database, open_memory
from assistant.store.messages import StoredMessage
from assistant.store.training import adapters
from prompts.errors import TemplateUnknown
from prompts.library import Library
from tests.fake_engine import Die, Fail, FakeEngine, Reply


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


@pytest.fixture
def db(home: Paths) -> Iterator[Database]:
    db = open_database(home.database)
    yield db
    db.close()


@pytest.fixture
async def dialogue(home: Paths, db: Database, engine: FakeEngine) -> AsyncIterator[Dialogue]:
    async with Client(home, Settings(), engine=engine.endpoint) as client:
        yield Dialogue(db, client, Library(home.templates), Settings())


@pytest.fixture
def conversation(db: Database) -> int:
    return conversations.create(db, model="fake", template="plain").id


async def all_of(steps: AsyncIterator[Step]) -> list[Step]:
    return [step async for step in steps]


def ended(steps: list[Step]) -> ReplyEnded:
    assert isinstance(steps[-1], ReplyEnded)
    return steps[-1]


def texts(db: Database, message_id: int) -> list[str]:
    return [row.content for row in messages.path(db, message_id)]


async def test_a_reply_is_stored_with_its_provenance(
    dialogue: Dialogue, db: Database, engine: FakeEngine, conversation: int
) -> None:
    engine.enqueue(Reply("Paris, of course."))
    steps = await all_of(dialogue.send(conversation, "Capital of France?", parent_id=None))
    assert isinstance(steps[0], ReplyStarted)
    end = ended(steps)
    assert end.state == "complete"
    assert texts(db, end.message_id) == ["Capital of France?", "Paris, of course."]
    info = messages.reply_info(db, end.message_id)
    assert info.provenance.model == "fake"
    assert info.provenance.template_text == Library(None).find("plain").text
    assert info.provenance.seed == engine.requests[0]["seed"]
    assert info.outcome is not None
    assert info.outcome.model_hash == "f" * 64
    assert info.outcome.completion_tokens == len(info.outcome.logprobs) == 3
    assert conversations.get(db, conversation).title == "Capital of France?"


async def test_what_was_typed_is_stored_before_the_engine_is_asked(
    dialogue: Dialogue, db: Database, engine: FakeEngine, conversation: int
) -> None:
    engine.enqueue(Reply("never seen", hold_after=0))
    async with aclosing(dialogue.send(conversation, "Remember me", parent_id=None)) as steps:
        first = await anext(steps)
        assert isinstance(first, ReplyStarted)
        assert first.user_id is not None
        assert messages.get(db, first.user_id).content == "Remember me"
        assert not engine.requests


async def test_closing_keeps_what_was_said(
    dialogue: Dialogue, db: Database, engine: FakeEngine, conversation: int
) -> None:
    engine.enqueue(Reply("one two three four", hold_after=2))
    async with aclosing(dialogue.send(conversation, "Count", parent_id=None)) as steps:
        said = ""
        async for step in steps:
            said += step.text if isinstance(step, Token) else ""
            if said == "one two":
                break
    leaf = conversations.get(db, conversation).leaf_id
    assert leaf is not None
    row = messages.get(db, leaf)
    assert (row.content, row.state) == ("one two", "stopped")


async def test_cancelling_the_task_keeps_what_was_said(
    dialogue: Dialogue, db: Database, engine: FakeEngine, conversation: int
) -> None:
    engine.enqueue(Reply("one two three", hold_after=1))
    task = asyncio.create_task(all_of(dialogue.send(conversation, "Count", parent_id=None)))
    while not engine.sent or engine.sent[0] < 1:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    leaf = conversations.get(db, conversation).leaf_id
    assert leaf is not None
    assert messages.get(db, leaf).state == "stopped"
    assert messages.get(db, leaf).content == "one"


async def test_a_reply_is_stored_as_it_grows(
    dialogue: Dialogue, db: Database, engine: FakeEngine, conversation: int
) -> None:
    engine.enqueue(Reply("one two three", hold_after=2))
    task = asyncio.create_task(all_of(dialogue.send(conversation, "Count", parent_id=None)))
    for _ in range(300):
        leaf = conversations.get(db, conversation).leaf_id
        if leaf is not None and messages.get(db, leaf).content == "one two":
            break
        await asyncio.sleep(0.01)
    else:
        pytest.fail("the growing reply was not stored")
    engine.release()
    assert ended(await task).state == "complete"


@pytest.mark.parametrize(
    ("script", "state", "kept"),
    [
        (Fail("Out of memory. Choose a smaller model.", code="out_of_memory"), "failed", ""),
        (Fail("Out of memory.", pieces="half of it"), "interrupted", "half of it"),
        (Die(after=2, pieces="one two three"), "interrupted", "one two"),
        (Reply("too long", reason="length"), "cut", "too long"),
    ],
)
async def test_how_replies_end(
    dialogue: Dialogue,
    db: Database,
    engine: FakeEngine,
    conversation: int,
    script: Fail | Die | Reply,
    state: str,
    kept: str,
) -> None:
    engine.enqueue(script)
    end = ended(await all_of(dialogue.send(conversation, "Go on", parent_id=None)))
    row = messages.get(db, end.message_id)
    assert (row.state, row.content) == (state, kept)
    assert bool(end.error) == (state in ("failed", "interrupted"))
    assert row.error == end.error


async def test_regenerate_and_edit_make_siblings(
    dialogue: Dialogue, db: Database, engine: FakeEngine, conversation: int
) -> None:
    engine.enqueue(Reply("first"), Reply("second"), Reply("third"))
    first = ended(await all_of(dialogue.send(conversation, "Say", parent_id=None))).message_id
    second = ended(await all_of(dialogue.regenerate(first))).message_id
    assert messages.siblings(db, first) == [first, second]
    user_id = messages.get(db, first).parent_id
    assert user_id is not None
    third = ended(await all_of(dialogue.edit(user_id, "Say it again"))).message_id
    assert texts(db, third) == ["Say it again", "third"]
    assert texts(db, first) == ["Say", "first"]


async def test_continue_goes_on_in_the_same_row(
    dialogue: Dialogue, db: Database, engine: FakeEngine, conversation: int
) -> None:
    engine.enqueue(Reply("Once upon", reason="length"), Reply([" a", " time."]))
    first = ended(await all_of(dialogue.send(conversation, "Story", parent_id=None))).message_id
    end = ended(await all_of(dialogue.continue_reply(first)))
    assert (end.message_id, messages.get(db, first).content) == (first, "Once upon a time.")
    assert messages.get(db, first).state == "complete"
    assert engine.requests[1]["continue_final_message"] is True
    assert engine.requests[1]["messages"][-1] == {"role": "assistant", "content": "Once upon"}


async def test_an_unknown_template_stores_nothing(dialogue: Dialogue, db: Database) -> None:
    lost = conversations.create(db, model="fake", template="no-such").id
    with pytest.raises(TemplateUnknown, match="no-such"):
        await all_of(dialogue.send(lost, "Hello", parent_id=None))
    assert db["messages"].count == 0


async def test_the_seed_set_is_the_seed_used(dialogue: Dialogue, db: Database, engine: FakeEngine) -> None:
    seeded = conversations.create(db, model="fake", template="plain", sampling={"seed": 5, "temperature": 0.1}).id
    steps = await all_of(dialogue.send(seeded, "Hello", parent_id=None))
    assert engine.requests[0]["seed"] == 5
    assert engine.requests[0]["temperature"] == 0.1
    assert any(isinstance(step, Finished) for step in steps)


def row(role: str, content: str) -> StoredMessage:
    return StoredMessage(
        id=0,
        conversation_id=0,
        parent_id=None,
        role=role,
        content=content,
        created_ms=0,
        updated_ms=0,
        state="complete",
        error="",
    )


def test_turns_alternate_and_leave_reasoning_out() -> None:
    path = [row("user", "a"), row("assistant", ""), row("user", "b"), row("assistant", "<think>hm</think>\n\nc")]
    assert [(m.role, m.content) for m in turns(path)] == [("user", "a\n\nb"), ("assistant", "c")]


async def test_another_maker_makes_a_sibling_with_a_provenance_of_its_own(
    db: Database, dialogue: Dialogue, engine: FakeEngine, conversation: int
) -> None:
    engine.enqueue(Reply("One."), Reply("Two.", adapter_hash="ab" * 32))
    await all_of(dialogue.send(conversation, "Hi", parent_id=None))
    first = conversations.get(db, conversation).leaf_id or 0
    maker = Maker("fake", "tutor", {}, {"temperature": 0.25, "seed": 3}, adapter="sea")
    await all_of(dialogue.regenerate(first, maker=maker))
    second = conversations.get(db, conversation).leaf_id or 0
    assert messages.siblings(db, first) == [first, second]
    made = messages.reply_info(db, second).provenance
    assert (made.template, made.seed, made.sampling["temperature"]) == ("tutor", 3, 0.25)
    assert made.adapter_hash == "ab" * 32
    assert (engine.requests[-1]["adapter"], engine.requests[-1]["temperature"]) == ("sea", 0.25)
    assert conversations.get(db, conversation).template == "plain"


async def test_a_reply_of_an_adapter_that_was_cut_off_names_it(
    db: Database, dialogue: Dialogue, engine: FakeEngine, conversation: int
) -> None:
    engine.enqueue(Reply("One."), Die(after=1))
    await all_of(dialogue.send(conversation, "Hi", parent_id=None))
    first = conversations.get(db, conversation).leaf_id or 0
    await all_of(dialogue.regenerate(first, maker=Maker("fake", "plain", {}, {}, adapter="sea")))
    cut = conversations.get(db, conversation).leaf_id or 0
    assert messages.reply_info(db, cut).provenance.adapter_hash == "sea"
    with pytest.raises(AdapterUnknown, match="is gone"):
        await all_of(dialogue.continue_reply(cut))
    assert messages.get(db, cut).state == "interrupted"
    register(db, "sea")
    engine.enqueue(Reply(" end.", adapter_hash=HASHES["sea"]))
    await all_of(dialogue.continue_reply(cut))
    assert (engine.requests[-1]["adapter"], engine.requests[-1]["adapter_hash"]) == ("sea", HASHES["sea"])
    assert messages.get(db, cut).state == "complete"
    assert messages.reply_info(db, cut).provenance.adapter_hash == HASHES["sea"]


HASHES = {"sea": "5" * 64, "sky": "7" * 64}


def register(db: Database, name: str, model: str = "fake") -> None:
    adapters.add(db, HASHES[name], name, None, model, "b" * 64, {})


async def test_new_replies_are_made_with_what_is_in_use(
    db: Database, dialogue: Dialogue, engine: FakeEngine, conversation: int
) -> None:
    async def spoke(text: str) -> tuple[str, str]:
        leaf = conversations.get(db, conversation).leaf_id
        await all_of(dialogue.send(conversation, text, parent_id=leaf))
        asked = engine.requests[-1]
        return asked["adapter"], asked["adapter_hash"] or ""

    register(db, "sea")
    assert await spoke("One") == ("", "")
    adapters.promote(db, HASHES["sea"])
    assert await spoke("Two") == ("sea", HASHES["sea"])
    conversations.pick_adapter(db, conversation, "")
    assert await spoke("Three") == ("", "")
    conversations.pick_adapter(db, conversation, "copied by hand")
    assert await spoke("Four") == ("copied by hand", "")
    conversations.pick_adapter(db, conversation, None)
    adapters.roll_back(db, "fake")
    assert await spoke("Five") == ("", "")


async def test_an_adapter_of_another_model_is_not_used(
    db: Database, dialogue: Dialogue, engine: FakeEngine, conversation: int
) -> None:
    register(db, "sea", model="another")
    adapters.promote(db, HASHES["sea"])
    await all_of(dialogue.send(conversation, "Hi", parent_id=None))
    assert engine.requests[-1]["adapter"] == ""
    conversations.pick_adapter(db, conversation, "sea")
    ended = (await all_of(dialogue.send(conversation, "And now?", parent_id=None)))[-1]
    assert isinstance(ended, ReplyEnded) and ended.state == "failed"
    assert ended.error == "The adapter sea was trained on another, and can't speak for fake."
    assert messages.path(db, ended.message_id)[-2].content == "And now?"
    assert len(engine.requests) == 1


async def test_what_is_in_use_was_deleted(
    db: Database, dialogue: Dialogue, engine: FakeEngine, conversation: int
) -> None:
    register(db, "sea")
    adapters.promote(db, HASHES["sea"])
    adapters.remove(db, HASHES["sea"])
    ended = (await all_of(dialogue.send(conversation, "Hi", parent_id=None)))[-1]
    assert isinstance(ended, ReplyEnded)
    assert "was deleted. Promote another, or take it back: `finetune rollback -m fake`" in ended.error
    assert adapters.roll_back(db, "fake") is None
    await all_of(dialogue.send(conversation, "Hi", parent_id=None))
    assert [asked["adapter"] for asked in engine.requests] == [""]


async def test_a_private_conversation_speaks_with_what_is_in_use(home: Paths, db: Database, engine: FakeEngine) -> None:
    register(db, "sea")
    adapters.promote(db, HASHES["sea"])
    private = open_memory()
    async with Client(home, Settings(), engine=engine.endpoint) as client:
        dialogue = Dialogue(private, client, Library(home.templates), Settings(), registry=db)
        one = conversations.create(private, model="fake", template="plain").id
        await all_of(dialogue.send(one, "Hi", parent_id=None))
    assert engine.requests[-1]["adapter"] == "sea"
    private.close()


async def test_each_branch_goes_on_with_what_made_it(
    db: Database, dialogue: Dialogue, engine: FakeEngine, conversation: int
) -> None:
    register(db, "sea")
    engine.enqueue(Reply("By the base."), Reply("By the sea.", adapter_hash=HASHES["sea"]))
    await all_of(dialogue.send(conversation, "Hi", parent_id=None))
    plain = conversations.get(db, conversation).leaf_id or 0
    follow_branch(db, db, conversation)
    assert conversations.get(db, conversation).adapter is None  # set to nothing, it follows what is in use
    conversations.pick_adapter(db, conversation, "sea")
    await all_of(dialogue.regenerate(plain))
    adapted = conversations.get(db, conversation).leaf_id or 0
    for leaf, speaks in ((plain, ""), (adapted, "sea")):
        messages.open_leaf(db, conversation, leaf)
        follow_branch(db, db, conversation)
        assert conversations.get(db, conversation).adapter == speaks


async def test_a_reply_goes_on_with_the_model_that_began_it(
    db: Database, dialogue: Dialogue, engine: FakeEngine, conversation: int
) -> None:
    engine.enqueue(Reply("One", reason="length"), Reply(" two."))
    await all_of(dialogue.send(conversation, "Hi", parent_id=None))
    reply = conversations.get(db, conversation).leaf_id or 0
    conversations.configure(db, conversation, model="another")
    await all_of(dialogue.continue_reply(reply))
    assert messages.get(db, reply).content == "One two."
    assert engine.requests[-1]["model"] == "fake"


async def test_a_continued_reply_counts_all_its_tokens_and_its_whole_time(
    db: Database, dialogue: Dialogue, engine: FakeEngine, conversation: int
) -> None:
    """Whether its last part ends by itself or is stopped."""
    engine.enqueue(
        Reply("one two three", reason="length", prompt_tokens=20, timing=Timing(1.0, 0.5, 2.5)),
        Reply(" four five", reason="length", prompt_tokens=23, timing=Timing(0.0, 0.5, 1.5)),
        Reply(" six seven eight", prompt_tokens=25, hold_after=2),
    )
    reply = ended(await all_of(dialogue.send(conversation, "Count", parent_id=None))).message_id
    await all_of(dialogue.continue_reply(reply))
    went = messages.reply_info(db, reply).outcome
    assert (went.prompt_tokens, went.completion_tokens, len(went.token_ids)) == (20, 5, 5)
    assert (went.load_s, went.first_token_s, went.total_s) == (1.0, 1.0, 4.0)
    steps = dialogue.continue_reply(reply)
    async for step in steps:
        if isinstance(step, Token) and step.text == " seven":
            break
    await steps.aclose()
    went = messages.reply_info(db, reply).outcome
    assert messages.get(db, reply).content == "one two three four five six seven"
    assert (went.prompt_tokens, went.completion_tokens, len(went.token_ids)) == (20, 7, 7)
    assert 4.0 < went.total_s < 5.0
    assert 1.0 < went.first_token_s < went.total_s


async def test_who_reads_a_reply_sees_it_grow(dialogue: Dialogue, engine: FakeEngine, conversation: int) -> None:
    engine.enqueue(Reply("one two"))
    seen = []
    async for step in dialogue.send(conversation, "Count", parent_id=None):
        if isinstance(step, ReplyStarted):
            reply = step.growing
        elif isinstance(step, Prefilled | Token | Finished):
            reply.take(step)
        if isinstance(step, Token):
            seen.append((reply.text, reply.tokens))
    assert seen == [("one", 1), ("one two", 2)]
    assert reply.finished is not None
