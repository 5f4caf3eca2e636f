"""One training in several processes, as `accelerate launch` or `torchrun` start them: who writes, and what all know."""

from collections.abc import Callable
from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

T = TypeVar("T")


def is_main(cpu: bool) -> bool:
    """Whether this is the process that writes; alone it always is."""
    return bool(PartialState(cpu=cpu).is_main_process)


def from_main(make: Callable[[], T]) -> T:
    """What `make` gives in the main process, told to all."""
    state = PartialState()
    told = [make() if state.is_main_process else None]
    if state.num_processes > 1:
        broadcast_object_list(told)
    value: T = told[0]  # type: ignore[assignment]
    return value
