"""Examples -> token ids and which of them are learned, by the very format the engine chats in.

A reply is learned from where the engine would begin to generate it up to and with the token that ends its turn. A
conversation is one row as long as the chat template writes earlier turns as they were generated; a template that
rewrites them, such as one that drops old reasoning, gives a row of its own for each reply.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from assistant.engine.chat_format import ChatFormat
from assistant.errors import TrainingRefused
from finetune.example import Example
from prompts.message import Message


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence. `learned[i]`: whether token i is predicted from those before it and counts in the loss."""

    ids: tuple[int, ...]
    learned: tuple[bool, ...]
    tags: tuple[int, ...] = ()
    """Of a row for entities: the class of each token, which is told of the token itself, not of the one before it."""

    @property
    def supervised(self) -> int:
        """How many tokens count in the loss."""
        return sum(self.learned)


@dataclass(slots=True)
class Cuts:
    """What didn't fit the context."""

    shortened: int = 0
    """Examples that lost their oldest turns."""
    left_out: int = 0
    """Replies that are too long, or whose question is."""


@dataclass(slots=True)
class Tokenizer:
    """Makes rows of at most `limit` tokens. Raises `TrainingRefused` where nothing would end a reply."""

    format: ChatFormat
    limit: int
    end: int
    """The token that ends a turn, learned with each reply."""
    cuts: Cuts = field(default_factory=Cuts)

    @classmethod
    def of(cls, format_: ChatFormat, limit: int, end_of_text: int | None) -> "Tokenizer":
        """`end_of_text` ends a reply where the chat template writes no control token after it."""
        end = next(iter(format_.end_ids), end_of_text)
        if end is None:
            raise TrainingRefused(
                "The model's chat template writes no token at the end of a reply, and its tokenizer names none: a "
                "model trained so would never stop. Choose another model."
            )
        return cls(format_, limit, end)

    def rows(self, example: Example) -> list[Row]:
        """What a supervised example teaches; none where nothing of it fits the context."""
        found: list[Row] = []
        pending = sorted(example.trained)
        while pending:
            row, pending = self._longest(example.messages, pending)
            if row is not None:
                found.append(row)
        return found

    def pair(self, example: Example) -> list[Row]:
        """The chosen and the rejected reply after the same prompt; none where one doesn't fit."""
        *prompt, chosen = example.messages
        return self.alternatives(prompt, (chosen.content, example.rejected))

    def alternatives(self, prompt: Sequence[Message], replies: Iterable[str], *, end: bool = True) -> list[Row]:
        """A row for each of `replies` after the prompt, its oldest turns left out where they must be."""
        replies = list(replies)
        kept = list(prompt)
        while True:
            ids = self.format.encode(kept)
            ends = [self._reply(ids, reply) if end else self.format.encode_following(reply) for reply in replies]
            longest = max(map(len, ends), default=0)
            if len(ids) + longest <= self.limit:
                break
            shorter = _without_oldest(kept)
            if shorter is None:
                self.cuts.left_out += 1
                return []
            kept = shorter
        self.cuts.shortened += len(kept) < len(prompt)
        return [Row((*ids, *one), (False,) * len(ids) + (True,) * len(one)) for one in ends]

    def _reply(self, prompt: Sequence[int], text: str) -> list[int]:
        return [*self.format.encode_reply(prompt, text), self.end]

    def _longest(self, messages: Sequence[Message], places: list[int]) -> tuple[Row | None, list[int]]:
        """The row that holds the last of the replies at `places`, and those that it could not hold as well."""
        last = places[-1]
        rows = self.alternatives(messages[:last], (messages[last].content,))
        if not rows:
            return None, places[:-1]
        (row,) = rows
        spans, other = [], []
        for place in places[:-1]:
            span = self._span(messages, place, row.ids)
            if span is None:
                other.append(place)
            else:
                spans.append(span)
        learned = list(row.learned)
        for begin, length in spans:
            learned[begin : begin + length] = [True] * length
        return Row(row.ids, tuple(learned)), other

    def _span(self, messages: Sequence[Message], place: int, ids: tuple[int, ...]) -> tuple[int, int] | None:
        """Where in a row the reply at `place` stands just as it would be generated; None where it doesn't."""
        prompt = self.format.encode(messages[:place])
        reply = self._reply(prompt, messages[place].content)
        whole = (*prompt, *reply)
        return (len(prompt), len(reply)) if ids[: len(whole)] == whole else None


def _without_oldest(messages: Sequence[Message]) -> list[Message] | None:
    """Without the oldest turn and its reply, the system message kept; None where only the last turn is left."""
    system = [one for one in messages[:1] if one.role == "system"]
    said = list(messages[len(system) :])
    turns = [place for place, one in enumerate(said) if one.role == "user"]
    return [*system, *said[turns[1] :]] if len(turns) > 1 else None
