"""Candidates from files: any format that the log imports, read into a scratch log, or labelled rows of a template."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from assistant.errors import TrainingRefused
from assistant.ratings import GOOD
from assistant.store.database import open_scratch, select
from assistant.store.files.imports.importer import import_files
from assistant.store.schema.derived import rebuilt_after
from finetune.data.example import Entity, Example, labelled
from finetune.data.select import Candidate, Selection, from_log
from finetune.tagging import untagged
from prompts import metrics
from prompts.message import Message
from prompts.sandbox import INPUT
from prompts.template import Template

PRAISED = (
    f"SELECT 1 FROM exchanges WHERE rating = {GOOD.number} OR decision = 'keep' "
    "UNION ALL SELECT 1 FROM messages WHERE corrects_id IS NOT NULL LIMIT 1"
)
"""Selects a row if any reply is marked as good. A thumb down or a weight of 0 only excludes a reply."""
PASSAGE_CHARACTERS = 1_200
"""Length of a passage of general text: about 300 tokens."""
GO_ON = "Go on with this text:\n\n"


def from_file(path: Path, wanted: Selection, left: Counter[str]) -> Iterator[Candidate]:
    """Candidates of one file, as `from_files`."""
    return from_files([path], wanted, left)


def from_files(
    paths: Sequence[Path], wanted: Selection, left: Counter[str], progress: Callable[[int, int], None] = lambda *_: None
) -> Iterator[Candidate]:
    """Candidates from files, and from the files in folders and zips. `progress` is called with the bytes read and the
    bytes of all.

    If no reply is rated good, kept or a correction, all replies are learned except those rated bad or with a weight of
    0. Raises `ImportRefused`; for the kinds `label` and `entities` `InputUnreadable` with the row.
    """
    if wanted.kind == "entities":
        yield from _entities(paths)
        return
    if wanted.kind == "label" and all(path.suffix.lower() in (".jsonl", ".csv") for path in paths):
        assert wanted.template is not None
        for path in paths:
            yield from _rows(path, wanted.template, wanted.values)
        return
    with closing(open_scratch()) as db:
        with rebuilt_after(db):
            report = import_files(db, paths, progress=lambda one: progress(one.done_bytes, one.total_bytes))
        left.update(report.left)
        left["conversations that can't be read"] += report.left_out
        left["conversations that are there twice"] += report.doubles
        names = _names(db)
        everything = wanted.everything or not select(db, PRAISED)
        for one in from_log(db, replace(wanted, everything=everything), left):
            name = names[int(one.conversation.partition(":")[2])]
            yield replace(one, conversation=name, message_id=None, rejected_id=None)


def _names(db: Database) -> Mapping[int, str]:
    """Conversation id -> its name in the program that exported it, else a hash of its content."""
    rows = select(db, "SELECT id, source, source_id, content_hash FROM conversations")
    return {row[0]: f"{row[1]}:{row[2]}" if row[2] else f"said:{row[3]}" for row in rows}


def _rows(path: Path, template: Template, values: Mapping[str, str]) -> Iterator[Candidate]:
    from assistant.tasks.evaluation import check, classes
    from assistant.tasks.rows import InputUnreadable, rows

    check(template, rows(path), str(path))
    for number, row in enumerate(rows(path), 1):
        text = row.get(INPUT)
        if not isinstance(text, str) or not text.strip():
            raise InputUnreadable(f"{path}, row {number}: no {INPUT!r}, the text to label.")
        own = {one.name: str(row[one.name]) for one in template.inputs if row.get(one.name) is not None}
        for example in labelled(template, text, classes(row["label"], template.several), {**values, **own}):
            yield Candidate(example, text_key(text), said=text)


def _entities(paths: Sequence[Path]) -> Iterator[Candidate]:
    """Texts with entities, in rows as for `prompts test`. The types of all files are asked for in every text."""
    from assistant.tasks.rows import InputUnreadable

    read = [pair for path in paths for pair in _texts_with_entities(path)]
    types = sorted({kind for _, some in read for _, _, kind in some})
    if not types:
        raise InputUnreadable(f"{', '.join(map(str, paths))}: no row has an entity.")
    for text, entities in read:
        yield Candidate(replace(untagged(text, types), entities=entities), text_key(text))


def _texts_with_entities(path: Path) -> Iterator[tuple[str, tuple[Entity, ...]]]:
    """(text, entities in order) of each row. Raises `InputUnreadable` with the row."""
    from assistant.tasks.rows import InputUnreadable, rows
    from assistant.tasks.task import located

    def refuse(number: int, why: str) -> InputUnreadable:
        return InputUnreadable(f"{path}, row {number}: {why}")

    for number, row in enumerate(rows(path), 1):
        text, truth = row.get(INPUT), row.get("reference")
        if not isinstance(text, str) or not text.strip():
            raise refuse(number, f"no {INPUT!r}, the text.")
        if not isinstance(truth, dict | list):
            raise refuse(number, 'no \'reference\' such as {"entities": [{"text": "Oslo", "type": "place"}]}.')
        found = located(truth, text)
        for words in _missing(found):
            raise refuse(number, f"{words!r} isn't in the text.")
        entities = sorted(set(metrics.spans(found)))
        for one, other in pairwise(entities):
            if other[0] < one[1]:
                raise refuse(number, f"{text[slice(*one[:2])]!r} and {text[slice(*other[:2])]!r} overlap.")
        yield text, tuple(entities)


def _missing(found: Any) -> Iterator[str]:
    """Entity texts that don't occur in the row's text."""
    if isinstance(found, Mapping):
        if found.get("start", 0) is None:
            yield found["text"]
        found = list(found.values())
    if isinstance(found, list):
        for one in found:
            yield from _missing(one)


def text_key(text: str) -> str:
    """Key of a text without a conversation, independent of case and spaces."""
    digest = hashlib.blake2b(" ".join(text.lower().split()).encode("utf-8", "replace"), digest_size=16)
    return f"said:{digest.hexdigest()}"


def replay(path: Path) -> list[Example]:
    """General text as examples, against forgetting: the conversations of a file, or passages of a .txt file to be
    continued. Raises `TrainingRefused` if there are none, and `ImportRefused`.
    """
    if path.suffix.lower() != ".txt":
        found = [one.example for one in from_file(path, Selection(everything=True), Counter())]
    else:
        found = [_go_on(passage) for passage in passages(_text(path)) if len(passage) > PASSAGE_CHARACTERS // 2]
    if not found:
        raise TrainingRefused(f"{path} holds no text to replay. Give a .txt file of prose, or conversations.")
    return found


def passages(text: str) -> Iterator[str]:
    """The text cut between paragraphs, or between words where a paragraph is too long."""
    passage = ""
    for paragraph in filter(None, (one.strip() for one in text.split("\n\n"))):
        rest = f"{passage}\n\n{paragraph}" if passage else paragraph
        while len(rest) > 2 * PASSAGE_CHARACTERS:
            at = rest.rfind(" ", 0, PASSAGE_CHARACTERS)
            at = PASSAGE_CHARACTERS if at < PASSAGE_CHARACTERS // 2 else at  # Chinese has no spaces
            yield rest[:at]
            rest = rest[at:].lstrip()
        passage = rest
        if len(passage) >= PASSAGE_CHARACTERS:
            yield passage
            passage = ""
    if passage:
        yield passage


def _go_on(passage: str) -> Example:
    """An example that continues a passage: its first third is the prompt."""
    third = len(passage) // 3
    at = passage.find(" ", third) if " " in passage[third : third + 200] else third
    said = (Message("user", GO_ON + passage[:at]), Message("assistant", passage[at:].strip()))
    return Example(said, frozenset({1}))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrainingRefused(f"{path} is not UTF-8 (byte {error.start}). Save the file as UTF-8.") from error
    except OSError as error:
        raise TrainingRefused(f"{path} can't be read: {error.strerror}.") from error
