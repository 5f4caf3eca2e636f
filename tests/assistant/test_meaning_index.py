"""The log known by meaning with the real model, through the real engine process."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
from sqlite_utils import Database

from assistant.client import Client
from assistant.engine.generate.sampling import Sampling
from assistant.engine.models.catalogue import DEFAULT, MEANING
from assistant.errors import ModelError, ModelUnknown, ModelUnsupported, RequestRefused
from assistant.events import Token
from assistant.meaning_index import alone, catch_up, keep_up, usable
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store.database import open_database
from assistant.store.meaning import meaning
from assistant.store.meaning.embedding_queue import open_vectors, progress
from assistant.wire import address
from prompts.message import Message
from tests.assistant.cli.conftest import Cli, cli  # noqa: F401  a fixture
from tests.assistant.server.conftest import until
from tests.assistant.store.judgements.test_curation import ask

TALKS = [
    ("How do I keep my tomatoes from dying?", "Water them in the morning, at the roots, and give them a stake."),
    ("What should I pay into my pension?", "Put aside a tenth of your salary each month."),
    ("My python script is slow", "Profile it first; then vectorise the inner loop with numpy."),
    ("Tell me about whales", "They sing, and swim thousands of miles every year."),
]


@pytest.fixture
def db(real_home: Paths) -> Iterator[Database]:
    opened = open_database(real_home.database)
    yield opened
    opened.close()


@pytest.fixture
async def client(real_home: Paths) -> AsyncIterator[Client]:
    async with Client(real_home, Settings()) as client:
        yield client
    await until(lambda: not address.is_running(real_home), 30)


@pytest.mark.slow
async def test_a_question_finds_what_shares_no_word_with_it(db: Database, client: Client, real_home: Paths) -> None:
    replies = [ask(db, *talk)[1] for talk in TALKS]
    vectors = open_vectors(db, MEANING)
    assert await catch_up(db, vectors, client, usable(real_home, MEANING)) == 8
    assert progress(db, vectors) == (8, 8)
    for question, reply in [("gardening vegetables", 0), ("saving money for retirement", 1), ("optimise code", 2)]:
        (vector,) = await client.embed(MEANING, [question])
        hits = meaning.by_meaning(db, vectors, vector, limit=4).hits
        assert hits[0].exchange and hits[0].exchange.message_id == replies[reply], question
    (vector,) = await client.embed(MEANING, ["ocean animals numpy"])
    both = meaning.hybrid(db, vectors, "numpy", vector).hits
    assert {hit.exchange.message_id for hit in both if hit.exchange} >= {replies[2], replies[3]}
    vectors.close()


@pytest.mark.slow
async def test_a_window_embeds_by_itself_and_waits_for_a_chat(db: Database, client: Client, real_home: Paths) -> None:
    for number in range(40):
        ask(db, f"question number {number}", "An answer of some length that tells what there is to tell. " * 12)
    worker = asyncio.create_task(keep_up(db, client, real_home, MEANING))
    await asyncio.sleep(0.2)
    assert not worker.done() and not client.attached, "it starts no engine"
    await client.attach()
    sampling = Sampling(temperature=0, max_tokens=150)
    async with aclosing(client.chat(DEFAULT, [Message("user", "Tell a long story.")], sampling)) as reply:
        vectors = open_vectors(db, MEANING)
        begun = [progress(db, vectors)[0] async for event in reply if isinstance(event, Token)]
    assert begun[-1] - begun[0] <= 16, "at most the batch that was at work"
    while progress(db, vectors)[0] < 80:
        assert not worker.done()
        await asyncio.sleep(0.1)
    vectors.close()
    worker.cancel()


@pytest.mark.slow
async def test_what_chats_and_what_embeds(client: Client) -> None:
    assert len((await client.embed(DEFAULT, ["a"]))[0]) == 576
    assert len((await client.embed(MEANING, ["a"], background=True))[0]) == 384
    with pytest.raises((ModelUnsupported, RequestRefused), match="can't chat"):
        _ = [event async for event in client.chat(MEANING, [Message("user", "hi")], Sampling(max_tokens=1))]


def test_only_one_embeds(home: Paths) -> None:
    with alone(home) as first, alone(home) as second:
        assert (first, second) == (True, False)
    with alone(home) as again:
        assert again


def test_how_to_get_the_model(home: Paths) -> None:
    with pytest.raises(ModelUnknown, match=f"assistant models pull {MEANING}"):
        usable(home, MEANING)
    with pytest.raises(ModelError, match="switched off"):
        usable(home, "")


def test_a_model_that_chats_is_refused(real_home: Paths) -> None:
    with pytest.raises(ModelUnsupported, match="can't search by meaning"):
        usable(real_home, DEFAULT)


def test_without_the_model_words_are_searched_and_it_says_how(home: Paths, cli: Cli) -> None:  # noqa: F811
    db = open_database(home.database)
    ask(db, *TALKS[3])
    db.close()
    ran = cli("log", "search", "--by", "both", "whales")
    assert ran.code == 0 and "whales" in ran.out and f"assistant models pull {MEANING}" in ran.err
    ran = cli("log", "search", "--by", "meaning", "whales")
    assert (ran.code, ran.out) == (1, "") and f"assistant models pull {MEANING}" in ran.err
    assert cli("log", "search", "--by", "meaning").code == 2
    assert cli("log", "search", "--by", "both", "whales", "--sort", "tokens").code == 2
    assert f"assistant models pull {MEANING}" in cli("log", "index").err


@pytest.mark.slow
def test_from_a_shell(real_home: Paths, db: Database, cli: Cli) -> None:  # noqa: F811
    replies = [ask(db, *talk)[1] for talk in TALKS]
    ran = cli("log", "search", "--by", "meaning", "vegetable garden")
    assert "0 of 8 messages" in ran.err and "assistant log index" in ran.err
    told = json.loads(cli("log", "index", "--json").out)
    assert (told["texts"], told["messages"], told["of"]) == (8, 8, 8)
    hits = json.loads(cli("log", "search", "--by", "both", "vegetable garden", "--json").out)["hits"]
    assert hits[0]["exchange"]["message_id"] == replies[0]
    assert "whales" in cli("log", "search", "--by", "meaning", "whale song").out
    deadline_s = time.monotonic() + 30
    while address.is_running(real_home):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
