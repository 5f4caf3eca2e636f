"""DeepSeek's export: a tree like ChatGPT's, each message in fragments of a request, thoughts and a response."""

from collections import Counter
from typing import Any

from assistant.store.files.imports.file_format import Format, Object, Origin
from assistant.store.files.transcript import Transcript
from assistant.store.files.values.fields import Fields, checked, count, given, object_of
from assistant.store.files.values.message import LAYOUT, with_turns

_FRAGMENTS = {"REQUEST": "content", "RESPONSE": "content", "THINK": "reasoning_content"}


def is_deepseek(value: Object) -> bool:
    """Whether a value with a `mapping` is DeepSeek's."""
    nodes = value.get("mapping")
    if not isinstance(nodes, dict):
        return False
    messages = (node.get("message") for node in nodes.values() if isinstance(node, dict))
    first = next((message for message in messages if isinstance(message, dict)), None)
    return first is not None and "fragments" in first


def _read(value: Object, origin: Origin) -> Transcript:
    fields = Fields(value)
    left: Counter[str] = Counter()
    messages = [
        _message(key, checked(node, f"mapping {key[:40]}", dict), left) for key, node in value["mapping"].items()
    ]
    fields.skip("mapping")
    title = fields.text("title")
    made = Transcript(
        title or origin.place,
        (),
        title,
        not title,
        created_ms=fields.time("inserted_at"),
        updated_ms=fields.time("updated_at"),
        source="deepseek",
        source_id=fields.identity("id"),
        left=left,
    )
    fields.count_unread(left)
    return with_turns(made, messages, LAYOUT | {"children"})


def _message(key: str, node: Object, left: Counter[str]) -> dict[str, Any]:
    """A node as a message. A node without one is a placeholder above its answers."""
    message = Fields(object_of(node, "message"))
    made: dict[str, Any] = {"id": key, "parentId": given(node, "parent", ""), "role": "placeholder"}
    for fragment in message.first(list, "fragments") or []:
        inner = Fields(checked(fragment, "a fragment", dict), "fragments.")
        kind = inner.text("type")
        text = inner.text("content")
        if kind not in _FRAGMENTS:
            count(left, f"'{kind[:30]}' fragments")
            continue
        made["role"] = "user" if kind == "REQUEST" else "assistant"
        name = _FRAGMENTS[kind]
        made[name] = "\n\n".join(filter(None, (made.get(name), text)))
        inner.count_unread(left)
    made |= {"created_at": message.take("inserted_at"), "model": message.text("model"), "files": message.take("files")}
    message.count_unread(left)
    return made


CONVERSATION = Format("deepseek", "DeepSeek", is_deepseek, _read, grows=True)
