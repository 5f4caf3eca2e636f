"""Markdown as blocks of rows: CommonMark with tables and strikethrough, read by markdown-it.

HTML is shown as it was written, links and images as text with their address: nothing is opened or fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from textual.content import Content, Span

from assistant.safe_text import printable
from assistant.tui.widgets.rows import EMPTY, TAB_CELLS, Block, Line, Row, Rule, Table

if TYPE_CHECKING:  # the first frame has no Markdown: they are imported when some is there
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

_BULLETS = "•◦▪"
_QUOTE_BAR = Content.styled("▎ ", ".quiet")
_CODE_PADDING = Content(" ")
_MOST_HIGHLIGHTED_CHARACTERS = 100_000
"""Longer code stays plain: Pygments reads about 0.3 MB a second here."""


@dataclass(slots=True)
class Fence:
    """A block of code, highlighted when it is first laid out."""

    code: str
    language: str
    first: Content = EMPTY
    rest: Content = EMPTY
    _rows: list[Row] = field(default_factory=list, compare=False, repr=False)

    def lines(self, width: int) -> Sequence[Line]:
        if not self._rows:
            contents = highlighted(self.code.expandtabs(TAB_CELLS), self.language).split("\n", allow_blank=True) or [
                EMPTY
            ]
            rest = self.rest + _CODE_PADDING
            self._rows = [Row(content, rest, rest, ".code", words=False) for content in contents]
            self._rows[0].first = self.first + _CODE_PADDING
        return [line for row in self._rows for line in row.lines(width)]


def render(source: str) -> list[Block]:
    """The blocks of a whole text."""
    return stack(parse(source), EMPTY, EMPTY)


def parse(source: str) -> list[SyntaxTreeNode]:
    """The top-level nodes of a text; `map` of each holds its first line and the line after its last."""
    from markdown_it.tree import SyntaxTreeNode

    return SyntaxTreeNode(_parser().parse(source)).children


def code_blocks(source: str) -> list[str]:
    """The text of each code block, first to last."""
    return [token.content for token in _parser().parse(source) if token.type in ("fence", "code_block")]


def stack(nodes: Iterable[SyntaxTreeNode], first: Content, rest: Content, *, nested: bool = False) -> list[Block]:
    """The blocks of `nodes` under each other, behind `first` and then `rest`, with an empty line between.

    Nested, a list stands directly under what introduces it.
    """
    blocks: list[Block] = []
    for node in nodes:
        if blocks and not (nested and node.type.endswith("_list")):
            blocks.append(gap(rest))
        blocks += block(node, rest if blocks else first, rest)
    return blocks


def gap(indent: Content = EMPTY) -> Row:
    """An empty line."""
    return Row(EMPTY, indent, indent)


def block(node: SyntaxTreeNode, first: Content, rest: Content) -> list[Block]:
    """The blocks of one node."""
    make = _MAKERS.get(node.type)
    return make(node, first, rest) if make else [Row(Content(printable(node.content)), first, rest)]


def _paragraph(node: SyntaxTreeNode, first: Content, rest: Content) -> list[Block]:
    return [Row(inline(node.children[0]), first, rest)]


def _heading(node: SyntaxTreeNode, first: Content, rest: Content) -> list[Block]:
    style = ".title" if node.tag in ("h1", "h2") else ".heading"
    return [Row(inline(node.children[0]).stylize(style), first, rest)]


def _rule(_: SyntaxTreeNode, first: Content, _rest: Content) -> list[Block]:
    return [Rule(first)]


def _fence(node: SyntaxTreeNode, first: Content, rest: Content) -> list[Block]:
    return [Fence(node.content.removesuffix("\n"), language(node), first, rest)]


def _quote(node: SyntaxTreeNode, first: Content, rest: Content) -> list[Block]:
    return stack(node.children, first + _QUOTE_BAR, rest + _QUOTE_BAR, nested=True)


def _list(node: SyntaxTreeNode, first: Content, rest: Content) -> list[Block]:
    return items(node.children, first, rest, number=first_number(node))


def first_number(node: SyntaxTreeNode) -> int | None:
    """The number of a list's first item; None for a list with bullets."""
    return int(node.attrs.get("start", 1)) if node.type == "ordered_list" else None


def items(nodes: Sequence[SyntaxTreeNode], first: Content, rest: Content, *, number: int | None) -> list[Block]:
    """The blocks of list items that are numbered from `number`, or have bullets."""
    blocks: list[Block] = []
    for i, item in enumerate(nodes):
        mark = f" {_BULLETS[_depth(item) % len(_BULLETS)]} " if number is None else f"{number + i}. ".rjust(4)
        marked = (rest if blocks else first) + Content.styled(mark, ".mark")
        blocks += stack(item.children, marked, rest + " " * len(mark), nested=True) or [Row(EMPTY, marked, rest)]
    return blocks


def _depth(item: SyntaxTreeNode) -> int:
    """How many lists with bullets stand around the list of `item`."""
    around = item.parent.parent if item.parent else None
    depth = 0
    while around is not None:
        depth += around.type == "bullet_list"
        around = around.parent
    return depth


def _table(node: SyntaxTreeNode, first: Content, rest: Content) -> list[Block]:
    header, *rows = cells(node)
    return [Table(header, rows, first, rest, right=right_columns(node))]


def right_columns(node: SyntaxTreeNode) -> list[bool]:
    """Which columns of a table stand at the right."""
    return ["right" in str(cell.attrs.get("style", "")) for cell in node.children[0].children[0].children]


def cells(node: SyntaxTreeNode) -> list[list[Content]]:
    """The cells of a table, its header first."""
    return [[inline(cell.children[0]) for cell in row.children] for part in node.children for row in part.children]


_MAKERS: dict[str, Callable[[SyntaxTreeNode, Content, Content], list[Block]]] = {
    "paragraph": _paragraph,
    "heading": _heading,
    "hr": _rule,
    "fence": _fence,
    "code_block": _fence,
    "blockquote": _quote,
    "bullet_list": _list,
    "ordered_list": _list,
    "table": _table,
}


def language(node: SyntaxTreeNode) -> str:
    """The language that a code block names, or nothing."""
    return (node.info.split() or [""])[0]


def highlighted(code: str, language: str) -> Content:
    """`code` coloured by its language; plain where none is named, none is known, or it is very long."""
    if not language or len(code) > _MOST_HIGHLIGHTED_CHARACTERS:
        return Content(code)
    from textual.highlight import highlight

    spans = highlight(code, language=language).spans
    return Content(code, [span for span in spans if span.style != "$text"])


def inline(node: SyntaxTreeNode) -> Content:
    """The styled text of an inline node. An address follows its link where the link's text does not show it."""
    text = ""
    spans: list[Span] = []
    opened: list[tuple[int, str]] = []

    def add(piece: str, style: str = "") -> None:
        nonlocal text
        start, text = len(text), text + printable(piece)
        if style and len(text) > start:
            spans.append(Span(start, len(text), style))

    for child in (node.token.children or []) if node.token else []:
        if child.nesting == 1:
            opened.append((len(text), str(child.attrs.get("href", ""))))
        elif child.nesting == -1:
            start, address = opened.pop()
            spans.append(Span(start, len(text), _SPAN_STYLES.get(child.type, ".link")))
            if address and address != text[start:]:
                add(f" ({address})", ".quiet")
        elif child.type == "image":
            add(f"image: {child.content} ({child.attrs.get('src', '')})", ".quiet")
        elif child.type in ("softbreak", "hardbreak"):
            add("\n")
        else:
            add(child.content, ".code-inline" if child.type == "code_inline" else "")
    return Content(text, spans)


_SPAN_STYLES = {"em_close": ".em", "strong_close": ".strong", "s_close": ".strike"}


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("gfm-like", {"linkify": False, "html": False})
