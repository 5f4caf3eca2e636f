"""Speed of a large log: search, pages, opening a conversation, storing a message, and its size.

python benchmarks/log.py [--messages 1000000] [--smaller 10000] [--queries 200] [--folder DIR]

Makes a log of ten messages a conversation, English and Chinese (see made_text.py), and a log of `--smaller` messages to
compare. `--folder` keeps the logs, and uses existing ones.
"""

import argparse
import json
import re
import statistics
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

import numpy as np
from sqlite_utils import Database

from assistant.store import conversations, messages
from assistant.store.database import open_database, transaction
from assistant.store.messages import Outcome, Provenance
from assistant.store.schema.token_data import pack
from assistant.store.search import exchanges, search
from assistant.store.search.filter import COLUMNS, Filter
from benchmarks.made_text import COMMON, LETTERS, MadeText

MADE = Provenance("model", "plain", "hash", "template", {"temperature": 0.7}, 1)
DAY_MS = 24 * 3600 * 1000
NOW_MS = 1_790_000_000_000
MODELS = ["smollm2-135m-instruct", "qwen3-4b-instruct", "llama-3.2-3b-instruct"]
MODEL_HASHES = ["b" * 64, "c" * 64, "d" * 64]
PIECE = re.compile(r"[\u4e00-\u9fff]| ?[a-z]{1,8}(?![a-z])| ?[a-z]{1,2}| ?[^\w\s]|\s", re.IGNORECASE)
"""Average bytes of a token, as in SmolLM2's real replies: 4.1. Of those tokens 92 in 100 end at a word boundary; here
83, which takes a little more to store."""
LOGPROBS = (
    -5.1872, -3.3277, -2.8274, -2.4856, -2.2413, -2.0363, -1.8623, -1.7026, -1.5663, -1.4382, -1.3223, -1.2146,
    -1.1201, -1.0312, -0.9475, -0.8608, -0.7821, -0.7109, -0.6392, -0.5743, -0.5117, -0.4538, -0.3978, -0.3463,
    -0.2955, -0.2494, -0.2077, -0.1661, -0.1324, -0.1001, -0.0766, -0.0564, -0.0394, -0.0268, -0.0177, -0.0113,
    -0.0063, -0.0033, -0.0014, -0.0003, 0.0,
)  # fmt: skip
"""Quantiles of the log-probabilities of the 28,564 tokens of 160 real replies: SmolLM2-135M-Instruct, temperature
0.7, English and Chinese."""
VOCABULARY = 49_152
TAGS = ["story", "code", "travel", "旅行", "todo"]


def make(db: Database, count: int) -> None:
    """Fill the log with `count` messages over three years, many rows a transaction as in an import."""
    made = MadeText(7)
    db.conn.execute("INSERT OR IGNORE INTO templates VALUES ('hash', 'plain', 'template', 0)")
    for first in range(0, count, 5_000):
        with transaction(db):
            for conversation in range(first // 10, min(first + 5_000, count) // 10):
                _conversation(db, made, conversation, count)
    db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _conversation(db: Database, made: MadeText, number: int, count: int) -> None:
    rng, chinese = made.rng, number % 3 == 0
    began = NOW_MS - int(1000 * DAY_MS * (1 - 10 * number / count))
    db.conn.execute(
        "INSERT INTO conversations (id, title, created_ms, updated_ms, model, leaf_id) VALUES (?, ?, ?, ?, ?, NULL)",
        (number + 1, made.say(40, chinese=chinese)[:60], began, began + 540_000, MODELS[number % 3]),
    )
    for turn in range(10):
        message_id = number * 10 + turn + 1
        reply = turn % 2 == 1
        text = made.say(450 if reply else 90, chinese=chinese)
        told = (message_id, number + 1, message_id - 1 if turn else None, "assistant" if reply else "user", text)
        at = began + turn * 60_000
        db.conn.execute(
            "INSERT INTO messages (id, conversation_id, parent_id, role, content, created_ms, updated_ms, state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'complete')",
            (*told, at, at),
        )
        if reply:
            _reply(db, rng, message_id, text, number)
    db.conn.execute("UPDATE conversations SET leaf_id = ? WHERE id = ?", (number * 10 + 10, number + 1))


@cache
def _vocabulary() -> dict[str, int]:
    """Ids of pieces, the frequent ones first, as merging gives them: the second bytes of a reply's ids take 0.64 bytes
    each under zlib. Those of SmolLM2 take that in English, in Chinese 0.76."""
    made = MadeText(99)
    counts = Counter(piece for number in range(2000) for piece in PIECE.findall(made.say(450, chinese=number % 3 == 0)))
    return {piece: 256 + rank for rank, (piece, _) in enumerate(counts.most_common(VOCABULARY - 256))}


def made_tokens(rng: np.random.Generator, text: str, calm: float) -> tuple[list[int], list[int], list[float]]:
    """(ids, lengths, log-probabilities) of a text. `calm`: higher for a more certain model."""
    pieces = PIECE.findall(text)
    known = _vocabulary()
    ids = [known.get(piece) or zlib.crc32(piece.encode()) % VOCABULARY for piece in pieces]
    logprobs = np.interp(rng.random(len(pieces)) ** calm, np.linspace(0, 1, len(LOGPROBS)), LOGPROBS)
    # The end-of-reply token has no text.
    return [*ids, 2], [*map(len, pieces), 0], [*logprobs.tolist(), -0.01]


def _reply(db: Database, rng: np.random.Generator, message_id: int, text: str, number: int) -> None:
    ids, lengths, logprobs = made_tokens(rng, text, 0.5 + rng.random())
    model_hash = MODEL_HASHES[number % 3]
    db.conn.execute(
        "INSERT INTO replies (message_id, model, adapter_hash, template_hash, sampling, seed, model_hash, "
        "prompt_tokens, cached_tokens, context_tokens, first_token_s, total_s, completion_tokens, finish_reason, "
        "device, inputs, version, token_data) "
        "VALUES (?, ?, ?, 'hash', ?, ?, ?, ?, ?, 8192, ?, ?, ?, 'stop', 'cpu', '{}', '', ?)",
        (
            message_id,
            MODELS[number % 3],
            "a" * 64 if number % 11 == 0 else "",
            json.dumps({"temperature": 0.7, "top_p": 0.95}),
            int(rng.integers(2**31)),
            model_hash,
            500,
            450,
            0.1 + rng.random(),
            1 + rng.random(),
            len(ids),
            pack(text, ids, logprobs, lengths),
        ),
    )
    chance = rng.random()
    if chance < 0.12:
        decision = "keep" if chance < 0.05 else "undecided"
        rated = "INSERT INTO judgements (message_id, rating, decision) VALUES (?, ?, ?)"
        db.conn.execute(rated, (message_id, 1 if chance < 0.1 else -1, decision))
    if rng.random() < 0.03:
        tag = TAGS[int(rng.integers(len(TAGS)))]
        db.conn.execute("INSERT INTO tags (message_id, tag) VALUES (?, ?)", (message_id, tag))


# -- measurements -------------------------------------------------------------------------------------------------

FILTERS = {
    "good": Filter(rating="good"),
    "bad": Filter(rating="bad"),
    "last 30 days": Filter(since_ms=NOW_MS - 30 * DAY_MS),
    "tag": Filter(tags=("story",)),
    "model, kept": Filter(model=MODELS[1], decision="keep"),
    "surprising, long": Filter(min_surprise=1.2, min_length=1000),
}


def queries(made: MadeText) -> Iterator[tuple[str, Callable[[Database], object]]]:
    """(kind, query), endlessly: words from the most to the least common, by frequency and evenly."""
    rng = made.rng
    filters = list(FILTERS.values())
    while True:
        word = str(made.words[int(len(made.words) ** rng.random()) - 1])
        letter, other = (str(rng.choice(list(LETTERS))) for _ in range(2))
        pair = str(made.chinese[40 + int((len(made.chinese) - 41) ** rng.random())])
        phrase = '"' + " ".join(str(rng.choice(COMMON)) for _ in range(2)) + '"'
        filter_ = filters[int(rng.integers(len(filters)))]
        yield "a word", lambda db, w=word: search.search(db, w + " ")  # type: ignore[misc]
        yield "as it is typed", lambda db, w=word: search.search(db, w[: 1 + len(w) // 2])  # type: ignore[misc]
        yield "two words", lambda db, w=word: search.search(db, f"{w} {COMMON[len(w)]} ")  # type: ignore[misc]
        yield "a phrase", lambda db, p=phrase: search.search(db, p)  # type: ignore[misc]
        yield "a word of two characters", lambda db, p=pair: search.search(db, p)  # type: ignore[misc]
        yield "any two common characters", lambda db, p=letter + other: search.search(db, p)  # type: ignore[misc]
        yield "a word, with a filter", lambda db, w=word, f=filter_: search.search(db, w + " ", f)  # type: ignore[misc]
        yield "characters, with a filter", lambda db, p=pair, f=filter_: search.search(db, p, f)  # type: ignore[misc]
        yield "how many hits (to 10,000)", lambda db, w=word: search.count(db, w + " ")  # type: ignore[misc]


def searches(db: Database, count: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {}
    for kind, act in queries(MadeText(11)):
        if len(taken.get(kind, [])) == count:
            break
        taken.setdefault(kind, []).append(_ms(lambda act=act: act(db)))  # type: ignore[misc]
    return {f"search: {kind}": times for kind, times in taken.items()}


def pages(db: Database, count: int) -> dict[str, list[float]]:
    """Pages sorted by any column, at any offset; with a filter within the first 10,000, the limit of counting."""
    rng = np.random.default_rng(5)
    total = exchanges.count(db)
    sorts, filters = list(COLUMNS), list(FILTERS.values())
    taken: dict[str, list[float]] = {
        "page: anywhere": [],
        "page: anywhere, with a filter": [],
        "page: the next one": [],
    }
    for number in range(count):
        sort = sorts[number % len(sorts)]
        offset = int(rng.integers(total))
        taken["page: anywhere"].append(_ms(lambda s=sort, o=offset: exchanges.page(db, sort=s, offset=o, total=total)))  # type: ignore[misc]
        last = exchanges.page(db, sort=sort, offset=offset, limit=1)[0]
        taken["page: the next one"].append(_ms(lambda s=sort, a=last: exchanges.page(db, sort=s, after=a)))  # type: ignore[misc]
        filter_ = filters[number % len(filters)]
        counted = exchanges.count(db, filter_, at_most=10_000)
        at = int(rng.integers(max(1, counted)))
        taken["page: anywhere, with a filter"].append(
            _ms(lambda f=filter_, s=sort, o=at: exchanges.page(db, f, sort=s, offset=o))  # type: ignore[misc]
        )
    taken["count: all"] = [_ms(lambda: exchanges.count(db)) for _ in range(10)]
    taken["count: with a filter (to 10,000)"] = [
        _ms(lambda f=f: exchanges.count(db, f, at_most=10_000))
        for f in filters
        for _ in range(5)  # type: ignore[misc]
    ]
    return taken


def conversations_and_messages(db: Database, count: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(6)
    last = db.conn.execute("SELECT max(id) FROM conversations").fetchone()[0]
    opened = [_ms(lambda: _open(db, int(rng.integers(1, last + 1)))) for _ in range(count)]
    listed = [_ms(lambda: conversations.page(db, 0, 50)) for _ in range(count)]
    one = conversations.create(db, model="m").id
    made, parent, stored = MadeText(13), None, []
    for number in range(count):
        question, answer = made.say(90, chinese=number % 3 == 0), made.say(450, chinese=number % 3 == 0)
        ids, lengths, logprobs = made_tokens(rng, answer, 1.0)
        done = Outcome("e" * 64, token_ids=ids, token_lengths=lengths, logprobs=logprobs)

        def exchange(question: str = question, answer: str = answer, done: Outcome = done) -> None:
            nonlocal parent
            user = messages.add_user(db, one, parent, question)
            parent = messages.begin_reply(db, one, user, MADE)
            messages.end_reply(db, parent, answer, "complete", done)

        stored.append(_ms(exchange) / 2)
    return {"open a conversation": opened, "first page of conversations": listed, "store a message": stored}


def _open(db: Database, conversation_id: int) -> None:
    leaf = conversations.get(db, conversation_id).leaf_id
    assert leaf is not None
    messages.path_with_siblings(db, leaf)
    messages.replies_of(db, conversation_id)


def _ms(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return (time.perf_counter() - started) * 1000


def sizes(db: Database, file: Path) -> dict[str, float]:
    """Bytes of the file for each byte of text; the shares of the replies' tokens and of the word index."""
    text, tokens = (
        db.conn.execute(query).fetchone()[0]
        for query in (
            "SELECT sum(length(CAST(content AS BLOB))) FROM messages",
            "SELECT sum(length(token_data)) FROM outcomes",
        )
    )
    index = db.conn.execute("SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'messages_words%'").fetchone()[0]
    whole = file.stat().st_size
    return {
        "text, MB": text / 1e6,
        "file / text": whole / text,
        "file without token data / text": (whole - tokens) / text,
        "index of words / text": index / text,
    }


def measure(file: Path, count: int, runs: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    fresh = not file.exists()
    with closing(open_database(file)) as db:
        started = time.perf_counter()
        if fresh:
            make(db, count)
        made_s = time.perf_counter() - started
        told = sizes(db, file)
        if fresh:
            told["made, messages a second"] = count / made_s
    opened = [_ms(lambda: open_database(file).close()) for _ in range(10)]
    with closing(open_database(file)) as db:
        taken = {**searches(db, runs), **pages(db, runs), **conversations_and_messages(db, runs)}
    return {**taken, "open the log": opened}, told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--smaller", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        (few, few_sizes), (many, many_sizes) = (
            measure(folder / f"log-{count}.db", count, arguments.queries)
            for count in (arguments.smaller, arguments.messages)
        )
    print(f"{'ms':36}{arguments.smaller:>12,} messages      {arguments.messages:>12,} messages   growth")
    print(f"{'':36}  median     p95     max    median     p95     max   of p95")
    for name, times in many.items():
        figures = [figure for row in (few[name], times) for figure in _figures(row)]
        print(f"{name:36}" + "".join(f"{figure:8.2f}" for figure in figures) + f"{figures[4] / figures[1]:8.1f}x")
    for name, size in many_sizes.items():
        print(f"{name:36}{few_sizes.get(name, 0):12,.2f}{size:24,.2f}")


def _figures(times: list[float]) -> tuple[float, float, float]:
    return statistics.median(times), sorted(times)[int(len(times) * 0.95)], max(times)


if __name__ == "__main__":
    main()
