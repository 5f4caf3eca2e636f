"""What our triggers call: functions in Python that every connection to the log is given before anything is written.

A program that writes into the log without them gets an error instead of an index that has lost the text.
"""

import sqlite3

from assistant.store.packing import unpack
from assistant.store.words import words


def register(connection: sqlite3.Connection) -> None:
    """Make `words(text)` and `surprise(logprobs)` known to `connection`."""
    connection.create_function("words", 1, _words, deterministic=True)
    connection.create_function("surprise", 1, surprise, deterministic=True)


def _words(text: str | None) -> str:
    return words(text or "")


def surprise(logprobs: bytes | None) -> float | None:
    """Mean negative log-probability of packed numbers, in nats a token; None where there are none."""
    numbers = unpack("f", logprobs or b"")
    if not numbers:
        return None
    mean = -sum(numbers) / len(numbers)
    return max(mean, 0.0) if abs(mean) < 1e30 else None  # a log-probability of minus infinity has no mean
