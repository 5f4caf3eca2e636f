"""The messages that a template makes, with its variables marked, and the tokens that these became."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textual.content import Content

from assistant.events import Tokenized
from assistant.safe_text import cell_width, printable
from assistant.tui.prompts.variable_tokens import variable_tokens
from assistant.tui.widgets.page import Blocks
from assistant.tui.widgets.rows import EMPTY, Row
from prompts.tracing import Traced

TOKENS_SHOWN = 40
_VARIABLE = "$text-accent underline"


@dataclass(frozen=True, slots=True)
class Preview:
    """`tokens` is None until the model has counted, or where it can't; `untold` says why then."""

    messages: Sequence[Traced]
    tokens: Tokenized | None = None
    untold: str = ""

    @property
    def count(self) -> str:
        """`214 of 8,192 tokens`"""
        if self.tokens is None:
            return self.untold
        return f"{len(self.tokens.ids[0]):,} of {self.tokens.context_tokens:,} tokens"


def entries(preview: Preview) -> list[Blocks]:
    """The variables with their tokens, then each message."""
    shown = [_message(told) for told in preview.messages]
    if preview.tokens is not None:
        became = variable_tokens(preview.messages, preview.tokens.pieces[0])
        if became:
            shown.insert(0, _variables(became))
    return shown


def _variables(became: Mapping[str, Sequence[str]]) -> Blocks:
    names = max(map(cell_width, became)) + 2
    counts = max(len(f"{len(pieces):,}") for pieces in became.values())
    rows = []
    for name, pieces in became.items():
        figures = f"{len(pieces):>{counts},} {'token ' if len(pieces) == 1 else 'tokens'}  "
        first = Content.styled(name, _VARIABLE) + " " * (names - cell_width(name)) + Content(figures)
        rows.append(Row(_pieces(pieces), first, Content(" " * first.cell_length)))
    return Blocks([*rows, Row(EMPTY)])


def _pieces(pieces: Sequence[str]) -> Content:
    """`The ·food ·was`, apart by spaces: those inside tokens are dots. `-` begins a character that a later one ends."""
    from assistant.tui.judging.tokens import quoted

    told = Content(" ".join(quoted(piece) if piece else "-" for piece in pieces[:TOKENS_SHOWN]))
    return told + Content.styled(" …", ".quiet") if len(pieces) > TOKENS_SHOWN else told


def _message(told: Traced) -> Blocks:
    content, at = EMPTY, 0
    text = told.message.content
    for start, end, _ in told.spans:
        content += Content(printable(text[at:start])) + Content.styled(printable(text[start:end]), _VARIABLE)
        at = end
    content += Content(printable(text[at:]))
    lines = content.split("\n", allow_blank=True)
    return Blocks([Row(Content.styled(told.message.role, ".role")), *map(Row, lines), Row(EMPTY)])
