"""A reply's tokens, kept by what its text tells of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from assistant.store import messages
from assistant.store.database import open_memory
from assistant.store.messages import Outcome
from assistant.store.packing import pack
from assistant.store.token_packing import pack_tokens, unpack_tokens
from tests.assistant.store.test_curation import ask

TEXT = "The lighthouse keeper, 灯塔 of 1883,\n\n  saw it."
PIECES = "The| light|house| keeper|,| |灯|||塔| of| |1|88|3|,|\n\n|  saw| it|.|"
CUT = PIECES.split("|")
LENGTHS = [len(piece) for piece in CUT]
IDS = [500 + CUT.index(piece) if piece else 900 + place for place, piece in enumerate(CUT)]


@pytest.fixture(scope="module")
def log() -> Database:
    return open_memory()


def test_a_reply_told_again_takes_its_lengths_alone(db: Database) -> None:
    first = pack_tokens(db, "m", TEXT, IDS, LENGTHS)
    assert first == pack_tokens(db, "m", TEXT, IDS, LENGTHS)
    assert (len(first[0]), len(first[1])) == (3, 9)
    assert unpack_tokens(db, "m", TEXT, *first) == (IDS, LENGTHS)


@settings(deadline=None)
@given(st.data())
def test_whatever_was_packed_comes_back(log: Database, data: st.DataObject) -> None:
    text = data.draw(st.text(alphabet="ab 1,\n灯塔é_", max_size=60) | st.text(max_size=30))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    lengths = [b - a for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    ids = data.draw(
        st.lists(st.integers(0, 5) | st.integers(0, 2**31 - 1), min_size=len(lengths), max_size=len(lengths))
    )
    model = data.draw(st.sampled_from(["", "m"]))
    assert unpack_tokens(log, model, text, *pack_tokens(log, model, text, ids, lengths)) == (ids, lengths)


def test_tokens_of_half_a_text_or_none_come_back(db: Database) -> None:
    for ids, lengths in ((IDS, LENGTHS[:-1]), (IDS[:3], LENGTHS[:3]), (IDS, []), ([], [])):
        assert unpack_tokens(db, "m", TEXT, *pack_tokens(db, "m", TEXT, ids, lengths)) == (ids, lengths)


def test_what_earlier_versions_wrote_is_read(db: Database) -> None:
    assert unpack_tokens(db, "m", TEXT, pack("i", IDS), pack("i", LENGTHS)) == (IDS, LENGTHS)


def test_two_vocabularies_of_one_name_are_told_apart(db: Database) -> None:
    others = [one + 1 for one in IDS]
    for ids in (IDS, others, IDS):
        assert unpack_tokens(db, "", TEXT, *pack_tokens(db, "", TEXT, ids, LENGTHS)) == (ids, LENGTHS)


def test_another_text_has_no_tokens(db: Database) -> None:
    packed = pack_tokens(db, "m", TEXT, IDS, LENGTHS)
    assert unpack_tokens(db, "m", TEXT.replace("keeper", "sailor"), *packed) == ([], [])
    assert unpack_tokens(db, "m", "", *packed) == ([], [])
    db.conn.execute("DELETE FROM token_ids")
    assert unpack_tokens(db, "m", TEXT, *packed) == ([], [])


def test_a_piece_of_a_text_does_not_stand_in_the_vocabulary(db: Database) -> None:
    _, reply = ask(db, "hello", "")
    messages.end_reply(
        db, reply, TEXT, "complete", Outcome("m", token_ids=IDS, logprobs=[-0.5] * 21, token_lengths=LENGTHS)
    )
    assert messages.reply_info(db, reply).outcome.token_ids == IDS
    rows = db.conn.execute("SELECT * FROM token_ids").fetchall()
    assert len(rows) == len(set(CUT) - {""}) + 3 and all(isinstance(value, int) for row in rows for value in row)
