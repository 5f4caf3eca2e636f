"""The export of llama.cpp's web page: `{"conv": …, "messages": …}`, a tree of messages below an empty root."""

from collections import Counter

from assistant.store.files.imports.file_format import Format, Object, Origin
from assistant.store.files.transcript import Transcript
from assistant.store.files.values.fields import Fields
from assistant.store.files.values.message import LAYOUT, with_turns

_LAYOUT = LAYOUT | {"timings"}


def _matches(value: Object) -> bool:
    return isinstance(value.get("conv"), dict) and isinstance(value.get("messages"), list)


def _read(value: Object, origin: Origin) -> Transcript:
    fields = Fields(value)
    left: Counter[str] = Counter()
    conv = fields.inner("conv")
    messages = fields.needed("messages", list)
    title = conv.text("name")
    made = Transcript(
        title or origin.place,
        (),
        title,
        not title,
        updated_ms=conv.time("lastModified"),
        pinned=conv.take("pinned") is True,
        source="llama.cpp",
        source_id=conv.identity("id"),
        leaf=conv.identity("currNode") or None,
        left=left,
    )
    conv.count_unread(left)
    fields.count_unread(left)
    return with_turns(made, messages, _LAYOUT)


CONVERSATION = Format("llama.cpp", "llama.cpp", _matches, _read, grows=True)
