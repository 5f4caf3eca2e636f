"""How commands print: aligned columns for people, one JSON value for programs."""

import json
from collections.abc import Sequence
from typing import Any

import click

from assistant.safe_text import cell_width, printable

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")
"""The `--json` option of every command that prints a result."""


def print_json(value: Any) -> None:
    """`value` as indented JSON, Chinese left readable."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(rows: Sequence[Sequence[str]], headings: Sequence[str]) -> None:
    """Columns aligned by terminal cells, so that Chinese text lines up too. The last column isn't padded."""
    lines = [list(headings), *([printable(cell, newlines=False) for cell in row] for row in rows)]
    widths = [max(cell_width(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        padded = [cell + " " * (width - cell_width(cell)) for cell, width in zip(line, widths, strict=True)]
        click.echo("  ".join(padded).rstrip())


def human_bytes(count: float) -> str:
    """`93.8 MB`, in powers of 1000 as downloads are counted."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def counted(number: int, thing: str) -> str:
    """`1 message`, `2,000 messages`, `2 replies`."""
    many = f"{thing[:-1]}ies" if thing.endswith("y") and thing[-2] not in "aeiou" else f"{thing}s"
    return f"{number:,} {thing if number == 1 else many}"


def duration(seconds: float) -> str:
    """`15 s`, `3 min 20 s`, `1 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
