"""Documents that a reply made beside its text: ChatGPT's canvas and Claude's artifacts, as part of the reply.

After a change the whole document is written again. Changes that can't be applied are counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

_LANGUAGES = {
    "application/vnd.ant.react": "jsx",
    "application/vnd.ant.mermaid": "mermaid",
    "application/vnd.ant.code": "",
    "image/svg+xml": "svg",
    "text/html": "html",
}


@dataclass(frozen=True, slots=True)
class Document:
    """The current text of a document. `language` None: prose, without a fence."""

    text: str
    language: str | None = None

    def __str__(self) -> str:
        if self.language is None:
            return self.text
        fence = "```" if "```" not in self.text else "````"
        return f"{fence}{self.language}\n{self.text.strip(chr(10))}\n{fence}"


def artifact(call: Mapping[str, Any], before: Document | None) -> Document | None:
    """The document after a call of Claude's `artifacts`; None where the call can't be followed."""
    command, text = call.get("command", "create"), call.get("content")
    if command in ("create", "rewrite") and isinstance(text, str):
        kind = call.get("type")
        if isinstance(kind, str):
            language = call.get("language")
            named = language if isinstance(language, str) else _LANGUAGES.get(kind)
            return Document(text, named if kind in _LANGUAGES else None)
        return Document(text) if before is None else replace(before, text=text)
    old, new = call.get("old_str"), call.get("new_str")
    if (
        command == "update"
        and before is not None
        and isinstance(old, str)
        and isinstance(new, str)
        and old in before.text
    ):
        return replace(before, text=before.text.replace(old, new, 1))
    return None


def created_file(call: Mapping[str, Any], before: Document | None) -> Document | None:
    """The document after a call of Claude's `create_file` or `str_replace`, of a file that is handed to the person."""
    text, old, new = (call.get(name) for name in ("file_text", "old_str", "new_str"))
    if isinstance(text, str):
        ending = PurePosixPath(str(call.get("path"))).suffix.lstrip(".")
        return Document(text, None if ending in ("", "md", "txt") else ending)
    return artifact({"command": "update", "old_str": old, "new_str": new}, before)


def canvas(call: Mapping[str, Any], before: Document | None) -> Document | None:
    """The document after a call of ChatGPT's `canmore`; None where the call can't be followed.

    A change names a regular expression. Only `.*` and plain text are followed: one of a file could run for ever.
    """
    text, updates = call.get("content"), call.get("updates")
    if isinstance(text, str):
        kind = call.get("type")
        is_code = isinstance(kind, str) and kind.startswith("code/")
        return Document(text, str(kind).removeprefix("code/") if is_code else None)
    if not isinstance(updates, list) or before is None:
        return None
    for update in updates:
        pattern, replacement = (
            (update.get(name) for name in ("pattern", "replacement")) if isinstance(update, dict) else (0, 0)
        )
        if not isinstance(pattern, str) or not isinstance(replacement, str):
            return None
        if pattern in (".*", "(?s).*", "[\\s\\S]*"):
            before = replace(before, text=replacement)
        elif pattern and pattern in before.text:
            before = replace(
                before, text=before.text.replace(pattern, replacement, -1 if update.get("multiple") is True else 1)
            )
        else:
            return None
    return before
