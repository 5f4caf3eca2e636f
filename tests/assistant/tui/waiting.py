"""Waiting for a screen to get where it is going."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from textual.pilot import Pilot


async def wait_until(pilot: Pilot[Any], predicate: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Let the app run until `predicate` holds; fail after `timeout_s`."""
    deadline_s = monotonic() + timeout_s
    while not predicate():
        if monotonic() > deadline_s:
            raise AssertionError(f"{predicate} did not come true within {timeout_s:g} s")
        await pilot.pause(0.01)
