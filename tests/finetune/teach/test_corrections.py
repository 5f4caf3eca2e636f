"""Corrections as the log has them, and those that can't be taught."""

from collections.abc import Callable

import pytest
from sqlite_utils import Database

from assistant.engine.models import catalogue
from assistant.errors import AssistantError, TrainingRefused
from assistant.paths import Paths
from assistant.store import messages
from assistant.store.judgements import curation
from assistant.store.messages import Outcome, Provenance
from assistant.store.training import datasets
from finetune.lineage.lineage import Learned, Start
from finetune.teach import corrections, course, material
from finetune.teach.lesson import lesson
from prompts.message import Message
from tests.finetune.teach.conftest import corrected, exchange


def test_the_reply_and_its_correction_name_the_same(talks: Database) -> None:
    reply, correction = corrected(talks, "who?", "me", "you")
    by_reply, by_itself = (corrections.find(talks, [one]) for one in (reply, correction))
    assert by_reply == by_itself
    assert len(corrections.find(talks, [reply, correction, reply])) == 1
    (one,) = by_reply
    assert (one.id, one.question, one.text, one.replied) == (correction, "who?", "you", "me")


def test_of_several_corrections_the_last_counts(talks: Database) -> None:
    reply, _ = corrected(talks, "who?", "me", "you")
    last = curation.correct(talks, reply, "they")
    assert [one.id for one in corrections.find(talks, [reply])] == [last]


def test_what_was_said_before_is_kept(talks: Database) -> None:
    first = exchange(talks, "hello", "hi")
    _, second = corrected(talks, "and now?", "nothing", "something", after=first)
    (one,) = corrections.find(talks, [second])
    assert [said.content for said in one.prompt] == ["hello", "hi", "and now?"]
    assert not one.is_first


def test_the_system_message_of_the_corrected_reply_is_kept(talks: Database) -> None:
    reply, _ = corrected(talks, "who?", "me", "you")
    talk = messages.get(talks, reply).conversation_id
    asked = messages.add_user(talks, talk, None, "what?")
    text = "---\nkind: chat\n---\n# system\nBe terse.\n"
    made = messages.begin_reply(talks, talk, asked, Provenance("tiny", "terse", "t" * 64, text, {}, None))
    messages.end_reply(talks, made, "a long reply", "complete", Outcome())
    (one,) = corrections.find(talks, [curation.correct(talks, made, "short")])
    assert one.prompt == (Message("system", "Be terse."), Message("user", "what?"))


REFUSED: list[tuple[str, Callable[[Database], list[int]], str]] = [
    ("no ids", lambda _: [], "Nothing to teach"),
    ("no such message", lambda _: [999_999], "999999"),
    ("not corrected", lambda db: [exchange(db, "who?", "me")], r"reply \d+ has no correction"),
    ("a question", lambda db: [messages.get(db, exchange(db, "who?", "me")).parent_id or 0], r"message \d+ has no"),
    ("equal", lambda db: [corrected(db, "who?", "it is me", " it is  me\n")[0]], "says the same as the reply"),
]


@pytest.mark.parametrize(("ids", "sentence"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_what_cannot_be_taught_is_said(talks: Database, ids: Callable[[Database], list[int]], sentence: str) -> None:
    with pytest.raises(TrainingRefused, match=sentence):
        corrections.find(talks, ids(talks))


def test_contradictory_corrections_are_both_named(talks: Database) -> None:
    one, other = (corrected(talks, "who?", "me", text)[1] for text in ("you", "they"))
    with pytest.raises(TrainingRefused, match=f"{one} and {other}.*'you' and 'they'"):
        corrections.find(talks, [one, other])


def test_the_same_question_after_other_words_does_not_contradict(talks: Database) -> None:
    befores = [exchange(talks, said, "yes") for said in ("one", "two")]
    ids = [corrected(talks, "sadder", "no", f"sad {before}", after=before)[1] for before in befores]
    found = corrections.find(talks, ids)
    assert corrections.questions_asked_once(found) == set()


def test_a_correction_that_is_too_long_is_named_with_its_length(talks: Database, home: Paths) -> None:
    _, correction = corrected(talks, "who?", "me", "the dog " * 300)
    with pytest.raises(TrainingRefused, match=rf"correction {correction} has [\d,]+ tokens, and at most 256"):
        course.teach(talks, home, [correction], "", lambda _: None)
    assert not datasets.every(talks)


def test_a_long_conversation_is_cut_before_the_question(talks: Database, home: Paths) -> None:
    before = exchange(talks, "the dog " * 400, "the fox " * 200)
    _, correction = corrected(talks, "who?", "me", "you", after=before)
    found = lesson(talks, home, [correction], "")
    (taught,), _ = material.taught(found.base.tokenizer_of_rows(material.LONGEST_ROW), found.new, [])
    assert max(len(row.ids) for row in taught.always) <= 256  # the tiny model's context


MODELS = [
    ("of another server", "there", "runs on another server"),
    ("not installed", "gpt-9", "gpt-9"),
    ("not known", "", "Name it with -m MODEL"),
]


@pytest.mark.parametrize(("model", "sentence"), [one[1:] for one in MODELS], ids=[one[0] for one in MODELS])
def test_a_reply_of_a_model_that_cannot_be_taught(talks: Database, home: Paths, model: str, sentence: str) -> None:
    catalogue.add_remote(home, catalogue.Remote("there", "http://127.0.0.1:9", "other"))
    _, correction = corrected(talks, "who?", "me", "you", model=model)
    with pytest.raises(AssistantError, match=sentence):
        lesson(talks, home, [correction], "")


def test_replies_of_two_models_need_a_name(talks: Database, home: Paths) -> None:
    ids = [corrected(talks, "who?", "me", "you")[1], corrected(talks, "what?", "it", "that", model="other")[1]]
    with pytest.raises(TrainingRefused, match=rf"{ids[0]}: tiny, {ids[1]}: other"):
        lesson(talks, home, ids, "")
    assert lesson(talks, home, ids, "tiny").model == "tiny"


def test_only_what_was_taught_from_the_base_on_is_held_to_the_base(db: Database) -> None:
    for name, source in (("taught", {"taught": [1]}), ("taught-2", {"taught": [2]}), ("mine", {})):
        datasets.add(db, name, "supervised", name, source, {}, [])
    for names, expected in (
        (["taught"], True),
        (["taught-2", "taught"], True),
        (["taught", "mine"], False),
        (["taught", "gone"], False),
    ):
        start = Start("some", "hash", tuple(Learned(name, name) for name in names))
        assert corrections.only_taught(db, start) is expected
    assert corrections.only_taught(db, None)
