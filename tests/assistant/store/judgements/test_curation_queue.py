from sqlite_utils import Database

from assistant.store import messages
from assistant.store.judgements import curation, curation_queue
from assistant.store.judgements.curation_queue import Progress
from assistant.store.messages import Outcome
from assistant.store.search.filter import Filter
from tests.assistant.store.judgements.test_curation import MADE
from tests.assistant.store.search.test_exchanges import ids, reply


def test_the_most_surprising_conversation_is_up_until_it_is_done(db: Database) -> None:
    dull, bright, imported = reply(db, surprise=0.1), reply(db, surprise=3.0), reply(db, surprise=None)
    second = messages.begin_reply(db, 2, messages.add_user(db, 2, bright, "more"), MADE)
    messages.end_reply(db, second, "more", "complete", Outcome(logprobs=[-0.01]))
    assert curation_queue.progress(db) == Progress(0, 4)
    assert ids(curation_queue.up_next(db)) == [bright, second]
    curation.rate(db, bright, 1)
    assert ids(curation_queue.up_next(db, conversation_id=2)) == [second]
    assert ids(curation_queue.up_next(db)) == [dull]
    curation.decide(db, second, "skip")
    assert ids(curation_queue.up_next(db, conversation_id=2)) == [dull]
    assert curation_queue.progress(db) == Progress(2, 4)
    curation.undo(db)
    assert ids(curation_queue.up_next(db, conversation_id=2)) == [second]
    curation.redo(db)
    curation.correct(db, dull, "better")
    assert ids(curation_queue.up_next(db)) == [imported]
    curation.rate(db, imported, -1)
    assert curation_queue.up_next(db) == []
    assert curation_queue.progress(db) == Progress(5, 5)


def test_the_queue_takes_filters(db: Database) -> None:
    reply(db, model="x", surprise=2.0)
    other = reply(db, model="y", surprise=1.0)
    assert ids(curation_queue.up_next(db, Filter(model="y"))) == [other]
    assert curation_queue.progress(db, Filter(model="y")) == Progress(0, 1)
    assert curation_queue.up_next(db, Filter(model="z")) == []
