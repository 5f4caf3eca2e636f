"""The loss mask: conversation -> rows of token ids, with a mask of the tokens that are learned.

Rows have the format that the engine chats in. A reply is learned from where the engine would begin to generate it up to
and including the token that ends its turn.
A conversation longer than `Tokenizer.limit` is cut into windows between turns: each reply is learned exactly once, with
at least `Tokenizer.context` tokens before it where the conversation has them, and the system message is in every
window. So the windows together have at most about 1.5 times the tokens of the conversation, at any length. A single
exchange longer than a window is cut inside its text.

Replies that a chat template shortens later, such as by removing old reasoning, get a row of their own. Rows of one
window have a common prefix, which `pack` computes once.
"""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, takewhile
from types import MappingProxyType

import numpy as np

from assistant.engine.generate.chat_format import ChatFormat, TurnLengths
from assistant.errors import TrainingRefused
from finetune.data.example import Example, without_reasoning
from prompts.message import Message


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A sequence of T tokens with its loss mask."""

    ids: np.ndarray
    """(T,) int32."""
    learned: np.ndarray
    """(T,) bool: the loss mask. Token i counts in the loss, predicted from the tokens before it."""
    tags: np.ndarray | None = None
    """(T,) int32: the class of each token, in a row for entities. A class is predicted from the token itself."""
    soft: "SoftTargets | None" = None
    """Targets to learn in place of the tokens themselves."""

    @property
    def supervised(self) -> int:
        """Number of tokens that count in the loss."""
        return int(np.count_nonzero(self.learned))

    @classmethod
    def of(cls, ids: Sequence[int], spans: Iterable[tuple[int, int]]) -> "Row":
        """A row that learns the tokens of the (begin, end) `spans`."""
        learned = np.zeros(len(ids), np.bool_)
        for begin, end in spans:
            learned[begin:end] = True
        return cls(np.array(ids, np.int32), learned)


@dataclass(frozen=True, slots=True, eq=False)
class SoftTargets:
    """Distributions over the vocabulary for the n learned tokens of a row, of K tokens each."""

    ids: np.ndarray
    """(n, K) int32."""
    weights: np.ndarray
    """(n, K) float32, with rows that add up to 1."""


@dataclass(slots=True)
class Cuts:
    """Counts of texts that didn't fit in one row."""

    windows: int = 0
    """Conversations that were cut into several rows."""
    shortened: int = 0
    """Replies with part of their question, or in several pieces, as both together are longer than a row."""
    too_long: int = 0
    """Examples left out, as their reply must be in one row and is longer."""

    def __add__(self, other: "Cuts") -> "Cuts":
        return Cuts(self.windows + other.windows, self.shortened + other.shortened, self.too_long + other.too_long)


@dataclass(slots=True)
class Tokenizer:
    """Makes rows of at most `limit` tokens."""

    format: ChatFormat
    limit: int
    end: int
    """Token that ends a turn; learned with each reply."""
    questions: bool = False
    """Whether `rows` learns the user's turn before each reply too."""
    cuts: Cuts = field(default_factory=Cuts)

    @classmethod
    def of(cls, format_: ChatFormat, limit: int, end_of_text: int | None) -> "Tokenizer":
        """`end_of_text` ends a reply if the chat template writes no control token after it. Raises `TrainingRefused`
        if there is neither.
        """
        end = next(iter(format_.end_ids), end_of_text)
        if end is None:
            raise TrainingRefused(
                "The model's chat template writes no token at the end of a reply, and its tokenizer has no "
                "end-of-text token: a model trained so would never stop. Choose another model."
            )
        return cls(format_, limit, end)

    @property
    def context(self) -> int:
        """Tokens before each reply of a window, where the conversation has them."""
        return self.limit // 3

    def rows(self, example: Example) -> list[Row]:
        """Rows of a supervised example, one or more for each window."""
        places = sorted(example.trained)
        if not places:
            return []
        messages = example.messages[: places[-1] + 1]
        turns = self._turns(messages, places)
        pending, rows = places, list[Row]()
        while pending:
            start, last = turns.window(pending, self.context, self.limit)
            if last < pending[0]:
                self.cuts.shortened += 1
                rows += self._pieces(turns, start, pending[0])
                pending = pending[1:]
                continue
            inside = pending[: bisect_right(pending, last)]
            made = self._of_window(turns.part(start, last + 1), [turns.moved(place, start) for place in inside])
            if max(len(row.ids) for row in made) > self.limit:  # turn lengths are estimates
                turns = turns.longer()
                continue
            rows += made
            pending = pending[len(inside) :]
        self.cuts.windows += len(rows) > 1
        return rows

    def _turns(self, messages: Sequence[Message], places: Iterable[int]) -> "Turns":
        """Turn lengths without reasoning, and the reasoning's tokens of the replies at `places`."""
        read = without_reasoning(messages)
        thoughts = {
            place: len(self.format.encode_following(messages[place].content))
            - len(self.format.encode_following(read[place].content))
            for place in places
            if read[place] != messages[place]
        }
        return Turns(messages, self.format.turn_lengths(read), thoughts)

    def pair(self, example: Example) -> list[Row]:
        """Rows of the chosen and the rejected reply to the same prompt; none if either doesn't fit."""
        *prompt, chosen = example.messages
        return self.alternatives(prompt, (chosen.content, example.rejected))

    def alternatives(self, prompt: Sequence[Message], replies: Iterable[str], *, end: bool = True) -> list[Row]:
        """A row for each reply to the prompt, whose oldest turns are dropped if they don't fit."""
        before = self.format.encode(prompt)
        ends = [self._reply(before, reply) if end else self.format.encode_following(reply) for reply in replies]
        room = self.limit - max(map(len, ends), default=0)
        if room <= 0:
            self.cuts.too_long += 1
            return []
        if len(before) > room:
            self.cuts.shortened += 1
            before = self._last(prompt, room)
        return [Row.of([*before, *one], [(len(before), len(before) + len(one))]) for one in ends]

    def _reply(self, prompt: Sequence[int], text: str) -> list[int]:
        return [*self.format.encode_reply(prompt, text), self.end]

    def _last(self, prompt: Sequence[Message], room: int) -> list[int]:
        """Token ids of the prompt's last turns that fit into `room`; of a longer last turn only its end."""
        turns = Turns(prompt, self.format.turn_lengths(prompt))
        for start in turns.starts:
            if turns.tokens(start, len(turns.messages)) <= room:
                ids = self.format.encode(turns.part(start, len(turns.messages)))
                if len(ids) <= room:
                    return ids
        ids = self.format.encode(turns.part(turns.starts[-1], len(turns.messages)))
        head = ids[: turns.head] if turns.head < room else []
        return [*head, *ids[len(ids) - room + len(head) :]]

    def _of_window(self, messages: Sequence[Message], places: Sequence[int]) -> list[Row]:
        """Rows that learn the replies at `places`, each after all messages before it."""
        seen = without_reasoning(messages)
        rows: list[Row] = []
        pending = list(places)
        while pending:
            last = pending.pop()
            as_said = [place for place in pending if seen[place].content == messages[place].content]
            asked = self._asked([*as_said, last], messages)
            made = self.format.transcript(seen[:last], as_said, messages[last].content, self.end, asked)
            questions = [span for place, span in made.questions.items() if place + 1 in made.replies]
            rows.append(Row.of(made.ids, [*made.replies.values(), *questions]))
            pending = [place for place in pending if place not in made.replies]
        return rows[::-1]

    def _asked(self, replies: Sequence[int], messages: Sequence[Message]) -> list[int]:
        """Indices of the user's turns that are learned with these replies."""
        return [place - 1 for place in replies if self.questions and place and messages[place - 1].role == "user"]

    def _pieces(self, turns: "Turns", start: int, place: int) -> Iterator[Row]:
        """A reply too long for a row with its question: rows of pieces, each after some of the text before it."""
        prompt = self.format.encode(without_reasoning(turns.part(start, place)))
        ids = [*prompt, *self._reply(prompt, turns.messages[place].content)]
        head = ids[: turns.head] if turns.head < self.context else []
        body, at, room = ids[len(head) :], len(prompt) - len(head), self.limit - len(head)
        while at < len(body):
            stop = min(max(0, at - self.context) + room, len(body))
            begin = max(0, stop - room)
            piece = [*head, *body[begin:stop]]
            yield Row.of(piece, [(len(head) + at - begin, len(piece))])
            at = stop


class Turns:
    """A conversation with the number of tokens of each message. The system message is part of every window.

    `thoughts`: tokens of a reply's reasoning, which only the row ending with that reply contains.
    """

    def __init__(
        self,
        messages: Sequence[Message],
        lengths: TurnLengths,
        thoughts: Mapping[int, int] = MappingProxyType({}),
        margin: float = 0.0,
    ) -> None:
        system = 1 if messages and messages[0].role == "system" else 0
        self.system, self.messages, self._lengths, self._margin = list(messages[:system]), messages, lengths, margin
        self.head, self._thoughts = lengths.head, thoughts
        scaled = [int(length * (1 + margin)) for length in lengths.turns]
        skipped = [0] * (len(messages) - len(scaled))  # system messages
        self._before = list(accumulate([*skipped, *scaled], initial=0))
        """Tokens before each message, without the head."""
        asked = [place for place in range(system, len(messages)) if messages[place].role == "user"]
        self.starts = asked or [system]
        """Indices where a window may begin."""

    def longer(self) -> "Turns":
        """The turns with estimates that are a tenth of the original length higher."""
        return Turns(self.messages, self._lengths, self._thoughts, self._margin + 0.1)

    def tokens(self, start: int, end: int) -> int:
        """Tokens of messages `start` to `end`, with the system message."""
        return self.head + self._before[end] - self._before[start]

    def row(self, start: int, place: int) -> int:
        """Tokens of a row from message `start` that ends with the reply at `place`."""
        return self.tokens(start, place + 1) + self._thoughts.get(place, 0)

    def part(self, start: int, end: int) -> list[Message]:
        """Messages `start` to `end`, after the system message."""
        return [*self.system, *self.messages[max(start, len(self.system)) : end]]

    def moved(self, place: int, start: int) -> int:
        """Index of message `place` in a window that begins at `start`."""
        return place - max(start, len(self.system)) + len(self.system)

    def window(self, pending: Sequence[int], context: int, limit: int) -> tuple[int, int]:
        """(first message, last reply) of the next window. The last reply is before `pending[0]` if that reply doesn't
        fit with its question.
        """
        first = pending[0]
        if self.tokens(0, pending[-1] + 1) <= limit and all(self.row(0, place) <= limit for place in pending):
            return 0, pending[-1]
        before = self.starts[: bisect_left(self.starts, first)] or self.starts[:1]
        far = range(len(before) - 1, -1, -1)
        at = next((one for one in far if self.tokens(before[one], first) >= context), 0)
        start = next((one for one in before[at:] if self.row(one, first) <= limit), None)
        if start is None:
            return before[-1], first - 1
        *_, last = takewhile(lambda place: self.row(start, place) <= limit, pending)
        return start, last


def sampled(items: Sequence[Sequence[Row]], most_tokens: int, seed: int) -> list[int]:
    """Indices of a random sample of items with at most `most_tokens` tokens, at least one; 0: all. Sorted."""
    places = list(range(len(items)))
    if not most_tokens:
        return places
    random.Random(seed).shuffle(places)
    spent = accumulate(tokens_of([items[place]]) for place in places)
    within = [place for place, tokens in zip(places, spent, strict=True) if tokens <= most_tokens]
    return sorted(within or places[:1])


def tokens_of(items: Sequence[Sequence[Row]]) -> int:
    """Total tokens of all rows."""
    return sum(len(row.ids) for rows in items for row in rows)
