"""Conversation -> rows of token ids with the loss mask, in the format that the engine chats in.

A reply is learned from where the engine would begin to generate it up to and including the token that ends its turn.
A conversation longer than `Tokenizer.limit` becomes windows that are cut at turn borders: each reply is learned exactly
once, with at least `Tokenizer.context` tokens before it where the conversation has so many, and the system message is
in every window. So the tokens of all windows are at most about 1.5 times those of the conversation, at any length.
A single exchange that is longer than a window is cut inside its text.

Replies that a chat template rewrites later, such as by dropping old reasoning, get a row of their own. Rows of one
window begin alike, and `pack` computes what they share once.
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
    """One sequence of T tokens."""

    ids: np.ndarray
    """(T,) int32."""
    learned: np.ndarray
    """(T,) bool: the loss mask. Token i is predicted from those before it, and counts."""
    tags: np.ndarray | None = None
    """(T,) int32: the class of each token, in a row for entities. It is predicted from the token itself."""
    soft: "SoftTargets | None" = None
    """What is learned in place of the very tokens."""

    @property
    def supervised(self) -> int:
        """How many tokens count in the loss."""
        return int(np.count_nonzero(self.learned))

    @classmethod
    def of(cls, ids: Sequence[int], spans: Iterable[tuple[int, int]]) -> "Row":
        """A row in which the tokens of the (begin, end) `spans` are learned."""
        learned = np.zeros(len(ids), np.bool_)
        for begin, end in spans:
            learned[begin:end] = True
        return cls(np.array(ids, np.int32), learned)


@dataclass(frozen=True, slots=True, eq=False)
class SoftTargets:
    """Distributions over the vocabulary for the n learned tokens of a row, K tokens of each."""

    ids: np.ndarray
    """(n, K) int32."""
    weights: np.ndarray
    """(n, K) float32, adding up to 1."""


@dataclass(slots=True)
class Cuts:
    """What didn't fit in one row."""

    windows: int = 0
    """Conversations that became several rows."""
    shortened: int = 0
    """Replies without all of their question, or in several pieces: together they are longer than a row."""
    too_long: int = 0
    """Examples left out, as their reply, which has to be in one row, is longer than that."""

    def __add__(self, other: "Cuts") -> "Cuts":
        return Cuts(self.windows + other.windows, self.shortened + other.shortened, self.too_long + other.too_long)


@dataclass(slots=True)
class Tokenizer:
    """Makes rows of at most `limit` tokens. Raises `TrainingRefused` where nothing would end a reply."""

    format: ChatFormat
    limit: int
    end: int
    """The token that ends a turn, learned with each reply."""
    questions: bool = False
    """Whether `rows` learns the question of each reply too."""
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

    @property
    def context(self) -> int:
        """Tokens before each reply of a window, where the conversation has so many."""
        return self.limit // 3

    def rows(self, example: Example) -> list[Row]:
        """What a supervised example teaches, window after window."""
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
            if max(len(row.ids) for row in made) > self.limit:  # the lengths of turns were estimates
                turns = turns.longer()
                continue
            rows += made
            pending = pending[len(inside) :]
        self.cuts.windows += len(rows) > 1
        return rows

    def _turns(self, messages: Sequence[Message], places: Iterable[int]) -> "Turns":
        """The turns as later replies read them, and of those at `places` the tokens of the reasoning."""
        read = without_reasoning(messages)
        thoughts = {
            place: len(self.format.encode_following(messages[place].content))
            - len(self.format.encode_following(read[place].content))
            for place in places
            if read[place] != messages[place]
        }
        return Turns(messages, self.format.turn_lengths(read), thoughts)

    def pair(self, example: Example) -> list[Row]:
        """The chosen and the rejected reply after the same prompt; none where one doesn't fit."""
        *prompt, chosen = example.messages
        return self.alternatives(prompt, (chosen.content, example.rejected))

    def alternatives(self, prompt: Sequence[Message], replies: Iterable[str], *, end: bool = True) -> list[Row]:
        """A row for each of `replies` after the prompt, its oldest turns left out where they must be."""
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
        """The ids of a prompt without its oldest turns, and of its last turn the end alone where that is too long."""
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
        """Rows that hold the replies at `places`, all with the whole of what stands before them."""
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
        """The places of the questions that are learned with these replies."""
        return [place - 1 for place in replies if self.questions and place and messages[place - 1].role == "user"]

    def _pieces(self, turns: "Turns", start: int, place: int) -> Iterator[Row]:
        """A reply that doesn't fit after its question: learned piece by piece, each after the text before it."""
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
    """A conversation with the tokens of each of its messages. A system message belongs to every part of it.

    `thoughts`: tokens of the reasoning of a reply, which is in the row that ends with it and in no later one.
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
        """Tokens before each message, the head left out."""
        asked = [place for place in range(system, len(messages)) if messages[place].role == "user"]
        self.starts = asked or [system]
        """Where a part may begin."""

    def longer(self) -> "Turns":
        """The same with longer turns."""
        return Turns(self.messages, self._lengths, self._thoughts, self._margin + 0.1)

    def tokens(self, start: int, end: int) -> int:
        """Of the part from message `start` to before `end`, with the system message."""
        return self.head + self._before[end] - self._before[start]

    def row(self, start: int, place: int) -> int:
        """Of a row from message `start` that ends with the reply at `place`."""
        return self.tokens(start, place + 1) + self._thoughts.get(place, 0)

    def part(self, start: int, end: int) -> list[Message]:
        """Those messages, after the system message."""
        return [*self.system, *self.messages[max(start, len(self.system)) : end]]

    def moved(self, place: int, start: int) -> int:
        """Where the message at `place` stands in a part that begins at `start`."""
        return place - max(start, len(self.system)) + len(self.system)

    def window(self, pending: Sequence[int], context: int, limit: int) -> tuple[int, int]:
        """(first message, last reply) of the next window. The last reply is before the first pending one where not even
        that one fits with its question.
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
    """Which items are asked, in order: by chance as many as have `most_tokens` together, at least one; with 0 all."""
    places = list(range(len(items)))
    if not most_tokens:
        return places
    random.Random(seed).shuffle(places)
    spent = accumulate(tokens_of([items[place]]) for place in places)
    within = [place for place, tokens in zip(places, spent, strict=True) if tokens <= most_tokens]
    return sorted(within or places[:1])


def tokens_of(items: Sequence[Sequence[Row]]) -> int:
    """Tokens of all rows together."""
    return sum(len(row.ids) for rows in items for row in rows)
