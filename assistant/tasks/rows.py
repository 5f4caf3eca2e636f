"""Rows of a file, in and out: JSON Lines, CSV with a line of names, or text with one input a line."""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from assistant.errors import AssistantError
from prompts.sandbox import INPUT

READABLE, WRITABLE = (".jsonl", ".csv", ".txt"), (".jsonl", ".csv")


class InputUnreadable(AssistantError):
    """The file of inputs isn't what its name says."""


class OutputUnwritable(AssistantError):
    """The output can't be written."""


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file. Raises `InputUnreadable` with the line."""
    suffix = path.suffix.lower()
    if suffix not in READABLE:
        raise InputUnreadable(f"{path}: give a {', '.join(READABLE)} file.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _csv(file, path) if suffix == ".csv" else _lines(file, path)
    except OSError as error:
        raise InputUnreadable(f"{path} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputUnreadable(f"{path} is not UTF-8 (byte {error.start}). Save the file as UTF-8.") from error


def write(path: Path, some: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """All rows, or nothing at all. A CSV file has `columns`; values that are no text are JSON there.

    Raises `OutputUnwritable`.
    """
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        try:
            with partial.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
                if path.suffix.lower() == ".csv":
                    _write_csv(file, some, columns)
                else:
                    write_jsonl(file, some)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises `OutputUnwritable` for what the system refuses inside."""
    try:
        yield
    except OSError as error:
        raise OutputUnwritable(
            f"{path} can't be written: {error.strerror}. What was done is kept; run it again."
        ) from error


def write_jsonl(file: TextIO, some: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line."""
    for row in some:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_csv(file: TextIO, some: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    writer = csv.DictWriter(file, columns, restval="")
    writer.writeheader()
    for row in some:
        writer.writerow({name: one if isinstance(one, str) else _cell(one) for name, one in row.items()})


def _cell(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _lines(file: TextIO, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        if path.suffix.lower() == ".txt":
            yield {INPUT: line.rstrip("\r\n")}
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputUnreadable(f"{path}, line {number}: not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise InputUnreadable(f"{path}, line {number}: not a JSON object but {line.strip()[:40]!r}.")
        yield row


def _csv(file: TextIO, path: Path) -> Iterator[dict[str, Any]]:
    reader = csv.DictReader(file, strict=True)
    try:
        for row in reader:
            if None in row:
                raise InputUnreadable(f"{path}, line {reader.line_num}: more fields than the first line names.")
            yield dict(row)
    except csv.Error as error:
        raise InputUnreadable(f"{path}, line {reader.line_num}: {error}.") from error
