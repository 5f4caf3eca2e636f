"""A dataset made: selected, without personal data, split, counted, and frozen in the log."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sqlite_utils import Database

from assistant.errors import TrainingRefused
from assistant.store.search.filter import Filter
from assistant.store.training import datasets
from assistant.store.training.datasets import SPLITS, Dataset, StoredExample
from finetune.data import sources, statistics
from finetune.data.canaries import planted
from finetune.data.example import Example, Kind, Split, hash_of
from finetune.data.select import Candidate, Selection, from_log, used
from finetune.data.split import Parts, Placed, Seen, Shares, split, words_of
from finetune.data.tokens import Tokenizer
from finetune.progress import Did, Progress, Work, ignore
from prompts.message import Message
from prompts.template import Template

if TYPE_CHECKING:
    from assistant.store.redaction.redactor import Redactor

BUILTIN = Path(__file__).parents[1] / "texts" / "replay.txt"
MOST_REPLAY = 0.5
REPLAY, CANARY = "replay", "canary"
"""What stands for the conversation of examples that are nobody's."""
REDACT, COMPARE, TOKENISE = 2, 1, 20
"""Units of work for each character, in proportion to the time that they take."""


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
    """A dataset that is not frozen yet. `placed`: each candidate with its part and the number of its group.

    `hash`: SHA-256 of the kind and of each example's part and hash, in order.
    """

    request: Request
    placed: Sequence[Placed]
    hash: str
    statistics: dict[str, Any]
    redacted: bool

    @property
    def examples(self) -> Iterator[StoredExample]:
        """The examples as the log keeps them, each made when it is asked for: a large dataset is text enough once."""
        return (_stored(*one) for one in self.placed)


def prepare(
    db: Database,
    request: Request,
    tokenizer: Tokenizer,
    redactor: "Redactor | None",
    say: Callable[[Progress], None] = lambda _: None,
) -> Prepared:
    """Select, redact, split and count; nothing is kept. Raises `TrainingRefused` where there is nothing to learn."""
    left: Counter[str] = Counter()
    chosen, work = request.selection, Work(say)
    if request.files:
        work.begin("reading the files")
        found = sources.from_files(request.files, chosen, left, work.reach)
    else:
        work.begin("reading the log")
        found = from_log(db, chosen, left, work.reach)
    candidates = list(found)
    if not candidates:
        raise TrainingRefused(_nothing(request, left))
    return made_of(db, request, candidates, left, tokenizer, redactor, say)


def made_of(
    db: Database,
    request: Request,
    candidates: Sequence[Candidate],
    left: Counter[str],
    tokenizer: Tokenizer,
    redactor: "Redactor | None",
    say: Callable[[Progress], None] = lambda _: None,
) -> Prepared:
    """As `prepare`, of candidates that are there already. `left`: what was left out of them, by the reason."""
    chosen = request.selection
    learned = used(candidates, chosen.kind)
    if chosen.kind == "entities":
        redactor = None  # a placeholder would stand where the entity is
    work = _work(candidates, redactor, say)
    if redactor is not None:
        work.begin("replacing personal data")
        candidates = redacted(candidates, redactor, lambda count: work.did(REDACT * count))
    work.begin("looking for near-duplicates")
    parts = split(candidates, request.shares, request.seed, tested(db), lambda count: work.did(COMPARE * count))
    work.begin("counting tokens")
    _refuse_unlearnable(chosen.kind, parts, tokenizer)
    replayed = [Candidate(one, REPLAY) for one in _replayed(request, parts, tokenizer, redactor)]
    secret = [Candidate(one.example, CANARY) for one in planted(request.canaries, request.seed)]
    more: list[Placed] = [(one, "train", parts.groups + place) for place, one in enumerate([*replayed, *secret])]
    placed = [*parts.placed, *more]

    def tokenised(count: int) -> None:
        work.did(TOKENISE * count)

    counted = {
        "examples": {part: sum(one == part for _, one, _ in placed) for part in SPLITS},
        "conversations": len({one.conversation for one, _, _ in parts.placed}),
        "groups": parts.groups,
        **statistics.of_tokens(chosen.kind, [one.example for one, _, _ in placed], tokenizer, tokenised),
        "languages": statistics.languages(one.said or words_of(one.example) for one, _, _ in parts.placed),
        "doubles_removed": parts.doubles,
        "tested_before": parts.kept_for_test,
        "personal_values": len(redactor.used) if redactor else 0,
        "personal_places": redactor.count if redactor else 0,
        "replayed": len(replayed),
        "left_out": {what: count for what, count in left.most_common() if count},
        "canaries": len(secret),
        "used": learned,
    }
    work.end()
    return Prepared(request, placed, _hash(chosen.kind, placed), counted, redactor is not None)


def _work(candidates: Sequence[Candidate], redactor: "Redactor | None", say: Callable[[Progress], None]) -> Work:
    """What there is to do. Each conversation is compared as a whole and by its exchanges."""
    characters = sum(one.example.characters for one in candidates)
    redacting = 0 if redactor is None else REDACT * characters
    tokenising = TOKENISE * min(characters, statistics.COUNTED_CHARACTERS)
    return Work(say, total=redacting + 2 * COMPARE * characters + tokenising)


def _hash(kind: str, placed: Iterable[Placed]) -> str:
    said = "\n".join([kind, *(f"{part} {one.example.hash}" for one, part, _ in placed)])
    return hashlib.sha256(said.encode()).hexdigest()


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


def redacted(candidates: Iterable[Candidate], redactor: "Redactor", did: Did = ignore) -> list[Candidate]:
    """With placeholders for personal data. `did` is called with the characters of each."""
    clean: Callable[[str], str] = lru_cache(maxsize=4096)(redactor)
    found = []
    for one in candidates:
        messages = tuple(Message(said.role, clean(said.content)) for said in one.example.messages)
        example = replace(one.example, messages=messages, rejected=clean(one.example.rejected))
        found.append(replace(one, said=clean(one.said), example=example))
        did(one.example.characters)
    return found


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
    wanted = request.replay_share / (1 - request.replay_share) * statistics.about_tokens(trained, tokenizer)
    chosen: list[Example] = []
    for one in some:
        if wanted <= 0:
            break
        if one.example not in elsewhere:
            chosen.append(one.example)
            wanted -= statistics.about_tokens([one.example], tokenizer)
    return chosen


def _stored(one: Candidate, part: Split, group: int) -> StoredExample:
    body = one.example.as_json()
    return StoredExample(part, group, one.message_id, hash_of(body), body, one.rejected_id, one.conversation, one.said)


def _refuse_unlearnable(kind: Kind, parts: Parts, tokenizer: Tokenizer) -> None:
    trained = (one.example for one, part, _ in parts.placed if part == "train")
    rows = chain.from_iterable(statistics.rows_of(kind, one, tokenizer) for one in trained)
    if not any(row.supervised for row in rows):
        raise TrainingRefused(
            "Nothing of the training part fits the model's context, so that no token would be learned. "
            "Select shorter replies (--max-length), or a model with a longer context."
        )


# -- made again: of what it was made of, as the log has it by now ------------------------------------------------


def selection_of(kept: Dataset, find_template: Callable[[str], Template]) -> Selection:
    """What of a log is like the dataset: its own selection; of a dataset from a file all that is judged of its kind.

    Raises `TemplateUnknown` where the template that it asks with is gone.
    """
    source, kind = kept.source, cast(Kind, kept.kind)
    template = find_template(source["template"]) if source.get("template") else None
    if source.get("file"):
        return Selection(kind, template=template, values=source.get("values", {}))
    filter_ = Filter(**{name: _frozen(value) for name, value in source.get("filter", {}).items()})
    everything, words = source.get("everything", False), source.get("words", "")
    return Selection(kind, filter_, everything, template, source.get("values", {}), words)


def request_like(kept: Dataset, find_template: Callable[[str], Template]) -> Request:
    """A request for a dataset of today's log with the settings of `kept`. Raises what `selection_of` raises."""
    source, usual = kept.source, Request(Selection())
    replay = source.get("replay", "")
    return Request(
        selection_of(kept, find_template),
        shares=Shares(*source["split"]) if source.get("split") else None,
        seed=source.get("seed", 0),
        replay=BUILTIN if replay == "builtin" else Path(replay) if replay else None,
        replay_share=source.get("replay_share") or usual.replay_share,
        canaries=len(source.get("canaries", ())),
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
