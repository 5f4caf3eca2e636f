"""SillyTavern's chats: JSON Lines of a header and of messages, each with its swipes, of which one is open."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from assistant.store.files.imports.file_format import MessageFormat, Object, Origin
from assistant.store.files.transcript import Transcript
from assistant.store.files.values.fields import Fields, count, time_ms
from assistant.store.files.values.message import LAYOUT, with_turns

_LAYOUT = LAYOUT | {"name", "force_avatar", "original_avatar", "gen_started", "gen_finished", "title", "user_name"}
_DATES = ("%B %d, %Y %I:%M%p", "%Y-%m-%d@%Hh%Mm%Ss", "%Y-%m-%d @%Hh %Mm %Ss")
_THOUSANDTHS = re.compile(r" ?\d+ms$")


def _matches(value: Object) -> bool:
    return ("mes" in value and "is_user" in value) or ("user_name" in value and "character_name" in value)


def _read(rows: Sequence[Object], origin: Origin) -> Transcript:
    left: Counter[str] = Counter()
    messages: list[dict[str, Any]] = []
    leaf, title, created = "", "", None
    for number, row in enumerate(rows):
        fields = Fields(row)
        if "mes" not in row:
            title, created = fields.text("character_name"), _time(fields.take("create_date"))
            fields.count_unread(left, ("user_name", "integrity"))
            continue
        if fields.take("is_system") is True:
            count(left, "hidden messages", 1 if fields.text("mes") else 0)
            continue
        swipes, selected = _swipes(fields, left)
        messages += [{"id": f"{number}.{at}", "parentId": leaf, **swipe} for at, swipe in enumerate(swipes)]
        leaf = f"{number}.{selected}"
    made = Transcript(
        title or origin.place, (), title, not title, created_ms=created, source="sillytavern", leaf=leaf, left=left
    )
    return with_turns(made, messages)


def _swipes(fields: Fields, left: Counter[str]) -> tuple[list[dict[str, Any]], int]:
    """(the message in each of its versions, the place of the open one)."""
    role = "user" if fields.take("is_user") is True else "assistant"
    text = fields.take("mes")
    own = _message(role, fields, left)
    swipes = fields.first(list, "swipes") or [text]
    infos = fields.first(list, "swipe_info") or []
    selected = fields.first(int, "swipe_id") or 0
    if not 0 <= selected < len(swipes) or swipes[selected] != text:  # edited since
        swipes, infos, selected = [*swipes, text], [*infos[: len(swipes)]], len(swipes)
    fields.skip("swipe_id")
    fields.count_unread(left, _LAYOUT)
    versions = []
    for place, swipe in enumerate(swipes):
        info = infos[place] if place < len(infos) and isinstance(infos[place], dict) else {}
        message = own if place == selected else _message(role, Fields(info), left)
        versions.append({**message, "content": swipe})
    return versions, selected


def _message(role: str, fields: Fields, left: Counter[str]) -> dict[str, Any]:
    """What is known of a message or of a swipe beside its text."""
    extra = fields.inner("extra")
    message = {
        "role": role,
        "created_at": _time(fields.take("send_date")),
        "model": extra.text("model"),
        "reasoning_content": extra.text("reasoning"),
    }
    things = (
        "api",
        "gen_id",
        "token_count",
        "reasoning_duration",
        "reasoning_type",
        "isSmallSys",
        "bias",
        "time_to_first_token",
    )
    extra.count_unread(left, things)
    return message


def _time(value: object) -> int | None:
    """The time of a message: a number, ISO 8601, or one of the ways in which the program wrote it over the years."""
    if (found := time_ms(value)) is not None or not isinstance(value, str) or len(value) > 40:
        return found
    text = _THOUSANDTHS.sub("", value.strip())
    for form in _DATES:
        try:
            return time_ms(datetime.strptime(text, form).astimezone().timestamp())
        except (ValueError, OverflowError):
            continue
    return None


CHAT = MessageFormat("sillytavern", "SillyTavern", _matches, lambda _: "", _read)
