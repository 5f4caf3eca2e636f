"""Training in several processes, started by `accelerate launch` or `torchrun`: the main process and broadcasts."""

from collections.abc import Callable
from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

T = TypeVar("T")


def is_main(cpu: bool) -> bool:
    """Whether this is the main process, which writes; true for a single process."""
    return bool(PartialState(cpu=cpu).is_main_process)


def from_main(make: Callable[[], T]) -> T:
    """The value of `make` in the main process, broadcast to all."""
    state = PartialState()
    told = [make() if state.is_main_process else None]
    if state.num_processes > 1:
        broadcast_object_list(told)
    value: T = told[0]  # type: ignore[assignment]
    return value
