"""The answers in a row: one, a preferred and a rejected one, two that were compared, or several with scores."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assistant.store.files.rows.marked_text import parse
from assistant.store.files.transcript import Turn, WrongShape
from assistant.store.files.turns_in_a_row import in_a_row
from assistant.store.files.values.fields import Fields, count
from assistant.store.files.values.message import LAYOUT, turns_of
from assistant.store.judgements.curation import Judgement

BETTER = (
    *("chosen", "chosen_messages", "preferred_output", "chosen_response", "response_chosen", "answer_chosen"),
    *("preferred_response", "preferred", "chosen_message", "accepted", "response_j"),
)
WORSE = (
    *("rejected", "rejected_messages", "non_preferred_output", "rejected_response", "response_rejected"),
    *("answer_rejected", "non_preferred_response", "dispreferred", "rejected_message", "rejected_output", "response_k"),
)
COMPARED = (
    *(("conversation_a", "conversation_b"), ("response_a", "response_b"), ("answer_a", "answer_b")),
    *(("completion_a", "completion_b"), ("response_0", "response_1"), ("response1", "response2")),
    *(("output_1", "output_2"), ("answer1", "answer2"), ("human_ref_A", "human_ref_B")),
)
LISTS = ("completions", "answers", "responses", "generations", "candidates", "outputs", "choices")
SINGLE = ("completion", "output", "response", "answer", "target", "reply", "assistant", "bot", "generation")

_TEXTS = ("response", "answer", "text", "content", "completion", "output", "generation", "message", "value")
_SCORES = ("overall_score", "score", "rating", "reward")
_SCORE_LISTS = ("ratings", "scores", "rewards")
_MODELS = ("model", "model_name", "generator")
_FIRST, _SECOND, _TIE = 0, 1, 2
_VERDICTS: dict[str, dict[object, int]] = {
    "better_response_id": {0: _FIRST, 1: _SECOND},
    "labels": {1: _FIRST, 0: _SECOND},
    "preference": {1: _FIRST, 2: _SECOND, 0: _TIE},
    "winner_model_a": {1: _FIRST},
    "winner_model_b": {1: _SECOND},
    "winner_tie": {1: _TIE},
}
"""How data sets write which of two is better: PKU-SafeRLHF, SHP, AlpacaEval, the arena."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `rank` 0 is the best, equal ranks are a tie, None is no order. `whole`: it repeats the question."""

    turns: Sequence[Turn]
    rank: int | None = None
    whole: bool = False


def is_answered(value: Any) -> bool:
    """Whether a row has an answer in a field of its own."""
    pairs = any(first in value and second in value for first, second in COMPARED)
    return pairs or any(name in value for name in (*BETTER, *WORSE, *SINGLE, *LISTS))


def answers(fields: Fields, left: Counter[str]) -> list[Answer]:
    """All answers of the row. Raises `WrongShape`."""
    pair = list(_pair(fields, left))
    listed = [answer for name in LISTS for answer in _list(fields, name, left)]
    return [*_each_once(pair, listed, left), *_compared(fields, left), *_single(fields, left)]


def _each_once(pair: list[Answer], listed: list[Answer], left: Counter[str]) -> list[Answer]:
    """The answers of a pair and of a list beside it. The list's order is taken where it says what the pair says."""
    if not (pair and listed):
        return [*pair, *listed]
    ranks = {_last_text(answer): answer.rank for answer in listed}
    order = [ranks.get(_last_text(answer)) for answer in pair]
    known = [rank for rank in order if rank is not None]
    if len(known) == len(pair) and known == sorted(set(known)):
        return listed
    others = [answer for answer in listed if _last_text(answer) not in set(map(_last_text, pair))]
    count(left, "ranks beside a pair", sum(answer.rank is not None for answer in others))
    return [*pair, *(replace(answer, rank=None) for answer in others)]


def _last_text(answer: Answer) -> str:
    return answer.turns[-1].content if answer.turns else ""


def said(value: object, role: str, left: Counter[str]) -> list[Turn]:
    """A text, a message or a list of messages as turns; a text is said by `role`, or is a marked conversation."""
    if isinstance(value, str):
        return in_a_row(parse(value) or [(role, value)])
    if isinstance(value, dict):
        names_role = any(name in value for name in ("role", "from", "messages"))
        value = (
            value["messages"]
            if isinstance(value.get("messages"), list)
            else [value if names_role else {**value, "role": role}]
        )
    if not isinstance(value, list):
        raise WrongShape(f"an answer is {type(value).__name__}, not text")
    return turns_of(value, left)


def _answer(value: object, rank: int | None, left: Counter[str], model: str = "") -> Answer:
    turns = said(value, "assistant", left)
    whole = any(turn.role == "user" for turn in turns)
    if model:
        turns = [replace(turn, model=turn.model or model) if turn.role == "assistant" else turn for turn in turns]
    return Answer(turns, rank, whole)


def _first(fields: Fields, names: Sequence[str]) -> object:
    """The first of these fields that isn't empty, else None."""
    name = next((name for name in names if name in fields), None)
    return None if name is None else fields.take(name)


def _pair(fields: Fields, left: Counter[str]) -> Iterator[Answer]:
    for rank, names in enumerate((BETTER, WORSE)):
        value = _first(fields, names)
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            yield from _texts(value, rank, left)
        elif value is not None:
            yield _answer(value, rank, left)


def _texts(texts: Sequence[str], rank: int, left: Counter[str]) -> Iterator[Answer]:
    """Several preferred, or several rejected answers: the first is compared, the order of the others is unknown."""
    count(left, "votes with further preferred or rejected answers", len(texts) - 1)
    for place, text in enumerate(texts):
        yield _answer(text, None if place else rank, left)


def _compared(fields: Fields, left: Counter[str]) -> Iterator[Answer]:
    for first, second in COMPARED:
        if first not in fields or second not in fields:
            continue
        verdict, both_bad = _verdict(fields)
        ranks = {_FIRST: (0, 1), _SECOND: (1, 0), _TIE: (0, 0)}.get(verdict, (None, None))
        for name, model, rank in zip((first, second), ("model_a", "model_b"), ranks, strict=True):
            answer = _answer(fields.take(name), rank, left, fields.text(model))
            yield _judged_bad(answer) if both_bad else answer
        return


def _verdict(fields: Fields) -> tuple[int, bool]:
    """(which is better, whether both are bad); -1 where the row doesn't say, or not in a way that is known."""
    winner = fields.value.get("winner", fields.value.get("choice"))
    if isinstance(winner, str):
        fields.skip("winner", "choice")
        word = winner.lower()
        if word.startswith(("tie", "both")):
            return _TIE, "bad" in word
        return {"a": _FIRST, "1": _FIRST, "b": _SECOND, "2": _SECOND}.get(word[-1:], -1), False
    for name, words in _VERDICTS.items():
        value = fields.value.get(name)
        if isinstance(value, int) and value in words:
            fields.skip(name)
            return words[value], False
    strength = fields.first(int, "overall_preference")  # from -3, the first is much better, to 3
    return (-1, False) if strength is None else (_TIE if not strength else _FIRST if strength < 0 else _SECOND, False)


def _judged_bad(answer: Answer) -> Answer:
    *before, last = answer.turns
    return replace(answer, turns=[*before, replace(last, judgement=Judgement(-1))])


def _list(fields: Fields, name: str, left: Counter[str], model: str = "") -> Iterator[Answer]:
    """Several answers in a list, as texts or as objects, ranked where each has a rank or a score."""
    items = fields.first(list, name)
    if items is None:
        return
    texts, marks, models = [], [], []
    for item in items:
        inner = Fields(item if isinstance(item, dict) else {"text": item}, f"{name}.")
        texts.append(_first(inner, _TEXTS))
        rank, score = inner.number("rank"), inner.number(*_SCORES)
        marks.append(rank if rank is not None else None if score is None else -score)
        models.append(inner.text(*_MODELS) or model)
        inner.count_unread(left, ("index", "finish_reason"))
    scores = next((fields.take(one) for one in _SCORE_LISTS if _fits(fields.value.get(one), items)), None)
    named = next(
        (fields.take(one) for one in ("models", "generation_models") if _fits(fields.value.get(one), items)), None
    )
    if scores and not any(mark is not None for mark in marks):
        marks = [-one if isinstance(one, int | float) else None for one in scores]
    for place, text in enumerate(texts):
        if text is not None:
            model = models[place] or (str(named[place]) if named else "")
            yield _answer(text, _rank(marks, place), left, model)


def _fits(value: object, items: list[Any]) -> bool:
    return isinstance(value, list) and len(value) == len(items)


def _rank(marks: Sequence[float | None], place: int) -> int | None:
    mark = marks[place]
    return None if mark is None else sum(other is not None and other < mark for other in marks)


def _single(fields: Fields, left: Counter[str]) -> Iterator[Answer]:
    """The answer of a row that has one. Of two texts in a list the first is preferred, as LLaMA-Factory had it."""
    name = next(
        (name for name in SINGLE if isinstance(fields.value.get(name), str | list | dict) and name in fields), None
    )
    if name is None:
        return
    value = fields.take(name)
    if isinstance(value, dict) and isinstance(value.get("choices"), list):
        inner = Fields(value, f"{name}.")
        yield from _list(inner, "choices", left, inner.text(*_MODELS))
        inner.count_unread(left, LAYOUT)
    elif isinstance(value, list) and all(isinstance(one, str) for one in value):
        if len(value) > 2:
            count(left, "orders of more than two answers")
        for place, text in enumerate(value):
            yield _answer(text, place if len(value) == 2 else None, left)
    else:
        yield _answer(value, None, left)
