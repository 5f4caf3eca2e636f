"""Who uses the engine process, and when it may end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from assistant.errors import RequestRefused

START_GRACE_S = 30.0
"""How long a new engine waits for its first lease: whoever started it may be slow."""

LEAST_GRACE_S = 1.0
"""How long it waits after the last one, even with no keep-alive: commands come in rows."""


class Leases:
    """The open leases. The engine ends when there are none, nothing runs, and the keep-alive time is over."""

    def __init__(
        self, keep_alive_s: float, *, start_grace_s: float = START_GRACE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.count = 0
        self.ended = False
        """Set once, when the engine is to end: from then on nobody may rely on it."""
        self._clock = clock
        self._keep_alive_s = max(keep_alive_s, LEAST_GRACE_S)
        self._grace_s = start_grace_s
        self._used_s = clock()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """One lease, for as long as the block lasts."""
        self.count += 1
        self._grace_s = self._keep_alive_s
        try:
            yield
        finally:
            self.count -= 1
            self._used_s = self._clock()

    def over(self, *, busy: bool) -> bool:
        """Whether the engine is to end now. To be asked several times a second."""
        if self.count or busy:
            self._used_s = self._clock()
        elif self._clock() - self._used_s > self._grace_s:
            self.ended = True
        return self.ended

    def end(self, *, busy: bool) -> None:
        """End the engine before its time. Raises `RequestRefused` where it is in use."""
        if self.count or busy:
            raise RequestRefused(f"The engine is in use by {self.count} clients.", code="engine_in_use", status=409)
        self.ended = True
