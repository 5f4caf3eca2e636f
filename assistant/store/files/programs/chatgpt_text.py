"""ChatGPT's own marks in a text: citations and entities between U+E200 and U+E201, and older ones in 【 】.

A citation becomes a link where the export has its page, an entity its name; any other mark is left out and counted.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from assistant.store.files.values.fields import count

_MARK = re.compile(" ?\ue200([^\ue200\ue201]*)\ue201| ?【\\d+(?::\\d+)?†[^【】]*】")
_LOOSE = re.compile("[\ue200-\ue2ff]")
_SEPARATOR = "\ue202"
_NAMED = ("url", "link", "navlist", "video", "entity", "product", "product_entity", "business", "finance", "sports")
"""Marks whose first part is a text for people."""

Links = dict[str, str]
"""A mark, or `turn0search3` in it -> its link."""


def without_marks(text: str, metadata: Mapping[str, Any], found: Links, left: Counter[str]) -> str:
    """The text with its marks resolved. `found`: links from other messages of the conversation."""
    if "\ue200" not in text and "【" not in text:
        return text if text.isascii() else _LOOSE.sub("", text)
    links = dict(_references(text, metadata))

    def resolved(match: re.Match[str]) -> str:
        mark = match.group().removeprefix(" ")
        replacement = links[mark] if mark in links else _resolved(match[1] or "", found)
        if replacement:
            return match.group()[: -len(mark)] + replacement
        count(left, "citation marks")
        return ""

    return _LOOSE.sub("", _MARK.sub(resolved, text))


def links_of(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The links of search results that a message holds, by the name that citations use."""
    for group in _objects(metadata.get("search_result_groups")):
        for entry in _objects(group.get("entries")):
            name = entry.get("ref_id")
            if isinstance(name, dict):
                key = f"turn{name.get('turn_index')}{name.get('ref_type')}{name.get('ref_index')}"
                yield key, _link(entry)


def _references(text: str, metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(mark, its text or link), from the message's own metadata."""
    for one in _objects(metadata.get("citations")):
        start, end = one.get("start_ix"), one.get("end_ix")
        page = one.get("metadata")
        if isinstance(start, int) and isinstance(end, int) and isinstance(page, dict):
            yield text[start:end], _link(page)
    for one in _objects(metadata.get("content_references")):
        mark, alternative = one.get("matched_text"), one.get("alt")
        if isinstance(mark, str):
            pages = [_link(page) for page in _objects(one.get("items"))] or [_link(one)]
            link = alternative if isinstance(alternative, str) and alternative else ", ".join(filter(None, pages))
            if link or not mark.startswith("\ue200entity"):
                yield mark.strip(), link


def _resolved(mark: str, found: Links) -> str:
    kind, *parts = mark.split(_SEPARATOR)
    if kind in _NAMED and parts:
        return _name(parts[0])
    return ", ".join(dict.fromkeys(filter(None, (found.get(part) for part in parts))))


def _name(part: str) -> str:
    """The name in an entity, `["place","Oslo",0]`; any other text as it is."""
    try:
        value = json.loads(part)
    except (ValueError, RecursionError):
        return part
    if isinstance(value, list):
        return next((one for one in value[1:] if isinstance(one, str)), "")
    return (
        next((one for name, one in value.items() if name in ("name", "title")), "") if isinstance(value, dict) else part
    )


def _link(page: Mapping[str, Any]) -> str:
    title, url = page.get("title"), page.get("url")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        return ""
    return f"[{' '.join(title.split()) if isinstance(title, str) and title.strip() else url}]({url})"


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
