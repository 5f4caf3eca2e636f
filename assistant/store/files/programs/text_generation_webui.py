"""text-generation-webui's histories: pairs of a message and its reply, and versions of each in the metadata.

`internal` is what the model read and wrote; `visible` is the same made ready for the page, and isn't read.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from assistant.store.files.imports.file_format import Format, Object, Origin
from assistant.store.files.transcript import Transcript, WrongShape
from assistant.store.files.values.fields import Fields, checked
from assistant.store.files.values.message import with_turns

_GREETING = "<|BEGIN-VISIBLE-CHAT|>"
"""In place of a message of the user, where the character speaks first."""
_TIME = "%b %d, %Y %H:%M"


def _matches(value: Object) -> bool:
    pairs = value.get("internal", value.get("data"))
    return isinstance(pairs, list) and ("visible" in value or "data_visible" in value)


def _read(value: Object, origin: Origin) -> Transcript:
    fields = Fields(value)
    left: Counter[str] = Counter()
    pairs = fields.take("internal" if "internal" in value else "data")
    metadata = fields.inner("metadata")
    messages: list[dict[str, Any]] = []
    leaf = ""
    for row, pair in enumerate(pairs):
        if len(checked(pair, "internal", list)) != 2:
            raise WrongShape(f"a pair of 'internal' has {len(pair)} parts")
        for side, text in zip(("user", "assistant"), pair, strict=True):
            if text and text != _GREETING:
                versions = list(_versions(side, text, metadata.inner(f"{side}_{row}"), left))
                messages += [{**one, "id": f"{side} {row}.{at}", "parentId": leaf} for at, one in enumerate(versions)]
                leaf = f"{side} {row}.{next(at for at, one in enumerate(versions) if one['content'] == text)}"
            else:
                metadata.skip(f"{side}_{row}")
    metadata.count_unread(left)
    fields.skip("visible", "data_visible")
    fields.count_unread(left)
    return with_turns(Transcript(origin.place, (), source="text-generation-webui", leaf=leaf, left=left), messages)


def _versions(side: str, text: object, metadata: Fields, left: Counter[str]) -> Iterator[dict[str, Any]]:
    """The other versions of the message and then the selected version, each as a message."""
    now = {"role": side, "content": text, "created_at": _time(metadata), "model": metadata.text("model_name")}
    if attachments := metadata.first(list, "attachments"):
        now["attachments"] = attachments
    metadata.skip("current_version_index")
    for version in metadata.first(list, "versions") or []:
        inner = Fields(checked(version, "a version", dict), "versions.")
        content = inner.text("content")
        if content and content != text:
            yield {**now, "content": content, "created_at": _time(inner)}
        inner.count_unread(left, ("visible_content", "timestamp"))
    yield now
    metadata.count_unread(left, ("timestamp",))


def _time(metadata: Fields) -> str | None:
    text = metadata.text("timestamp")
    try:
        return datetime.strptime(text, _TIME).astimezone().isoformat()
    except (ValueError, OverflowError):
        return text or None


CONVERSATION = Format("text-generation-webui", "text-generation-webui", _matches, _read)
