"""Threads of messages as OpenAI's Assistants API has them: its lists, and Jan's thread folders.

The API lists the newest message first. Jan keeps a `messages.jsonl` beside a `thread.json` with the title and model.
"""

from collections import Counter
from collections.abc import Sequence

from assistant.store.files.imports.file_format import Format, MessageFormat, Object, Origin
from assistant.store.files.transcript import Transcript
from assistant.store.files.values.fields import Fields
from assistant.store.files.values.message import is_message, with_turns

_THREAD = ("id", "object", "metadata", "model_provider")


def _is_list(value: Object) -> bool:
    rows = value.get("data")
    return value.get("object") == "list" and isinstance(rows, list) and bool(rows) and is_message(rows[0])


def _read_list(value: Object, origin: Origin) -> Transcript:
    fields = Fields(value)
    rows = fields.needed("data", list)
    times = [row.get("created_at") for row in rows if isinstance(row, dict)]
    known = [time for time in times if isinstance(time, int | float)]
    oldest_first = len(set(known)) > 1 and known == sorted(known)
    left: Counter[str] = Counter()
    fields.count_unread(left, ("object", "first_id", "last_id", "has_more"))
    name = next(
        (row["thread_id"] for row in rows if isinstance(row, dict) and isinstance(row.get("thread_id"), str)), ""
    )
    made = Transcript(name or origin.place, (), source="threads", source_id=name, left=left)
    return with_turns(made, rows if oldest_first else rows[::-1])


def _is_message(value: Object) -> bool:
    return value.get("object") == "thread.message"


def _key(value: Object) -> str:
    return str(value.get("thread_id", ""))


def _read_messages(rows: Sequence[Object], origin: Origin) -> Transcript:
    thread = Fields(origin.source.object_beside("thread.json"))
    left: Counter[str] = Counter()
    assistants = thread.first(list, "assistants") or []
    helper = Fields(assistants[0] if assistants and isinstance(assistants[0], dict) else {})
    model = thread.inner("model").text("id") or helper.inner("model").text("id") or helper.text("model")
    title = thread.text("title")
    made = Transcript(
        title or origin.place,
        (),
        title,
        not title,
        created_ms=thread.time("created", "created_at"),
        updated_ms=thread.time("updated", "updated_at"),
        model=model,
        system=helper.text("instructions"),
        source="threads",
        source_id=_key(rows[0]),
        left=left,
    )
    thread.count_unread(left, _THREAD)
    return with_turns(made, rows)


LIST = Format("threads", "Jan", _is_list, _read_list, grows=True)
MESSAGES = MessageFormat("threads", "Jan", _is_message, _key, _read_messages, grows=True)
