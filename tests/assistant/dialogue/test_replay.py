"""Replies made again by the real engine, and read token by token; and what can't be."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
from sqlite_utils import Database

from assistant.client import Client
from assistant.dialogue.exchange import Dialogue, ReplyEnded, ReplyStarted
from assistant.dialogue.replay import Replayed, replay
from assistant.dialogue.reply_tokens import stored, with_alternatives
from assistant.engine.models.catalogue import DEFAULT
from assistant.errors import ReplayRefused, StoreError
from assistant.events import Token
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import conversations, messages, provenance
from assistant.store.database import execute, open_database
from assistant.store.judgements import curation
from assistant.store.messages import Outcome, Provenance
from prompts.library import Library

pytestmark = pytest.mark.slow


@pytest.fixture
def db(real_home: Paths) -> Iterator[Database]:
    db = open_database(real_home.database)
    yield db
    db.close()


@pytest.fixture
async def client(real_home: Paths) -> AsyncIterator[Client]:
    async with Client(real_home, Settings()) as client:
        yield client


@pytest.fixture
def dialogue(db: Database, client: Client, real_home: Paths) -> Dialogue:
    return Dialogue(db, client, Library(real_home.templates), Settings())


async def ask(dialogue: Dialogue, conversation: int, text: str, parent: int | None = None, stop_after: int = 0) -> int:
    """The id of the reply; with `stop_after`, of one that was stopped after so many tokens."""
    message_id = tokens = 0
    async with aclosing(dialogue.send(conversation, text, parent_id=parent)) as steps:
        async for step in steps:
            if isinstance(step, ReplyStarted):
                message_id = step.message_id
            tokens += isinstance(step, Token)
            if stop_after and tokens >= stop_after:
                break
    return message_id


async def test_replies_are_the_same_again(db: Database, client: Client, dialogue: Dialogue, real_home: Paths) -> None:
    one = conversations.create(db, model=DEFAULT, sampling={"max_tokens": 30, "temperature": 0.9}).id
    first = await ask(dialogue, one, "Name three animals of the sea.")
    second = await ask(dialogue, one, "And 三种 of the land?", first)
    stopped = await ask(dialogue, one, "Tell me a long story.", second, stop_after=8)
    for message_id, whole in ((first, True), (second, True), (stopped, False)):
        done = await replay(db, client, real_home, message_id)
        assert done.same and done.differs_at is None, (done.stored, done.text)
        assert (done.whole, done.stored) == (whole, messages.get(db, message_id).content)
        assert done.message_id is None
    leaf = conversations.get(db, one).leaf_id
    kept = await replay(db, client, real_home, first, store=True)
    assert kept.message_id is not None and messages.siblings(db, first) == [first, kept.message_id]
    assert messages.get(db, kept.message_id).content == messages.get(db, first).content
    assert conversations.get(db, one).leaf_id == leaf

    tokens = stored(db, first)
    assert "".join(token.text for token in tokens) == messages.get(db, first).content
    read = await with_alternatives(db, client, real_home, first, top=4)
    assert [(one.text, one.id, one.logprob) for one in read] == [(one.text, one.id, one.logprob) for one in tokens]
    assert all(len(token.top) == 4 for token in read)
    in_place = sum(token.id in [top.id for top in token.top] for token in read)
    assert in_place > len(read) / 2

    facts = dict(provenance.facts(db, first))
    assert facts["model"] == DEFAULT and len(facts["weights"]) == 64 and facts["adapter"] == "none"
    assert facts["version"] and facts["device"] and facts["speed"] and facts["first token"] and facts["seed"]

    # As if they had said something else; the later one first, as the earlier one is in its prompt.
    execute(db, "UPDATE messages SET content = content || 'x' WHERE id = ?", (second,))
    longer = await replay(db, client, real_home, second)
    assert longer.differs_at == len(longer.text) == len(longer.stored) - 1
    execute(db, "UPDATE messages SET content = 'x' || substr(content, 2) WHERE id = ?", (first,))
    assert (await replay(db, client, real_home, first)).differs_at == 0


async def test_a_continued_reply_is_compared_up_to_there(
    db: Database, client: Client, dialogue: Dialogue, real_home: Paths
) -> None:
    one = conversations.create(db, model=DEFAULT, sampling={"max_tokens": 8}).id
    reply = await ask(dialogue, one, "Write about the sea.")
    before = messages.get(db, reply).content
    async with aclosing(dialogue.continue_reply(reply)) as steps:
        ended = [step async for step in steps if isinstance(step, ReplyEnded)]
    after = messages.get(db, reply).content
    assert ended and len(after) > len(before)
    assert "".join(token.text for token in stored(db, reply)) == after
    done = await replay(db, client, real_home, reply)
    assert done.same and not done.whole and done.stored == before
    assert "continued" in done.notes[0]


async def test_what_can_not_be_made_again_is_refused(
    db: Database, client: Client, dialogue: Dialogue, real_home: Paths
) -> None:
    one = conversations.create(db, model=DEFAULT, sampling={"max_tokens": 4}).id
    reply = await ask(dialogue, one, "Say a word.")

    async def refused(message_id: int) -> str:
        with pytest.raises(ReplayRefused) as error:
            await replay(db, client, real_home, message_id)
        return str(error.value)

    assert "no reply" in await refused(messages.path(db, reply)[0].id)
    assert "correction" in await refused(curation.correct(db, reply, "Another."))
    for column, value, words in (
        ("model_hash", "abc", "other weights"),
        ("adapter_hash", "abc", "adapter abc"),
        ("model", "gone", "not here any more"),
        ("seed", None, "without a seed"),
        ("template_hash", "none", "without its template"),
    ):
        if column == "template_hash":
            execute(db, "INSERT INTO templates VALUES ('none', '', '', 1)")
        execute(db, f"UPDATE replies SET {column} = ? WHERE message_id = ?", (value, reply))
        assert words in await refused(reply)
    with pytest.raises(StoreError, match="no message"):
        await replay(db, client, real_home, 99)


async def test_a_context_that_is_cut_elsewhere_is_refused(
    db: Database, client: Client, dialogue: Dialogue, real_home: Paths
) -> None:
    one = conversations.create(db, model=DEFAULT, sampling={"max_tokens": 4}).id
    reply = await ask(dialogue, one, "Say a word.")
    execute(db, "UPDATE replies SET dropped_messages = 2 WHERE message_id = ?", (reply,))
    with pytest.raises(ReplayRefused, match="lost 2 of its oldest messages then and 0 now"):
        await replay(db, client, real_home, reply)


def test_tokens_that_are_not_all_known_are_none(db: Database) -> None:
    one = conversations.create(db, model="m").id
    user = messages.add_user(db, one, None, "q")
    for lengths in ([1, 2], [2], []):
        reply = messages.begin_reply(db, one, user, Provenance("m", "plain", "hash", "text", {}, 1))
        outcome = Outcome(token_ids=[7, 8], logprobs=[-0.5, -2.0], token_lengths=lengths)
        messages.end_reply(db, reply, "abc", "complete", outcome)
        assert [token.text for token in stored(db, reply)] == (["a", "bc"] if lengths == [1, 2] else [])
    with pytest.raises(StoreError, match="not a reply"):
        stored(db, user)


@pytest.mark.parametrize(
    ("then", "now", "whole", "at"),
    [("abc", "abc", True, None), ("abc", "abcd", True, 3), ("abc", "abcd", False, None), ("abc", "ab", False, 2)],
)
def test_where_texts_differ(then: str, now: str, whole: bool, at: int | None) -> None:
    assert Replayed(then, now, whole).differs_at == at
