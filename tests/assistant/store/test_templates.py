"""The texts that templates had, and the tests they went through."""

from sqlite_utils import Database

from assistant.store import conversations, deletion, messages, template_tests, templates
from assistant.store.messages import Outcome, Provenance
from assistant.store.template_tests import TemplateTest


def replied(db: Database, template_hash: str, text: str) -> None:
    talk = conversations.create(db).id
    made = Provenance("m", "plain", template_hash, text, {}, 1)
    messages.end_reply(db, messages.begin_reply(db, talk, None, made), "r", "complete", Outcome())


def result(template_hash: str, values: list[float], text: str = "") -> TemplateTest:
    return TemplateTest("plain", template_hash, "m", "", {}, "d.jsonl", "dh", "accuracy", values, {}, text=text)


def test_versions_are_what_replies_and_tests_were_made_with(db: Database) -> None:
    replied(db, "h1", "one")
    replied(db, "h1", "one")
    replied(db, "other", "")  # its text is lost
    template_tests.add(db, result("h2", [1.0, 0.0], "two"))
    template_tests.add(db, result("h1", [1.0, 1.0], "one"))
    with db.conn:
        db.conn.execute("UPDATE templates SET first_used_ms = 5 WHERE hash = 'h1'")
    found = [(one.hash, one.text, one.replies, one.tests) for one in templates.versions(db, "plain")]
    assert found == [("h2", "two", 0, 1), ("h1", "one", 2, 1)]
    assert templates.versions(db, "another") == []
    assert [one.values for one in template_tests.of(db, "plain", 5)] == [[1.0, 1.0], [1.0, 0.0]]
    assert len(template_tests.of(db, "plain", 1)) == 1


def test_the_text_of_a_test_outlives_the_replies(db: Database) -> None:
    replied(db, "h1", "one")
    replied(db, "h2", "two")
    template_tests.add(db, result("h2", [1.0], "two"))
    deletion.delete_conversations(db, [1, 2])
    assert [one.hash for one in templates.versions(db, "plain")] == ["h2"]


def test_what_was_saved_is_kept_until_it_is_forgotten(db: Database) -> None:
    replied(db, "h1", "one")
    for name, template_hash, text in (("mine", "h1", "one"), ("mine", "h2", "two"), ("other", "h3", "three")):
        templates.save(db, template_hash, name, text)
    deletion.delete_conversations(db, [1])
    assert {one.text for one in templates.versions(db, "mine")} == {"one", "two"}
    assert [(one.text, one.replies) for one in templates.versions(db, "plain")] == [("one", 0)]
    templates.forget(db, "mine")
    deletion.erase_unused(db)
    assert templates.versions(db, "mine") == templates.versions(db, "plain") == []
    assert [one.text for one in templates.versions(db, "other")] == ["three"]


def test_saving_again_brings_a_text_to_the_front(db: Database) -> None:
    for template_hash in ("h1", "h2"):
        templates.save(db, template_hash, "mine", template_hash)
        with db.conn:
            db.conn.execute("UPDATE template_saves SET saved_ms = 5")
    templates.save(db, "h1", "mine", "h1")
    assert [one.text for one in templates.versions(db, "mine")] == ["h1", "h2"]
