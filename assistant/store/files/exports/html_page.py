"""One page for a browser: the open path of each conversation. It runs nothing and loads nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape

from assistant.safe_text import printable
from assistant.store.files.exports.stored import Stored

_NAMES = {"user": "You", "assistant": "Assistant"}


def head() -> str:
    """How the page begins."""
    return """<!doctype html>
<html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Conversations</title><style>
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
article { border-bottom: 1px solid #8888; margin-bottom: 2rem }
h3 { font-size: .85rem; margin: 1.5rem 0 0; opacity: .7 }
section.user div { border-left: 3px solid #38c; padding-left: .8rem }
div { white-space: pre-wrap; overflow-wrap: anywhere }
</style></head><body>
"""


def write(conversation: Stored) -> Iterator[str]:
    """One conversation."""
    title = escape(printable(conversation.fields["title"], newlines=False) or "Conversation")
    yield f"<article>\n<h2>{title}</h2>\n"
    for row in conversation.path:
        time = datetime.fromtimestamp(row.created_ms / 1000, UTC).astimezone()
        yield (
            f'<section class="{row.role}"><h3>{_NAMES[row.role]} · '
            f'<time datetime="{time.isoformat(timespec="seconds")}">{time:%Y-%m-%d %H:%M}</time></h3>\n'
            f"<div>{escape(printable(row.content), quote=False)}</div></section>\n"
        )
    yield "</article>\n"


def tail() -> str:
    """How the page ends."""
    return "</body></html>\n"
