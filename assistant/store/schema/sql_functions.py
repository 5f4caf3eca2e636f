"""What the schema's triggers call: Python functions that each connection to the log has before anything is written.

A program that writes into the log without them gets an error instead of an index that has lost the text.
"""

import sqlite3

from assistant.store.schema.token_data import unpack_logprobs
from assistant.store.schema.words import words


def register(connection: sqlite3.Connection) -> None:
    """Make `words(text)` and `surprise(token_data)` known to `connection`."""
    connection.create_function("words", 1, _words, deterministic=True)
    connection.create_function("surprise", 1, surprise, deterministic=True)


def _words(text: str | None) -> str:
    return words(text or "")


def surprise(token_data: bytes | None) -> float | None:
    """Mean negative log-probability of a reply's tokens, in nats a token; None where there are none."""
    logprobs = unpack_logprobs(token_data or b"")
    return -sum(logprobs) / len(logprobs) if logprobs else None
