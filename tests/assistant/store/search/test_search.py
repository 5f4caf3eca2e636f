"""Words found in the log, whatever is typed, and the index equal to the text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from assistant.store import conversations, messages
from assistant.store.database import open_memory
from assistant.store.judgements import curation
from assistant.store.messages import Outcome
from assistant.store.schema import derived
from assistant.store.schema.words import words
from assistant.store.search import query, search
from assistant.store.search.filter import EVERYTHING, Filter
from tests.assistant.store.judgements.test_curation import MADE, ask


def found(db: Database, typed: str, filter_: Filter = EVERYTHING) -> list[int]:
    return [hit.message_id for hit in search.search(db, typed, filter_).hits]


TEXTS = [
    "The lighthouse keeper saw a whale.",
    "灯塔的守护者看见了鲸鱼，然后回家。",
    "Café au lait, naïve; C++ and foo-bar v1.2 ＡＢＣ",
    "鱼鲸 are the wrong way round",
    "日本語のテキスト と 한국어 문장",
    'AND OR NOT NEAR( "quoted" * ^ : {x} -minus',
    "nul\0inside and \ud83d half",
]


@pytest.mark.parametrize(
    ("typed", "hits"),
    [
        ("whale", [0]),
        ("WHALE keeper", [0]),
        ("whale nothing", []),
        ("lig", [0]),
        ("lighth", [0]),
        ("lighthouse ", [0]),
        ("keepe ", []),
        ("ke", []),
        ('"keeper saw"', [0]),
        ('"saw keeper"', []),
        ('"keeper saw', [0]),
        ("鲸鱼", [1]),
        ("鱼", [3, 1]),
        ("鲸鱼 灯塔", [1]),
        ("守护者", [1]),
        ("护守", []),
        ("语", []),
        ("本語の", [4]),
        ("한국어", [4]),
        ("cafe", [2]),
        ("NAÏVE", [2]),
        ("abc", [2]),
        ("foo-bar", [2]),
        ("foo", [2]),
        ("v1.2", [2]),
        ("c++", [2]),
        ("whale OR 鲸鱼", [1, 0]),
        ("the -whale", [3]),
        ("the -whale -round", []),
        ("-whale", [0]),
        ("AND", [6, 5, 2]),
        ("NEAR(", [5]),
        ("OR", []),
        ("minus", [5]),
        ("half", [6]),
        ("inside", [6]),
    ],
)
def test_what_is_found(db: Database, typed: str, hits: list[int]) -> None:
    one = conversations.create(db).id
    ids = [messages.add_user(db, one, None, text) for text in TEXTS]
    assert [ids.index(one) for one in found(db, typed)] == hits
    assert search.count(db, typed) == len(hits)


@pytest.mark.parametrize(
    "typed", ["", " ", "+++", '"', '""', "*", "-", "OR", "\0", "\ud83d", "()", "。，", "\x1b[", "'"]
)
def test_what_has_no_word_finds_nothing(db: Database, typed: str) -> None:
    ask(db, "a + b", "* c")
    assert search.search(db, typed) == search.Found([], None)
    assert search.count(db, typed) == 0


@given(st.text(max_size=40) | st.text(st.sampled_from('ab鱼 "*()-^:{}+NEARANDOT\0\ud83d'), max_size=40))
@settings(max_examples=300, deadline=None)
def test_no_input_is_an_error(typed: str) -> None:
    db = open_memory()
    ask(db, "a b 鱼 NEAR", typed or "x")
    search.search(db, typed)
    search.search(db, typed, Filter(rating="good"), sort="surprise", as_typed=False)
    assert search.count(db, typed) <= 2
    db.close()


@given(st.text(min_size=1, max_size=30))
@settings(max_examples=300, deadline=None)
def test_a_text_is_found_by_each_of_its_words(text: str) -> None:
    db = open_memory()
    user, _ = ask(db, text, "nothing")
    for word in query._WORD_OF_INDEX.findall(words(text)):
        assert user in found(db, f'"{word}"'), word
    db.close()


def test_a_reply_is_found_when_it_has_ended(db: Database) -> None:
    user, reply = ask(db, "q", "first words")
    messages.resume_reply(db, reply)
    messages.grow_reply(db, reply, "first words and zebras")
    assert found(db, "zebras") == []
    assert found(db, "words") == []
    messages.end_reply(db, reply, "first words and zebras", "complete", Outcome())
    assert found(db, "zebras") == [reply]
    assert found(db, "q") == [user]
    assert derived.troubles(db) == []


def test_an_exchange_is_found_once_and_by_its_question(db: Database) -> None:
    user, one, other = ask(db, "why whales", "because whales", "no idea")
    hits = search.search(db, "whales").hits
    assert [(hit.message_id, hit.exchange and hit.exchange.message_id) for hit in hits] == [(one, one), (user, other)]
    curation.rate(db, one, 1)
    assert [
        hit.exchange and hit.exchange.message_id for hit in search.search(db, "why", Filter(rating="good")).hits
    ] == [one]
    assert found(db, "why", Filter(rating="bad")) == []


@pytest.mark.parametrize("looked_up", [5000, 0])
@pytest.mark.parametrize("listed", [5000, 0])
@pytest.mark.parametrize(
    ("filter_", "hits"),
    [
        (Filter(rating="good"), [3, 1]),
        (Filter(rating="good", tags=("t",)), [3]),
        (Filter(until_ms=1500), [1, 0]),
        (Filter(since_ms=1000, until_ms=1001, rating="good"), [1]),
        (Filter(until_ms=-1), []),
    ],
)
def test_every_way_to_filter_finds_the_same(
    db: Database, monkeypatch: pytest.MonkeyPatch, looked_up: int, listed: int, filter_: Filter, hits: list[int]
) -> None:
    monkeypatch.setattr(search, "LOOKED_UP", looked_up)
    monkeypatch.setattr(search, "LOOKED_UP_AT_MOST", looked_up)
    monkeypatch.setattr(search, "LISTED", listed)
    users = []
    for number in range(4):
        user, reply = ask(db, f"whale {number}", "yes")
        users.append(user)
        curation.rate(db, reply, number % 2)
        db.conn.execute("UPDATE messages SET created_ms = ? WHERE id = ?", (1000 * number, reply))
    curation.tag(db, reply, "t")
    derived.rebuild(db)
    assert found(db, "whale", filter_) == [users[one] for one in hits]


@pytest.mark.parametrize("looked_up", [0, 1, 3_000])
def test_a_prompt_stands_for_its_newest_answer_that_passes_and_a_reply_for_itself(
    db: Database, monkeypatch: pytest.MonkeyPatch, looked_up: int
) -> None:
    monkeypatch.setattr(search, "LOOKED_UP_AT_MOST", looked_up)
    user, first, second, third, _ = ask(db, "whale", "whale too", "second", "third", "fourth")
    after = messages.begin_reply(db, messages.get(db, user).conversation_id, first, MADE)  # a reply to a reply
    messages.end_reply(db, after, "went on", "complete", Outcome())
    for one in (first, second, third, after):
        curation.rate(db, one, 1)
    curation.decide(db, third, "skip")
    hits = search.search(db, "whale", Filter(rating="good", decision="undecided")).hits
    assert [(hit.message_id, hit.exchange and hit.exchange.message_id) for hit in hits] == [
        (first, first),
        (user, second),
    ]


def test_time_that_is_up_while_a_filter_is_listed_is_told(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LOOKED_UP_AT_MOST", 0)
    one, _ = ask(db, "whale", "yes")
    for _ in range(12):  # 4,096 replies to one prompt
        db.conn.execute(
            "INSERT INTO messages (conversation_id, parent_id, role, content, created_ms, updated_ms, state) "
            "SELECT conversation_id, parent_id, role, content, created_ms, 0, state FROM messages WHERE role <> 'user'"
        )
    found = search.search(db, "whale", Filter(rating="unrated"), within_s=-1)
    assert (found.hits, found.complete) == ([], False)
    found = search.search(db, "whale", Filter(rating="unrated"))
    assert ([hit.message_id for hit in found.hits], found.complete) == ([one], True)


def test_pages_of_hits_meet(db: Database) -> None:
    for number in range(25):
        ask(db, f"question {number}", f"answer {number}")
    seen: list[int] = []
    before = None
    while True:
        page = search.search(db, "answer", limit=7, before=before)
        seen += [hit.message_id for hit in page.hits]
        if (before := page.next_before) is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) == 25
    assert search.count(db, "answer", at_most=10) == 10


def test_hits_are_sorted_by_any_column(db: Database) -> None:
    for length in (3, 1, 2):
        ask(db, "q", "whale " * length)
    messages.add_user(db, 1, None, "whale alone")
    hits = search.search(db, "whale", sort="length", descending=False).hits
    assert [hit.exchange.length if hit.exchange else 0 for hit in hits] == [6, 12, 18, 0]


def test_deleted_conversations_are_not_found(db: Database) -> None:
    user, reply = ask(db, "hidden whale", "a whale")
    conversations.delete(db, 1)
    assert found(db, "whale") == []
    conversations.restore(db, 1)
    assert found(db, "whale") == [reply]
    assert found(db, "hidden") == [user]


def test_it_answers_with_what_it_has_when_time_is_up(db: Database) -> None:
    one = conversations.create(db).id
    db.conn.executemany(
        "INSERT INTO messages (conversation_id, role, content, created_ms, updated_ms, state) "
        "VALUES (?, 'assistant', 'whale', 0, 0, 'complete')",
        [(one,)] * 3000,
    )
    late = search.search(db, "whale", Filter(min_length=6, max_tokens=1), limit=5000, within_s=0.0)
    assert not late.complete
    assert search.search(db, "whale", limit=5000).complete


@pytest.mark.parametrize(
    ("text", "typed", "shown"),
    [
        ("The lighthouse\nkeeper", "light", "The [lighthouse] keeper"),
        ("x " * 200 + "whale " + "y " * 200, "whale", "…x x x x x x x x x x x x x x x x x x x [whale] y"),
        ("我看见了鲸鱼。", "鲸鱼", "我看见了[鲸鱼]。"),
        ("Café", "cafe", "[Café]"),
        ("saw  the, keeper", '"the keeper"', "saw  [the, keeper]"),
        ("others", "other ", "others"),
        ("ＡＢＣ", "abc", "[ＡＢＣ]"),
        ("İstanbul ﬁnd", "istanbul", "[İstanbul] ﬁnd"),
    ],
)
def test_snippets(text: str, typed: str, shown: str) -> None:
    fragments = query.snippet(text, query.terms(typed))
    told = "".join(f"[{piece}]" if hit else piece for piece, hit in fragments)
    assert told.startswith(shown)
