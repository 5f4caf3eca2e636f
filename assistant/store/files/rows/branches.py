"""Several paths of a conversation merged into a tree by their common beginnings."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from assistant.store.files.transcript import NOT_JUDGED, Turn

Path = Sequence[Turn]
"""Turns, each answering the one before; `Branches` replaces their keys and parents."""


class Branches:
    """The tree as it grows. `turns` are its turns, parents first."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self._places: dict[tuple[str | None, str, str], int] = {}

    def add(self, path: Path) -> list[int]:
        """The places in `turns` of the turns of the path. System messages are no parents."""
        places: list[int] = []
        parent: str | None = None
        for turn in path:
            place = self._places.get((parent, turn.role, turn.content))
            if place is None:
                place = len(self.turns)
                self._places[parent, turn.role, turn.content] = place
                self.turns.append(replace(turn, key=str(place), parent=parent))
            else:
                self.turns[place] = _both(self.turns[place], turn)
            places.append(place)
            if turn.role != "system":
                parent = str(place)
        return places

    def rivals(self, better: Sequence[int], worse: Sequence[int]) -> tuple[str, str] | None:
        """The keys of the replies in which two paths first differ; None where they don't, or ask differently."""
        same = set(better) & set(worse)
        one, other = self._first_said(better, same), self._first_said(worse, same)
        if one is None or other is None or "user" in (one.role, other.role):
            return None
        return one.key, other.key

    def _first_said(self, path: Sequence[int], same: Collection[int]) -> Turn | None:
        turns = (self.turns[place] for place in path if place not in same)
        return next((turn for turn in turns if turn.role in ("user", "assistant")), None)


def _both(old: Turn, new: Turn) -> Turn:
    """One turn that two paths have, with what either says of it."""
    return replace(
        old,
        model=old.model or new.model,
        created_ms=new.created_ms if old.created_ms is None else old.created_ms,
        judgement=new.judgement if old.judgement == NOT_JUDGED else old.judgement,
    )


def question(path: Path) -> Path:
    """The path up to its last question: what an answer of its own answers."""
    end = next((place for place in range(len(path), 0, -1) if path[place - 1].role == "user"), 0)
    return path[:end]
