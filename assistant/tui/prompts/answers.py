"""What a template made of one input: probabilities as bars, JSON, or a text."""

import json
from collections.abc import Mapping
from typing import Any

from textual.content import Content

from assistant.safe_text import cell_width, printable, shorten
from assistant.tui.prompts.bars import bar, percent
from assistant.tui.prompts.trial import Trial
from assistant.tui.widgets.page import Blocks
from assistant.tui.widgets.rows import EMPTY, Block, Row, plain_rows
from prompts.template import Template

BAR_CELLS = 24
WIDEST_NAME = 24


def entries(template: Template, trial: Trial, prediction: Mapping[str, Any]) -> list[Blocks]:
    """The input, then the answer."""
    said = Row(Content(shorten(trial.said, 400)), Content.styled("input   ", ".quiet"), Content(" " * 8))
    return [Blocks([said, Row(EMPTY), *_answer(template, prediction)])]


def _answer(template: Template, prediction: Mapping[str, Any]) -> list[Block]:
    found = prediction["prediction"]
    if chances := prediction.get("probabilities"):
        chosen = {next(iter(chances))} if template.kind == "score" else set(found if template.several else [found])
        return bars(chances, chosen)
    if template.schema:
        return list(plain_rows(printable(json.dumps(found, ensure_ascii=False, indent=2))))
    return list(plain_rows(printable(str(found))))


def bars(shares: Mapping[str, float], marked: set[str]) -> list[Block]:
    """A line for each name, those that are `marked` with a mark."""
    cells = min(WIDEST_NAME, max(map(cell_width, shares)))
    lines: list[Block] = []
    for name, share in shares.items():
        told = shorten(name, cells)
        label = Content.styled("▌" if name in marked else " ", "$accent") + Content(
            f"{told}{' ' * (cells - cell_width(told))}  "
        )
        lines.append(Row(label + bar(share, BAR_CELLS) + Content(f" {percent(share)}")))
    return lines
