"""What teaching came to: the replies before and after, as the command and the screen show them. Loads no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply to a question. `right`: it says what the correction says."""

    question: str
    reply: str
    right: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """One correction: the reply before, that to the question as it was asked, and those to other words."""

    id: int
    correction: str
    before: str
    after: Answer
    reworded: tuple[Answer, ...]

    @property
    def reworded_right(self) -> int:
        return sum(one.right for one in self.reworded)


@dataclass(frozen=True, slots=True)
class Change:
    """Another question whose reply is no longer the same."""

    question: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run that taught corrections. `general_text`: how much its perplexity rose, relative."""

    run: str
    model: str
    adapter_hash: str
    start: str
    """Name of the adapter that it goes on from; empty: the base."""
    asked: tuple[Asked, ...]
    earlier: tuple[Answer, ...]
    """Corrections that were taught before, asked again."""
    others: int
    """Other questions that were asked."""
    changed: tuple[Change, ...]
    general_text: float
    steps: int
    seconds: float
    replaces: tuple[int, ...] = ()
    """Ids of corrections of the same questions that were taught before, and count no more."""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Outcome":
        """What `as_json` made."""
        return cls(
            **{
                **fields,
                "asked": tuple(_asked(one) for one in fields["asked"]),
                "earlier": _answers(fields["earlier"]),
                "changed": tuple(Change(**one) for one in fields["changed"]),
                "replaces": tuple(fields["replaces"]),
            }
        )

    @property
    def figures(self) -> dict[str, Any]:
        """The counts, without any text."""
        return {
            "taught": len(self.asked),
            "right": sum(one.after.right for one in self.asked),
            "reworded": sum(len(one.reworded) for one in self.asked),
            "reworded_right": sum(one.reworded_right for one in self.asked),
            "earlier": len(self.earlier),
            "earlier_right": sum(one.right for one in self.earlier),
            "others": self.others,
            "others_same": self.others - len(self.changed),
        }


def _asked(fields: Mapping[str, Any]) -> Asked:
    return Asked(**{**fields, "after": Answer(**fields["after"]), "reworded": _answers(fields["reworded"])})


def _answers(some: Sequence[Mapping[str, Any]]) -> tuple[Answer, ...]:
    return tuple(Answer(**one) for one in some)
