"""Make a dataset: select, redact, split, count, and freeze it in the log."""

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
from finetune.data import example_files, statistics
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
"""Conversation names of examples that come from no conversation."""
REDACT, COMPARE, TOKENISE = 2, 1, 20
"""Units of work for each character, in proportion to the time taken."""


@dataclass(frozen=True, slots=True)
class Request:
    """Settings of a dataset. Without `files` it is made from the log."""

    selection: Selection
    files: tuple[Path, ...] = ()
    shares: Shares | None = None
    """None: chosen by the number of conversations."""
    seed: int = 0
    replay: Path | None = None
    """File of general text to mix into the training part, against forgetting."""
    replay_share: float = 0.1
    """Share of the training part's tokens."""
    canaries: int = 0
    """Number of made-up secrets planted in the training part, which `finetune eval` looks for."""
    baked: str = ""
    """Model that generated the replies with the selection's template (`finetune bake`); empty: none."""

    def __post_init__(self) -> None:
        """Raise `TrainingRefused` for an impossible combination of settings."""
        if self.canaries and self.selection.kind != "supervised":
            raise TrainingRefused(f"Canaries need a dataset of kind supervised, not {self.selection.kind}.")
        if self.replay is None:
            return
        if not 0 < self.replay_share <= MOST_REPLAY:
            raise TrainingRefused(f"The replay share must be above 0 and at most 0.5, not {self.replay_share}.")
        if self.selection.kind != "supervised":
            raise TrainingRefused(f"Replayed text needs a dataset of kind supervised, not {self.selection.kind}.")

    def as_json(self) -> dict[str, Any]:
        """Origin of the examples, as stored with the dataset."""
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
    """A dataset before it is frozen. `placed`: each candidate with its part and the number of its group.

    `hash`: SHA-256 of the kind and of each example's part and hash, in order.
    """

    request: Request
    placed: Sequence[Placed]
    hash: str
    statistics: dict[str, Any]
    redacted: bool

    @property
    def examples(self) -> Iterator[StoredExample]:
        """The examples in the log's format, made one at a time to save memory."""
        return (_stored(*one) for one in self.placed)


def prepare(
    db: Database,
    request: Request,
    tokenizer: Tokenizer,
    redactor: "Redactor | None",
    say: Callable[[Progress], None] = lambda _: None,
) -> Prepared:
    """Select, redact, split and count; nothing is stored. Raises `TrainingRefused` if nothing can be learned."""
    left: Counter[str] = Counter()
    chosen, work = request.selection, Work(say)
    if request.files:
        work.begin("reading the files")
        found = example_files.from_files(request.files, chosen, left, work.reach)
    else:
        work.begin("reading the log")
        found = from_log(db, chosen, left, work.reach)
    candidates = list(found)
    if not candidates:
        raise TrainingRefused(_nothing_selected(request, left))
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
    """As `prepare`, from selected candidates. `left`: counts of those left out, by reason."""
    chosen = request.selection
    learned = used(candidates, chosen.kind)
    if chosen.kind == "entities":
        redactor = None  # a placeholder would replace the entity
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
    """The amount of work. Each conversation is compared as a whole and by its exchanges."""
    characters = sum(one.example.characters for one in candidates)
    redacting = 0 if redactor is None else REDACT * characters
    tokenising = TOKENISE * min(characters, statistics.COUNTED_CHARACTERS)
    return Work(say, total=redacting + 2 * COMPARE * characters + tokenising)


def _hash(kind: str, placed: Iterable[Placed]) -> str:
    said = "\n".join([kind, *(f"{part} {one.example.hash}" for one, part, _ in placed)])
    return hashlib.sha256(said.encode()).hexdigest()


def freeze(db: Database, name: str, prepared: Prepared) -> Dataset:
    """Store a dataset under a name. Raises `StoreError` if the name is taken."""
    source = {**prepared.request.as_json(), "redacted": prepared.redacted}
    kind = prepared.request.selection.kind
    return datasets.add(db, name, kind, prepared.hash, source, prepared.statistics, prepared.examples)


def tested(db: Database) -> Seen:
    """Test examples of all datasets so far. A conversation of the log is recognised even if it was continued."""
    return seen(datasets.tested(db))


def seen(examples: Sequence[StoredExample]) -> Seen:
    """Conversations and texts of these examples."""
    texts = {text_of(one) for one in examples}
    return Seen(frozenset(one.conversation for one in examples if one.conversation), sorted(texts))


def text_of(one: StoredExample) -> str:
    """Text of an example, without the template around it."""
    return one.said or words_of(Example.from_json(one.body))


def _nothing_selected(request: Request, left: Counter[str]) -> str:
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
    """Candidates with placeholders for personal data. `did` is called with the characters of each."""
    clean: Callable[[str], str] = lru_cache(maxsize=4096)(redactor)
    found = []
    for one in candidates:
        messages = tuple(Message(said.role, clean(said.content)) for said in one.example.messages)
        example = replace(one.example, messages=messages, rejected=clean(one.example.rejected))
        found.append(replace(one, said=clean(one.said), example=example))
        did(one.example.characters)
    return found


def _replayed(request: Request, parts: Parts, tokenizer: Tokenizer, redactor: "Redactor | None") -> list[Example]:
    """General text of as many tokens as its share needs, as far as it goes, without examples of the other parts."""
    if request.replay is None:
        return []
    trained = [one.example for one, part, _ in parts.placed if part == "train"]
    elsewhere = {one.example for one, _, _ in parts.placed}
    some = [Candidate(one, REPLAY) for one in example_files.replay(request.replay)]
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
            "No example of the training part fits the model's context, so no token would be learned. Select shorter "
            "replies (--max-length), or a model with a longer context."
        )


# -- a dataset like an earlier one -------------------------------------------------------------------------------


def selection_of(kept: Dataset, find_template: Callable[[str], Template]) -> Selection:
    """The selection of a dataset, for today's log; for a dataset made from a file, all judged replies of its kind.

    Raises `TemplateUnknown` if the dataset's template was deleted.
    """
    source, kind = kept.source, cast(Kind, kept.kind)
    template = find_template(source["template"]) if source.get("template") else None
    if source.get("file"):
        return Selection(kind, template=template, values=source.get("values", {}))
    filter_ = Filter(**{name: _frozen(value) for name, value in source.get("filter", {}).items()})
    everything, words = source.get("everything", False), source.get("words", "")
    return Selection(kind, filter_, everything, template, source.get("values", {}), words)


def request_like(kept: Dataset, find_template: Callable[[str], Template]) -> Request:
    """A request for a dataset from today's log with the settings of `kept`. Raises `TemplateUnknown`."""
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
