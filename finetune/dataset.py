"""A dataset made: selected, without personal data, split, counted, and frozen in the log."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlite_utils import Database

from assistant.errors import TrainingRefused
from assistant.store import datasets
from assistant.store.datasets import SPLITS, Dataset, StoredExample
from assistant.store.filter import Filter
from finetune import sources, statistics
from finetune.canaries import planted
from finetune.example import Example, Split
from finetune.select import Candidate, Selection, from_log, used
from finetune.split import Parts, Seen, Shares, split, words_of
from finetune.tokens import Cuts, Row, Tokenizer
from prompts.message import Message

if TYPE_CHECKING:
    from assistant.store.redaction.redactor import Redactor

BUILTIN = Path(__file__).parent / "data" / "replay.txt"
MOST_REPLAY = 0.5
REPLAY, CANARY = "replay", "canary"
"""What stands for the conversation of examples that are nobody's."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a dataset is to be made of. Without `files`: of the log."""

    selection: Selection
    files: tuple[Path, ...] = ()
    shares: Shares | None = None
    """None: parts that suit the number of conversations."""
    seed: int = 0
    replay: Path | None = None
    """General text that is mixed into the training part, against forgetting."""
    replay_share: float = 0.1
    """Of the training part's tokens."""
    canaries: int = 0
    """Made-up secrets that are planted in the training part, for `finetune eval` to look for."""
    baked: str = ""
    """The model that made the replies with the selection's template, for `finetune bake`; empty where none did."""

    def __post_init__(self) -> None:
        """Raise `TrainingRefused` for a replay or canaries that make no sense."""
        if self.canaries and self.selection.kind != "supervised":
            raise TrainingRefused(f"Canaries are planted in the kind supervised, not in {self.selection.kind}.")
        if self.replay is None:
            return
        if not 0 < self.replay_share <= MOST_REPLAY:
            raise TrainingRefused(f"A share of {self.replay_share} can't be replayed: give more than 0, at most 0.5.")
        if self.selection.kind != "supervised":
            raise TrainingRefused(f"Text to replay goes with the kind supervised, not with {self.selection.kind}.")

    def as_json(self) -> dict[str, Any]:
        """Where the examples come from, for whoever asks later."""
        chosen, unset = self.selection, asdict(Filter())
        template = chosen.template
        return {
            "file": ", ".join(str(path.absolute()) for path in self.files),
            "filter": {name: value for name, value in asdict(chosen.filter).items() if value != unset[name]},
            "words": chosen.words,
            "everything": chosen.everything,
            "template": template.name if template else "",
            "template_hash": template.hash if template else "",
            "values": dict(chosen.values),
            "baked": self.baked,
            "split": list(self.shares.parts) if self.shares else None,
            "seed": self.seed,
            "replay": "builtin" if self.replay == BUILTIN else str(self.replay or ""),
            "replay_share": self.replay_share if self.replay else 0.0,
            "canaries": [one.as_json() for one in planted(self.canaries, self.seed)],
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """A dataset that is not frozen yet. `rows`: the tokens of each example."""

    request: Request
    examples: Sequence[StoredExample]
    rows: Sequence[Sequence[Row]]
    statistics: dict[str, Any]
    redacted: bool

    @property
    def hash(self) -> str:
        """SHA-256 of the kind and of each example's hash and part, in order."""
        told = "\n".join([self.request.selection.kind, *(f"{one.split} {one.hash}" for one in self.examples)])
        return hashlib.sha256(told.encode()).hexdigest()


def prepare(db: Database, request: Request, tokenizer: Tokenizer, redactor: "Redactor | None") -> Prepared:
    """Select, redact, split and count; nothing is kept. Raises `TrainingRefused` where there is nothing to learn."""
    left: Counter[str] = Counter()
    chosen = request.selection
    found = sources.from_files(request.files, chosen, left) if request.files else from_log(db, chosen, left)
    candidates = list(found)
    if not candidates:
        raise TrainingRefused(_nothing(request, left))
    return made_of(db, request, candidates, left, tokenizer, redactor)


def made_of(
    db: Database,
    request: Request,
    candidates: Sequence[Candidate],
    left: Counter[str],
    tokenizer: Tokenizer,
    redactor: "Redactor | None",
) -> Prepared:
    """As `prepare`, of candidates that are there already. `left`: what was left out of them, by the reason."""
    chosen = request.selection
    if chosen.kind == "entities":
        redactor = None  # a placeholder would stand where the entity is
    if redactor is not None:
        candidates = redacted(candidates, redactor)
    parts = split(candidates, request.shares, request.seed, tested(db))
    replayed = _replayed(request, parts, tokenizer, redactor)
    tokenizer.cuts = Cuts()
    examples = [_stored(*one) for one in parts.placed]
    number = parts.groups
    examples += [_stored(Candidate(one, REPLAY), "train", number + place) for place, one in enumerate(replayed)]
    secret = [one.example for one in planted(request.canaries, request.seed)]
    number += len(replayed)
    examples += [_stored(Candidate(one, CANARY), "train", number + place) for place, one in enumerate(secret)]
    said = [one.example for one, _, _ in parts.placed] + replayed + secret
    rows = [statistics.rows_of(chosen.kind, one, tokenizer) for one in said]
    counted = _counted(parts, replayed, examples, rows, tokenizer, redactor, left)
    counted["canaries"] = len(secret)
    counted["used"] = used(candidates, chosen.kind)
    _refuse_unlearnable(examples, rows)
    return Prepared(request, examples, rows, counted, redactor is not None)


def freeze(db: Database, name: str, prepared: Prepared) -> Dataset:
    """Keep a dataset under a name. Raises `StoreError` where the name is taken."""
    source = {**prepared.request.as_json(), "redacted": prepared.redacted}
    kind = prepared.request.selection.kind
    return datasets.add(db, name, kind, prepared.hash, source, prepared.statistics, prepared.examples)


def tested(db: Database) -> Seen:
    """What the datasets so far keep for the test. Of the log a conversation is meant, however it has gone on."""
    return seen(datasets.tested(db))


def seen(examples: Sequence[StoredExample]) -> Seen:
    """What these tell of conversations that were there before."""
    texts = {text_of(one) for one in examples}
    return Seen(frozenset(one.conversation for one in examples if one.conversation), sorted(texts))


def text_of(one: StoredExample) -> str:
    """What an example says, without a template's words around it."""
    return one.said or words_of(Example.from_json(one.body))


def _nothing(request: Request, left: Counter[str]) -> str:
    kind = request.selection.kind
    why = {
        "supervised": "Rate replies good, keep or correct them in the Log screen, or give --all for all that isn't bad",
        "preference": "Vote between replies, correct some, or rate one good beside one that is bad",
        "kto": "Rate replies good or bad",
        "label": "Tag texts with the classes of the template",
        "entities": "Give a --file of texts with their entities",
    }[kind]
    told = "; ".join(f"{count:,} {what}" for what, count in left.most_common() if count)
    seen = f" Left out: {told}." if told else ""
    return f"Nothing was selected for the kind {kind} with these filters.{seen} {why}."


def redacted(candidates: Sequence[Candidate], redactor: "Redactor") -> list[Candidate]:
    """With placeholders for personal data."""
    clean: Callable[[str], str] = lru_cache(maxsize=4096)(redactor)
    return [
        replace(
            one,
            said=clean(one.said),
            example=replace(
                one.example,
                messages=tuple(Message(said.role, clean(said.content)) for said in one.example.messages),
                rejected=clean(one.example.rejected),
            ),
        )
        for one in candidates
    ]


def _replayed(request: Request, parts: Parts, tokenizer: Tokenizer, redactor: "Redactor | None") -> list[Example]:
    """General text of as many tokens as its share asks for, or all there is; nothing that the other parts hold."""
    if request.replay is None:
        return []
    trained = [one.example for one, part, _ in parts.placed if part == "train"]
    elsewhere = {one.example for one, _, _ in parts.placed}
    some = [Candidate(one, REPLAY) for one in sources.replay(request.replay)]
    if redactor is not None and request.replay != BUILTIN:
        some = redacted(some, redactor)
    random.Random(request.seed).shuffle(some)
    wanted = request.replay_share / (1 - request.replay_share) * _tokens(trained, tokenizer)
    chosen: list[Example] = []
    for one in some:
        if wanted <= 0:
            break
        if one.example not in elsewhere:
            chosen.append(one.example)
            wanted -= _tokens([one.example], tokenizer)
    return chosen


def _tokens(examples: Iterable[Example], tokenizer: Tokenizer) -> int:
    return sum(len(row.ids) for one in examples for row in tokenizer.rows(one))


def _stored(one: Candidate, part: Split, group: int) -> StoredExample:
    body, digest = one.example.as_json(), one.example.hash
    return StoredExample(part, group, one.message_id, digest, body, one.rejected_id, one.conversation, one.said)


def _counted(
    parts: Parts,
    replayed: Sequence[Example],
    examples: Sequence[StoredExample],
    rows: Sequence[Sequence[Row]],
    tokenizer: Tokenizer,
    redactor: "Redactor | None",
    left: Counter[str],
) -> dict[str, Any]:
    said = [one for one, _, _ in parts.placed]
    return {
        "examples": {part: sum(one.split == part for one in examples) for part in SPLITS},
        "conversations": len({one.conversation for one in said}),
        "groups": parts.groups,
        **statistics.of_rows(rows),
        "languages": statistics.languages(one.said or words_of(one.example) for one in said),
        "doubles_removed": parts.doubles,
        "tested_before": parts.kept_for_test,
        "personal_values": len(redactor.used) if redactor else 0,
        "personal_places": redactor.count if redactor else 0,
        **asdict(tokenizer.cuts),
        "replayed": len(replayed),
        "left_out": {what: count for what, count in left.most_common() if count},
    }


def _refuse_unlearnable(examples: Sequence[StoredExample], rows: Sequence[Sequence[Row]]) -> None:
    learned = sum(
        row.supervised for one, some in zip(examples, rows, strict=True) if one.split == "train" for row in some
    )
    if not learned:
        raise TrainingRefused(
            "Nothing of the training part fits the model's context, so that no token would be learned. "
            "Select shorter replies (--max-length), or a model with a longer context."
        )
