"""Files of other programs: the tree, who said what, what was thought of it, and what was left out by name."""

from typing import Any

import pytest
from sqlite_utils import Database

from assistant.store import messages
from tests.assistant.store.files.conftest import Take
from tests.assistant.store.files.exports.stored import Stored, stored
from tests.assistant.store.files.programs import samples

THOUGHT = "<think>\nIce.\n</think>\n\n"
OPEN_WEBUI_LEFT = {
    "tool calls",
    "'chat.tags' fields",
    "'meta' fields",
    "image attachments",
    "'annotation.details' fields",
    "'sources' fields",
}


def same(db: Database, expected: Stored) -> None:
    """The only conversation is as expected; an expected field that is empty is not compared."""
    assert db["conversations"].count == 1
    found = stored(db)
    for name, value in vars(expected).items():
        if value:
            assert getattr(found, name) == value, name


def left_out(report: Any) -> set[str]:
    return {what.removesuffix(" left out") for what in report.left if what.endswith(" left out")}


def test_open_webui(memory: Database, take: Take) -> None:
    report = take(samples.OPEN_WEBUI)
    inlet = "<think>\nIce & rock.\n</think>\n\nA long inlet."
    same(
        memory,
        Stored(
            [
                (None, "user", "What is a fjord?\n\nmap.txt:\n\na map"),
                (0, "assistant", inlet),
                (0, "assistant", "A drowned glacier valley."),
            ],
            "Fjords",
            "Be brief.",
            "open-webui",
            "A drowned glacier valley.",
            judged={inlet: (-1, "Too short: more"), "A drowned glacier valley.": (1, ("geography",))},
            models={inlet: "m", "A drowned glacier valley.": "n"},
        ),
    )
    assert left_out(report) == OPEN_WEBUI_LEFT
    assert list(memory.query("SELECT created_ms, pinned FROM conversations")) == [
        {"created_ms": 1_760_000_000_000, "pinned": 1}
    ]


def test_feedback_of_open_webui_is_put_on_the_replies(memory: Database, take: Take) -> None:
    report = take(samples.FEEDBACK)
    assert [rating for rating, *_ in stored(memory).judged.values()] == [1, -1]
    assert left_out(report) == OPEN_WEBUI_LEFT | {"'feedback.model_id' fields", "'feedback.sibling_model_ids' fields"}
    with pytest.raises(Exception, match="feedback without the chat"):
        take([{**samples.FEEDBACK[0], "snapshot": None}])


def test_lm_studio_has_versions_and_steps(memory: Database, take: Take) -> None:
    report = take(samples.LM_STUDIO)
    same(
        memory,
        Stored(
            [
                (None, "user", "Fjords?"),
                (0, "assistant", f"{THOUGHT}A long inlet."),
                (0, "assistant", "A valley."),
                (2, "user", "Thanks"),
            ],
            "Fjords",
            "Be brief.",
            "lm-studio",
            "Thanks",
            models={f"{THOUGHT}A long inlet.": "some-model", "A valley.": "a/b"},
        ),
    )
    assert left_out(report) == {"tool results", "'notes' fields"}
    assert [one.state for one in messages.all_of(memory, 1)] == ["complete", "stopped", "complete", "complete"]
    assert memory.execute("SELECT draft FROM conversations").fetchone() == ("not sent",)


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (samples.THREAD, "oldest first"),
        (samples.ASSISTANTS, "newest first"),
        ([{**samples.ASSISTANTS[0], "data": samples.THREAD}], "oldest first, as the times say"),
        ([{"object": "list", "data": [{"role": "assistant", "content": [{"type": "text", "text": {"value": "B"}}]},
                                      {"role": "user", "content": "A"}]}], "newest first, without times"),
    ],
)  # fmt: skip
def test_threads(memory: Database, take: Take, values: list[Any], order: str) -> None:
    take(values)
    assert [role for _, role, _ in stored(memory).said] == ["user", "assistant"], order


def test_librechat(memory: Database, take: Take) -> None:
    report = take(samples.LIBRECHAT)
    same(
        memory,
        Stored(
            [
                (None, "user", "What is a fjord?"),
                (0, "assistant", f"{THOUGHT}An inlet."),
                (0, "assistant", "A val"),
            ],
            "Fjord talk",
            "Be brief.",
            "librechat",
            judged={f"{THOUGHT}An inlet.": (1, "good", ("helpful",))},
        ),
    )
    assert messages.get(memory, 3).state == "cut"
    assert left_out(report) == set()


def test_librechat_without_recursion(memory: Database, take: Take) -> None:
    flat = samples.LIBRECHAT[0]["messagesTree"][0]
    rows = [flat, *flat["children"]]
    rows = [{name: one for name, one in row.items() if name != "children"} for row in rows]
    take([{**samples.LIBRECHAT[0], "messagesTree": None, "messages": rows, "recursive": False}])
    assert [parent for parent, _, _ in stored(memory).said] == [None, 0, 0]


def test_llama_cpp(memory: Database, take: Take) -> None:
    report = take(samples.LLAMA_CPP)
    same(
        memory,
        Stored(
            [
                (None, "user", "Fjords?\n\na.txt:\n\na map"),
                (0, "assistant", f"{THOUGHT}A long inlet."),
                (0, "assistant", "A valley."),
            ],
            "Fjords",
            "",
            "llama.cpp",
            f"{THOUGHT}A long inlet.",
        ),
    )
    assert left_out(report) == {"image attachments", "tool calls"}


def test_text_generation_webui(memory: Database, take: Take) -> None:
    take(samples.TEXT_GENERATION_WEBUI)
    same(
        memory,
        Stored(
            [
                (None, "assistant", "Welcome."),
                (0, "user", "What is a <fjord>?\n\na.txt:\n\na map"),
                (1, "assistant", "A long inlet."),
                (1, "assistant", "A valley."),
            ],
            open="A valley.",
            models={"A long inlet.": "m", "A valley.": "m"},
        ),
    )
    take({"data": [["Hi", "Hello."]], "data_visible": [["Hi", "Hello."]]})
    assert stored(memory, 2).said == [(None, "user", "Hi"), (0, "assistant", "Hello.")]


def test_ai_studio(memory: Database, take: Take) -> None:
    report = take(samples.AI_STUDIO)
    same(
        memory,
        Stored([(None, "user", "What is a fjord?"), (0, "assistant", f"{THOUGHT}An inlet.")], "file", "Be brief."),
    )
    assert left_out(report) == {"image attachments"}
    assert memory.execute("SELECT draft FROM conversations").fetchone() == ("not sent",)


def test_sillytavern(memory: Database, take: Take) -> None:
    report = take(samples.SILLYTAVERN)
    same(
        memory,
        Stored(
            [
                (None, "assistant", "Welcome."),
                (0, "user", "Fjords?"),
                (1, "assistant", "A long inlet."),
                (1, "assistant", f"{THOUGHT}A valley."),
            ],
            "Guide",
            open=f"{THOUGHT}A valley.",
            models={"A long inlet.": "m", f"{THOUGHT}A valley.": "n"},
        ),
    )
    assert left_out(report) == {"'chat_metadata' fields", "'extra.bookmark_link' fields", "hidden messages"}


def test_grok(memory: Database, take: Take) -> None:
    report = take(samples.GROK)
    expected = [
        (None, "user", "What is a fjord?"),
        (0, "assistant", f"{THOUGHT}An inlet."),
        (0, "assistant", "A valley."),
    ]
    same(memory, Stored(expected, "Fjords", source="grok"))
    assert left_out(report) == {"'conversation.summary' fields", "'projects' fields"}


def test_deepseek(memory: Database, take: Take) -> None:
    report = take(samples.DEEPSEEK)
    same(memory, Stored([(None, "user", "What is a fjord?"), (0, "assistant", f"{THOUGHT}An inlet.")], "Fjords"))
    assert left_out(report) == {"'SEARCH' fragments"}


@pytest.mark.parametrize("values", [samples.OASST_TREE, samples.OASST_TREE[0]])
def test_openassistant_has_ranks(memory: Database, take: Take, values: Any) -> None:
    report = take(values)
    found = stored(memory)
    assert found.votes == [("A drowned valley.", "Water."), ("Water.", "No.")]
    assert found.open == "A drowned valley."
    assert left_out(report) == {"'lang' fields", "'synthetic' fields", "'emojis' fields"}


def test_openassistants_messages_are_gathered_in_any_order(memory: Database, take: Take) -> None:
    report = take(samples.OASST_MESSAGES)
    assert report.conversations == 2
    assert stored(memory).said == [
        (None, "user", "What is a fjord?"),
        (0, "assistant", "A valley."),
        (0, "assistant", "Water."),
    ]
    assert stored(memory).votes == [("A valley.", "Water.")]
    assert stored(memory, 2).said[1] == (0, "assistant", "Hi.")
    assert left_out(report) == {"deleted messages"}


@pytest.mark.parametrize("name", samples.PROGRAM_FILES)
def test_importing_again_adds_nothing(take: Take, name: str) -> None:
    first, second = take(samples.PROGRAM_FILES[name]), take(samples.PROGRAM_FILES[name])
    assert first.conversations
    assert (second.conversations, second.went_on, second.doubles) == (0, 0, first.conversations)


def test_a_chat_of_open_webui_goes_on(memory: Database, take: Take) -> None:
    take(samples.OPEN_WEBUI)
    chat = samples.OPEN_WEBUI[0]["chat"]
    more = {"id": "d", "parentId": "c", "childrenIds": [], "role": "user", "content": "And a ria?"}
    history = {"currentId": "d", "messages": {**chat["history"]["messages"], "d": more}}
    report = take([{**samples.OPEN_WEBUI[0], "chat": {**chat, "history": history}}])
    assert (report.conversations, report.went_on, report.messages) == (0, 1, 1)
    assert stored(memory).open == "And a ria?"


def test_a_value_that_two_programs_could_have_written_is_left_out(take: Take) -> None:
    both = {**samples.OPEN_WEBUI[0], "chat_messages": [{"sender": "human", "text": "Hi"}]}
    report = take([both, *samples.OPEN_WEBUI])
    assert report.conversations == 1
    assert report.named_left_out[0].reason == (
        "it looks like a conversation of claude and of open-webui. Import the files of each program by themselves"
    )
