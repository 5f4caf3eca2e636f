"""A conversation forked at one of its messages."""

import pytest
from sqlite_utils import Database

from assistant.errors import StoreError
from assistant.store import conversations, forking, messages
from assistant.store.database import check
from assistant.store.judgements import curation
from assistant.store.judgements.curation import Judgement
from assistant.store.messages import Outcome, Provenance
from assistant.store.schema import derived

MADE = Provenance("m", "plain", "hash", "text of it", {"temperature": 0.5}, 42, "adapter")
WENT = Outcome("sha", 10, 4, 2, 1, 8192, 0.5, 0.1, 0.3, "stop", "cpu", [5, 7], [-0.5, -0.25])


@pytest.fixture
def talk(db: Database) -> list[int]:
    """Ids of a question, two replies to it, and what was said after the first."""
    one = conversations.create(db, model="m", template="tutor", inputs={"x": "旅"}, sampling={"top_k": 3}).id
    conversations.rename(db, one, "Talk")
    ids = [messages.add_user(db, one, None, "q")]
    for text in ("a", "b"):
        ids.append(messages.begin_reply(db, one, ids[0], MADE))
        messages.end_reply(db, ids[-1], text, "complete", WENT)
    ids.append(messages.add_user(db, one, ids[1], "and then?"))
    return ids


def test_a_fork_holds_the_path_with_its_provenance_and_no_more(db: Database, talk: list[int]) -> None:
    curation.rate(db, talk[1], 1)
    forked = conversations.get(db, forking.fork(db, talk[1]))
    assert (forked.title, forked.model, forked.template) == ("Talk (fork)", "m", "tutor")
    assert (forked.inputs, forked.sampling) == ({"x": "旅"}, {"top_k": 3})
    assert forked.leaf_id is not None
    path = messages.path(db, forked.leaf_id)
    assert [(row.role, row.content) for row in path] == [("user", "q"), ("assistant", "a")]
    assert path == messages.all_of(db, forked.id)
    assert messages.reply_info(db, path[1].id) == messages.reply_info(db, talk[1])
    assert path[1].created_ms == messages.get(db, talk[1]).created_ms
    assert curation.judgement(db, path[1].id) == Judgement()
    assert check(db) == derived.troubles(db) == []


def test_the_original_is_as_it_was(db: Database, talk: list[int]) -> None:
    before = conversations.get(db, 1), messages.all_of(db, 1)
    messages.add_user(db, forking.fork(db, talk[2]), None, "elsewhere")
    assert (conversations.get(db, 1), messages.all_of(db, 1)) == before


def test_a_correction_is_copied_as_what_a_person_wrote(db: Database, talk: list[int]) -> None:
    forked = conversations.get(db, forking.fork(db, curation.correct(db, talk[1], "better")))
    copy = messages.get(db, forked.leaf_id or 0)
    assert (copy.content, copy.corrects_id) == ("better", None)
    assert not messages.was_generated(db, copy.id)
    assert check(db) == derived.troubles(db) == []


def test_a_reply_that_grows_is_copied_as_far_as_it_is(db: Database, talk: list[int]) -> None:
    growing = messages.begin_reply(db, 1, talk[3], MADE)
    messages.grow_reply(db, growing, "so f")
    forked = conversations.get(db, forking.fork(db, growing))
    copy = messages.get(db, forked.leaf_id or 0)
    assert (copy.content, copy.state) == ("so f", "stopped")
    assert derived.troubles(db) == []


def test_a_long_path_is_copied(db: Database) -> None:
    one, parent = conversations.create(db).id, None
    for number in range(1_500):
        parent = messages.add_user(db, one, parent, str(number))
    assert parent is not None
    forked = forking.fork(db, parent)
    assert [row.content for row in messages.all_of(db, forked)] == [str(number) for number in range(1_500)]


def test_what_is_not_there_can_not_be_forked(db: Database) -> None:
    with pytest.raises(StoreError, match="no message 99"):
        forking.fork(db, 99)
    assert db["conversations"].count == 0
