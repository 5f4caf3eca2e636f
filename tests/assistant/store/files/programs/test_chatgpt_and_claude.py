"""What ChatGPT and Claude put beside or into the words of a reply: marks, documents, hidden drafts."""

import json
from typing import Any

import pytest
from sqlite_utils import Database

from assistant.store.files.programs.documents import Document, artifact, canvas
from assistant.store.files.programs.tagged import replaced
from tests.assistant.store.files.conftest import Take
from tests.assistant.store.files.exports.stored import stored
from tests.assistant.store.files.samples import chatgpt_node

CITE = "\ue200cite\ue202turn0search3\ue202turn0search8\ue201"
ENTITY = '\ue200entity\ue202["place","Vestland",0]\ue201'


def chatgpt(*nodes: dict[str, Any], leaf: str = "") -> list[dict[str, Any]]:
    mapping = {key: node for one in nodes for key, node in one.items()}
    return [{"title": "T", "mapping": mapping, "current_node": leaf or list(mapping)[-1], "conversation_id": "c"}]


def reply(text: str, **metadata: Any) -> list[dict[str, Any]]:
    return chatgpt(
        chatgpt_node("u", None, "user", "How long?"), chatgpt_node("a", "u", "assistant", text, metadata=metadata)
    )


@pytest.mark.parametrize(
    ("text", "metadata", "expected", "dropped"),
    [
        (
            f"205 km. {CITE} In {ENTITY}.",
            {"content_references": [{"matched_text": CITE, "items": [{"title": "Sogne", "url": "https://a.no/s"}]}]},
            "205 km. [Sogne](https://a.no/s) In Vestland.",
            0,
        ),
        (
            f"205 km {CITE}.",
            {"content_references": [{"matched_text": CITE, "alt": "([a.no](https://a.no))", "items": []}]},
            "205 km ([a.no](https://a.no)).",
            0,
        ),
        (f"205 km {CITE}.", {}, "205 km.", 1),
        (f"205 km {CITE}.", {"content_references": [{"matched_text": " ", "type": "sources_footnote"}]}, "205 km.", 1),
        (
            "205 km【6†source】.",
            {"citations": [{"start_ix": 6, "end_ix": 16, "metadata": {"title": "S", "url": "https://a.no"}}]},
            "205 km[S](https://a.no).",
            0,
        ),
        ("205 km 【6†source】.", {}, "205 km.", 1),
        ("\ue203205 km\ue204\ue206", {}, "205 km", 0),
        ("\ue200url\ue202the site\ue202turn0search1\ue201", {}, "the site", 0),
        ("plain 【note】 text", {}, "plain 【note】 text", 0),
        (f"bad {CITE}", {"content_references": [{"matched_text": CITE, "url": "javascript:x"}]}, "bad", 1),
    ],
)
def test_marks_become_links_and_names(
    memory: Database, take: Take, text: str, metadata: dict[str, Any], expected: str, dropped: int
) -> None:
    report = take(reply(text, **metadata))
    assert stored(memory).said[1][2] == expected
    assert report.left.get("citation marks left out", 0) == dropped


def test_a_citation_is_found_in_the_search_results_of_another_message(memory: Database, take: Take) -> None:
    entry = {"ref_id": {"turn_index": 0, "ref_type": "search", "ref_index": 3}, "title": "S", "url": "https://a.no"}
    groups = {"search_result_groups": [{"type": "search_result_group", "entries": [entry]}]}
    take(
        chatgpt(
            chatgpt_node("u", None, "user", "How long?"),
            chatgpt_node("t", "u", "tool", "found", metadata=groups),
            chatgpt_node("a", "t", "assistant", f"205 km {CITE}."),
        )
    )
    assert stored(memory).said[1][2] == "205 km [S](https://a.no)."


def canvas_node(key: str, parent: str, act: str, told_: dict[str, Any]) -> dict[str, Any]:
    content = {"content_type": "code", "language": "json", "text": json.dumps(told_)}
    return chatgpt_node(key, parent, "assistant", content=content, recipient=f"canmore.{act}_textdoc")


def test_the_canvas_is_part_of_the_reply_that_made_it(memory: Database, take: Take) -> None:
    report = take(
        chatgpt(
            chatgpt_node("u", None, "user", "A haiku"),
            canvas_node("c", "u", "create", {"name": "h", "type": "document", "content": "White dust\nsalt"}),
            chatgpt_node("t", "c", "tool", "Successfully created"),
            chatgpt_node("a", "t", "assistant", "Done."),
            chatgpt_node("u2", "a", "user", "Longer"),
            canvas_node("c2", "u2", "update", {"updates": [{"pattern": "salt", "replacement": "sea salt"}]}),
            chatgpt_node("u3", "a", "user", "In Python"),
            canvas_node(
                "c3", "u3", "update", {"updates": [{"pattern": ".*", "multiple": True, "replacement": "print(1)"}]}
            ),
            chatgpt_node("u4", "c3", "user", "Again"),
            canvas_node("c4", "u4", "update", {"updates": [{"pattern": "(a+)+$", "replacement": "x"}]}),
            chatgpt_node("u5", "c4", "user", "Comment"),
            canvas_node("c5", "u5", "comment", {"comments": []}),
        )
    )
    replies = [content for _, role, content in stored(memory).said if role == "assistant"]
    assert replies == ["White dust\nsalt\n\nDone.", "White dust\nsea salt", "print(1)"]
    assert report.left["canvas changes left out"] == 1
    assert report.left["tool call messages left out"] == 2


def test_a_circle_of_nodes_with_a_canvas_ends(take: Take) -> None:
    loop = {"updates": [{"pattern": ".*", "replacement": "x"}]}
    take(
        chatgpt(
            chatgpt_node("u", None, "user", "Hi"),
            canvas_node("a", "b", "update", loop),
            chatgpt_node("b", "a", "user", "x"),
        )
    )


def test_a_draft_of_weight_0_is_hidden(memory: Database, take: Take) -> None:
    report = take(
        chatgpt(
            chatgpt_node("u", None, "user", "Hi"),
            chatgpt_node("a", "u", "assistant", "Hello.", weight=1.0),
            chatgpt_node("b", "a", "assistant", "old draft", weight=0.0),
        )
    )
    assert stored(memory).said == [(None, "user", "Hi"), (0, "assistant", "Hello.")]
    assert report.left == {"hidden messages left out": 1}


def test_a_field_that_is_not_known_is_counted_by_its_name(take: Take) -> None:
    values = reply("Hello.", targeted_reply="this part", model_slug="m", request_id="r")
    values[0] |= {"new_thing": {"a": 1}, "plugin_ids": ["p"], "is_archived": False}
    assert take(values).left == {"'metadata.targeted_reply' fields left out": 1, "'new_thing' fields left out": 1}


# -- Claude -----------------------------------------------------------------------------------------------------------


def block(command: str, **told_: Any) -> dict[str, Any]:
    return {"type": "tool_use", "name": "artifacts", "input": {"id": "h", "command": command, **told_}}


def claude(*contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    messages = [
        {"uuid": str(number), "sender": ("human", "assistant")[number % 2], "text": "", "content": content}
        for number, content in enumerate(contents)
    ]
    return [{"uuid": "u", "name": "T", "chat_messages": messages}]


def test_an_artifact_is_part_of_the_reply_that_made_or_changed_it(memory: Database, take: Take) -> None:
    code = {"type": "application/vnd.ant.code", "language": "python"}
    asked = [{"type": "text", "text": "A haiku"}]
    report = take(
        claude(
            asked,
            [{"type": "text", "text": "Here:"}, block("create", type="text/markdown", content="White dust\nsalt"),
             {"type": "tool_result", "name": "artifacts", "content": [{"type": "text", "text": "OK"}]}],
            [{"type": "text", "text": "Longer"}],
            [block("update", old_str="salt", new_str="sea salt")],
            [{"type": "text", "text": "Python"}],
            [block("rewrite", content="print(1)", **code)],
            [{"type": "text", "text": "Other"}],
            [block("update", old_str="none", new_str="x"), {"type": "text", "text": "Sorry."}],
        )
    )  # fmt: skip
    replies = [content for _, role, content in stored(memory).said if role == "assistant"]
    assert replies == [
        "Here:\n\nWhite dust\nsalt",
        "White dust\nsea salt",
        "```python\nprint(1)\n```",
        "Sorry.",
    ]
    assert report.left == {"document changes left out": 1}


def test_a_file_that_is_handed_over_is_part_of_the_reply(memory: Database, take: Take) -> None:
    def call(name: str, **told_: Any) -> dict[str, Any]:
        return {"type": "tool_use", "name": name, "input": told_}

    out, work = "/mnt/user-data/outputs/a.py", "/home/claude/b.py"
    report = take(
        claude(
            [{"type": "text", "text": "A script"}],
            [call("create_file", path=work, file_text="x"), call("create_file", path=out, file_text="print(1)"),
             {"type": "tool_result", "name": "create_file", "content": [{"type": "text", "text": "OK"}]},
             {"type": "text", "text": "Done."}],
            [{"type": "text", "text": "Print 2"}],
            [call("str_replace", path=out, old_str="1", new_str="2")],
        )
    )  # fmt: skip
    replies = [content for _, role, content in stored(memory).said if role == "assistant"]
    assert replies == ["```py\nprint(1)\n```\n\nDone.", "```py\nprint(2)\n```"]
    assert report.left == {"tool calls left out": 1}


def test_artifacts_of_older_exports_stand_in_the_text(memory: Database, take: Take) -> None:
    text = (
        '<antThinking>hm</antThinking>Here.\n<antArtifact identifier="x" type="application/vnd.ant.react" title="T">\n'
        "<App/>\n</antArtifact>\nEnjoy."
    )
    take(claude([{"type": "text", "text": "An app"}], [{"type": "text", "text": text}]))
    assert stored(memory).said[1][2] == "Here.\n```jsx\n<App/>\n```\nEnjoy."


def test_a_block_that_was_not_shown_is_no_reply(take: Take) -> None:
    values = claude([{"type": "text", "text": "Hi"}], [])
    values[0]["chat_messages"][1]["text"] = "```\nThis block is not supported on your current device yet.\n```"
    assert take(values).messages == 1


@pytest.mark.parametrize("count", [3, 30_000])
def test_blocks_are_found_in_one_pass(count: int) -> None:
    assert replaced("<a>x</a>y" * count, "<a>", "</a>", str.upper) == "Xy" * count
    assert replaced("<a>" * count, "<a>", "</a>", str.upper) == "<a>" * count


def test_documents_keep_their_fence() -> None:
    assert str(Document("a ``` b", "md")) == "````md\na ``` b\n````"
    assert artifact({"command": "update", "old_str": "a", "new_str": "b"}, None) is None
    assert canvas({"updates": [{"pattern": 1}]}, Document("a")) is None
    assert canvas({"content": "x", "type": "code/cpp"}, None) == Document("x", "cpp")
