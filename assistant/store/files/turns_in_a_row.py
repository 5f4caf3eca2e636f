"""Messages in a row, each answering the one before."""

from collections.abc import Iterable

from assistant.store.files.transcript import Turn


def in_a_row(said: Iterable[tuple[str, str]]) -> list[Turn]:
    """The turns of (role, content), each the child of the one before."""
    turns: list[Turn] = []
    for number, (role, content) in enumerate(said):
        turns.append(Turn(str(number), str(number - 1) if number else None, role, content))
    return turns
