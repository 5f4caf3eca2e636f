"""LM Studio's `*.conversation.json`: each message has versions, of which one is open; each is a branch.

The reply of a version may come in steps: blocks of text, of thinking, and tool calls, which are left out and counted.
"""

from collections import Counter
from typing import Any

from assistant.store.files.imports.file_format import Format, Object, Origin
from assistant.store.files.transcript import Transcript
from assistant.store.files.values.content import words
from assistant.store.files.values.fields import Fields, checked, count, given, object_of
from assistant.store.files.values.message import with_turns

_SYSTEM = "llm.prediction.systemPrompt"
_WITH_TEXT = ("contentBlock", "singleStep")
_STOPPED = {"userStopped": "stopped", "maxPredictedTokensReached": "length", "contextLengthReached": "length"}
_LAYOUT = (
    *("tokenCount", "preset", "usePerChatPredictionConfig", "perChatPredictionConfig", "lastUsedModel", "plugins"),
    *("disabledPluginTools", "pluginConfigs", "userFilesSizeBytes", "userLastMessagedAt", "assistantLastMessagedAt"),
)


def _matches(value: Object) -> bool:
    messages = value.get("messages")
    return isinstance(messages, list) and bool(messages) and isinstance(messages[0], dict) and "versions" in messages[0]


def _read(value: Object, origin: Origin) -> Transcript:
    fields = Fields(value)
    left: Counter[str] = Counter()
    messages: list[dict[str, Any]] = []
    leaf = ""
    for number, message in enumerate(fields.needed("messages", list)):
        versions, selected = _versions(checked(message, "a message", dict), left)
        messages += [{"id": f"{number}.{at}", "parentId": leaf, **one} for at, one in enumerate(versions)]
        leaf = f"{number}.{selected}"
    title = fields.text("name")
    made = Transcript(
        title or origin.place,
        (),
        title,
        not title,
        created_ms=fields.time("createdAt"),
        pinned=fields.take("pinned") is True,
        model=fields.inner("lastUsedModel").text("identifier"),
        draft=fields.text("clientInput"),
        system=fields.text("systemPrompt") or _system(value),
        source="lm-studio",
        leaf=leaf,
        left=left,
    )
    fields.count_unread(left, _LAYOUT)
    return with_turns(made, messages)


def _system(value: Object) -> str:
    config = value.get("perChatPredictionConfig")
    fields = config.get("fields") if isinstance(config, dict) else None
    for one in fields if isinstance(fields, list) else []:
        if isinstance(one, dict) and one.get("key") == _SYSTEM and isinstance(one.get("value"), str):
            return str(one["value"])
    return ""


def _versions(message: Object, left: Counter[str]) -> tuple[list[dict[str, Any]], int]:
    """(the versions of a message as messages of their own, the place of the open one)."""
    fields = Fields(message)
    versions = [_version(Fields(checked(one, "a version", dict)), left) for one in fields.needed("versions", list)]
    selected = fields.first(int, "currentlySelected") or 0
    fields.skip("currentlySelected")
    fields.count_unread(left)
    return versions, min(max(selected, 0), len(versions) - 1)


def _version(fields: Fields, left: Counter[str]) -> dict[str, Any]:
    said: list[str] = []
    thought: list[str] = []
    stopped = ""
    steps = fields.first(list, "steps")
    for step in [fields.value] if steps is None else steps:
        kind = given(checked(step, "a step", dict), "type", "contentBlock")
        if kind not in _WITH_TEXT:
            count(left, "tool results" if "tool" in kind else f"'{kind[:30]}' steps")
            continue
        text, reasoning = words(step.get("content"), left)
        (thought if object_of(step, "style").get("type") == "thinking" else said).append(text)
        thought.append(reasoning)
        stats = object_of(object_of(step, "genInfo"), "stats")
        stopped = _STOPPED.get(str(stats.get("stopReason")), "")
    fields.skip("type", "content", "preprocessed", "style", "genInfo")
    message = {
        "role": fields.needed("role", str),
        "content": "\n\n".join(filter(None, said)),
        "reasoning_content": "\n\n".join(filter(None, thought)),
        "model": fields.inner("senderInfo").text("senderName"),
        "finish_reason": stopped,
    }
    fields.count_unread(left)
    return message


CONVERSATION = Format("lm-studio", "LM Studio", _matches, _read)
