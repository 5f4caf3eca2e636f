"""The vectors of the log: where they go, that they go when the text does, and that the nearest are found.

The vectors here are made by a few lines that count letters: what is tested is the store, and every case can be told by
hand. The real model's are in `tests/assistant/test_meaning_index.py`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store import conversations, deletion, messages, recovery, upkeep
from assistant.store.database import open_database, open_memory
from assistant.store.judgements import curation
from assistant.store.meaning import embedding_queue, meaning
from assistant.store.meaning.embedding_queue import MOST_PIECES, next_batch, open_vectors, pieces
from assistant.store.meaning.vectors import BLOCK, Vectors, file_of, quantised
from assistant.store.search.filter import EVERYTHING, Filter
from tests.assistant.store.judgements.test_curation import ask

SIZE = 384


def vector(text: str) -> list[float]:
    """A text's letters, each a direction of its own."""
    made = np.zeros(SIZE)
    for letter in text.lower():
        made += np.random.default_rng(ord(letter)).standard_normal(SIZE)
    return (made / max(float(np.linalg.norm(made)), 1e-9)).tolist()


@pytest.fixture
def vectors(db: Database) -> Iterator[Vectors]:
    opened = open_vectors(db, "letters")
    yield opened
    opened.close()


def index(db: Database, vectors: Vectors) -> list[str]:
    """Embed all there is to embed; the texts that were."""
    made: list[str] = []
    while batch := next_batch(db, vectors):
        made += batch.texts.values()
        embedding_queue.keep(db, vectors, batch, [vector(text) for text in batch.texts.values()])
    return made


def found(db: Database, vectors: Vectors, text: str, filter_: Filter = EVERYTHING, limit: int = 50) -> list[int]:
    return [hit.message_id for hit in meaning.by_meaning(db, vectors, vector(text), filter_, limit=limit).hits]


def bytes_of(db: Database) -> bytes:
    file = file_of(db)
    assert file is not None
    return b"".join(each.read_bytes() for each in file.parent.glob(f"{file.name}*"))


def test_the_share_that_is_known_grows_to_all(db: Database, vectors: Vectors) -> None:
    assert embedding_queue.share(db, vectors) == 1.0
    for number in range(40):
        ask(db, f"question {number}", f"answer {number}")
    shares = [embedding_queue.share(db, vectors)]
    while batch := next_batch(db, vectors):
        embedding_queue.keep(db, vectors, batch, [vector(text) for text in batch.texts.values()])
        shares.append(embedding_queue.share(db, vectors))
    assert shares[0] == 0.0 and shares == sorted(shares) and shares[-1] == 1.0 and len(shares) > 3
    _, reply = ask(db, "one more", "not known yet")
    assert 0.9 < embedding_queue.share(db, vectors) < 1.0
    index(db, vectors)
    messages.grow_reply(db, reply, "rewritten")
    assert embedding_queue.share(db, vectors) < 1.0


def test_the_nearest_comes_first(db: Database, vectors: Vectors) -> None:
    (_, first), (_, second) = (ask(db, text, reply) for text, reply in (("qqq", "aaab"), ("zzz", "aabb")))
    assert sorted(index(db, vectors)) == ["aaab", "aabb", "qqq", "zzz"]
    assert found(db, vectors, "aaa") == [first, second]
    assert found(db, vectors, "bbb") == [second, first]


def test_what_a_person_said_stands_for_the_reply(db: Database, vectors: Vectors) -> None:
    user, reply = ask(db, "qqq", "zzz")
    index(db, vectors)
    (hit,) = meaning.by_meaning(db, vectors, vector("qqq")).hits
    assert hit.message_id == user and hit.exchange and hit.exchange.message_id == reply
    assert hit.similarity == pytest.approx(1.0, abs=0.01)


def test_filters_hold(db: Database, vectors: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = [ask(db, f"{number}", "aaa" + "b" * number)[1] for number in range(6)]
    curation.rate(db, replies[4], 1)
    index(db, vectors)
    assert found(db, vectors, "aaa", Filter(rating="good")) == [replies[4]]
    monkeypatch.setattr("assistant.store.search.exchanges.FEW", 0)  # as if the filter left many
    assert found(db, vectors, "aaa", Filter(rating="good")) == [replies[4]]
    assert found(db, vectors, "aaa", Filter(rating="unrated"), limit=2) == replies[:2]
    with pytest.raises(StoreError, match="rating"):
        found(db, vectors, "aaa", Filter(rating="nice"))


def test_a_text_is_embedded_once(db: Database, vectors: Vectors) -> None:
    ask(db, "hello", "same")
    index(db, vectors)
    ask(db, "hello", "same")
    ask(db, "hello", "other")
    assert index(db, vectors) == ["other"]
    assert index(db, vectors) == []


def test_it_goes_on_where_it_was(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_queue, "TEXTS", 2)
    for number in range(4):
        ask(db, f"q{number}", f"a{number}")
    vectors = open_vectors(db, "letters")
    batch = next_batch(db, vectors)
    assert batch is not None and list(batch.texts.values()) == ["a3", "q3"]  # the newest first
    embedding_queue.keep(db, vectors, batch, [vector(text) for text in batch.texts.values()])
    ask(db, "new", "newer")
    vectors.close()
    again = Vectors(vectors.file, "letters")
    assert index(db, again) == ["newer", "new", "a2", "q2", "a1", "q1", "a0", "q0"]
    assert embedding_queue.progress(db, again) == (10, 10)
    again.close()


def test_a_growing_reply_is_embedded_when_it_has_ended(db: Database, vectors: Vectors) -> None:
    conversation = conversations.create(db, model="m").id
    user = messages.add_user(db, conversation, None, "question")
    reply = messages.begin_reply(db, conversation, user, messages.Provenance("m", "t", "h", "text", {}, 1))
    messages.grow_reply(db, reply, "half")
    assert index(db, vectors) == ["question"]
    messages.end_reply(db, reply, "whole", "complete", messages.Outcome())
    assert index(db, vectors) == ["whole"]


def test_a_rewritten_text_has_its_new_meaning(db: Database, vectors: Vectors) -> None:
    _, reply = ask(db, "q", "aaa")
    index(db, vectors)
    db.conn.execute("UPDATE messages SET content = 'zzz' WHERE id = ?", (reply,))
    deletion.leave_no_bytes(db)
    assert quantised(vector("aaa")) not in bytes_of(db)
    assert index(db, vectors) == ["zzz"]
    assert found(db, vectors, "zzz")[0] == reply


@pytest.mark.parametrize("way", ["conversation", "message", "hidden"])
def test_delete_means_delete(db: Database, vectors: Vectors, way: str) -> None:
    user, reply = ask(db, "secret", "more secret")
    ask(db, "kept", "kept too")
    index(db, vectors)
    numbers = quantised(vector("more secret"))
    assert numbers in bytes_of(db)
    if way == "message":
        deletion.delete_message(db, reply)
    else:
        conversation = messages.get(db, user).conversation_id
        if way == "hidden":
            conversations.delete(db, conversation)
            assert reply not in found(db, vectors, "more secret")
            deletion.purge_hidden(db)
        else:
            deletion.delete_conversations(db, [conversation])
    assert numbers not in bytes_of(db)
    assert reply not in vectors.owners()
    assert reply not in found(db, vectors, "more secret")
    assert found(db, vectors, "kept")


def test_what_is_deleted_while_it_is_embedded_leaves_no_vector(db: Database, vectors: Vectors) -> None:
    _, reply = ask(db, "secret", "more secret")
    batch = next_batch(db, vectors)
    assert batch is not None
    deletion.delete_message(db, reply)
    embedding_queue.keep(db, vectors, batch, [vector(text) for text in batch.texts.values()])
    assert quantised(vector("more secret")) not in bytes_of(db)
    assert index(db, vectors) == ["secret"]


def test_a_backup_put_back_keeps_what_is_known(db: Database, vectors: Vectors, tmp_path: Path) -> None:
    ask(db, "old", "older")
    kept = upkeep.backup(db, tmp_path / "kept.db")
    assert kept is None
    ask(db, "newer", "newest")
    index(db, vectors)
    upkeep.restore(db, tmp_path / "kept.db")
    assert quantised(vector("newest")) not in bytes_of(db)
    ask(db, "aaa", "bbb")  # with the ids of what is gone
    assert sorted(index(db, vectors)) == ["aaa", "bbb"]
    assert len(found(db, vectors, "newest")) <= 2


def test_a_recovered_log_is_compared_again(file: Path) -> None:
    db = open_database(file)
    ask(db, "old", "older")
    vectors = open_vectors(db, "letters")
    index(db, vectors)
    db.close()
    recovery.recover(recovery.set_aside(file), file)
    db = open_database(file)
    assert index(db, vectors) == []
    assert found(db, vectors, "older")
    db.close()
    vectors.close()


def test_vectors_of_another_model_or_damaged_ones_are_made_anew(db: Database, vectors: Vectors) -> None:
    ask(db, "a", "b")
    index(db, vectors)
    other = open_vectors(db, "other")
    assert len(index(db, other)) == 2
    other.close()
    other.file.write_bytes(b"no database" * 1000)
    again = open_vectors(db, "other")
    assert len(index(db, again)) == 2
    again.close()


def test_a_vector_of_another_length_is_refused(db: Database, vectors: Vectors) -> None:
    ask(db, "a", "b")
    index(db, vectors)
    with pytest.raises(StoreError, match="8 numbers"):
        meaning.by_meaning(db, vectors, [1.0] * 8)


def test_another_program_sees_what_was_added(db: Database, vectors: Vectors) -> None:
    other = Vectors(vectors.file)
    assert other.nearest(vector("a"), 5) == []
    _, reply = ask(db, "q", "a")
    index(db, vectors)
    assert other.nearest(vector("a"), 1)[0][0] == reply
    deletion.delete_message(db, reply)
    assert reply not in dict(other.nearest(vector("a"), 5))
    other.close()


def test_more_than_a_block_against_all_compared_exactly(vectors: Vectors) -> None:
    rng = np.random.default_rng(3)
    made = rng.standard_normal((2 * BLOCK + 50, 384)).astype(np.float32)
    with vectors.writing():
        vectors.replace({number + 1: [(number, quantised(one))] for number, one in enumerate(made)})
    vectors.remove(range(1, 40))
    wanted = made[100] + 0.5 * made[200]
    exact = made @ wanted / np.linalg.norm(made, axis=1)
    exact[:39] = -9
    near = [message_id for message_id, _ in vectors.nearest(wanted.tolist(), 10)]
    assert near[:2] == [101, 201]
    assert len(set(near) & {int(one) + 1 for one in np.argsort(-exact)[:10]}) >= 9


def test_a_private_log_has_none() -> None:
    with pytest.raises(StoreError, match="private"):
        open_vectors(open_memory(), "letters")


def test_without_vectors_nothing_is_noted(db: Database) -> None:
    _, reply = ask(db, "a", "b")
    deletion.delete_message(db, reply)
    assert db.conn.execute("SELECT count(*) FROM meaning_stale").fetchone() == (0,)


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("", []),
        (" \n\0", []),
        ("short", [5]),
        ("word " * 300, [999, 499]),
        ("汉" * 600, [250, 250, 100]),
        ("x" * 100_000, [1000] * MOST_PIECES),
    ],
)
def test_long_texts_are_cut(text: str, lengths: list[int]) -> None:
    assert [len(piece) for piece in pieces(text)] == lengths


def test_fused_ranks(db: Database, vectors: Vectors) -> None:
    """Found by both comes before found by one; the words' hit is the one that is told, with how near it is."""
    _, only_words = ask(db, "zzz", "whale zzzz zzzz")
    _, both = ask(db, "zzz", "whale")
    _, only_near = ask(db, "zzz", "ehalw")
    index(db, vectors)
    hits = meaning.hybrid(db, vectors, "whale", vector("whale"), limit=3).hits
    assert hits[0].message_id == both
    assert {hit.message_id for hit in hits} == {both, only_words, only_near}
    assert ("whale", True) in hits[0].snippet and hits[0].similarity == pytest.approx(1.0, abs=0.01)


def test_a_damaged_file_doesnt_keep_what_is_deleted(db: Database, vectors: Vectors) -> None:
    _, reply = ask(db, "secret", "more secret")
    for number in range(300):
        ask(db, f"{number}", f"reply {number}")
    index(db, vectors)
    vectors.close()
    whole = vectors.file.read_bytes()
    vectors.file.write_bytes(whole[:8192] + b"\xff" * 40_000 + whole[48_192:])
    deletion.delete_message(db, reply)
    assert quantised(vector("more secret")) not in bytes_of(db)
    again = open_vectors(db, "letters")
    assert index(db, again)
    assert found(db, again, "reply 7")
    again.close()


def test_many_rewritten_at_once_come_in_small_batches(db: Database, vectors: Vectors) -> None:
    for number in range(40):
        ask(db, f"question {number}", f"reply {number}")
    index(db, vectors)
    db.conn.execute("UPDATE messages SET content = content || '!'")
    batch = next_batch(db, vectors)
    assert batch is not None and len(batch.texts) == embedding_queue.TEXTS == len(batch.messages) == len(batch.stale)
    assert len(index(db, vectors)) == 80
    assert db.conn.execute("SELECT count(*) FROM meaning_stale").fetchone() == (0,)
