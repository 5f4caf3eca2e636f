"""Sandboxed Jinja2 with limits of time, output and Python access. Jinja2 is imported only when needed."""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from prompts.errors import InputsInvalid, PromptError

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

INPUT = "input"
"""Variable in `# user`: the person's message."""
LABEL = "label"
"""Variable in `# user` of a `label` template: the class that is asked about."""

MAX_CHARACTERS = 4_000_000
"""Largest length of a rendered section; beyond any context, but far below the memory."""

MAX_ITERATIONS = 100_000
"""Most pieces that a section renders to: a loop that makes more is a mistake."""


PADDING = {"center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map"}
"""Methods and filters that can make long texts from short ones."""


@cache
def environment() -> "ImmutableSandboxedEnvironment":
    """The environment; undefined variables are errors."""
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Fenced(ImmutableSandboxedEnvironment):
        """Jinja2's sandbox with further limits on single expressions."""

        intercepted_binops = frozenset(["*", "**", "%"])

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "*" and any(hasattr(side, "__len__") for side in (left, right)):
                raise SecurityError("a text or list can't be multiplied in a template")
            if operator == "**" or (operator == "%" and isinstance(left, str)):
                raise SecurityError(f"the operator {operator} can't be used so in a template")
            return super().call_binop(context, operator, left, right)

        def wrap_str_format(self, value: Any) -> None:  # noqa: ARG002  forbids `format` altogether
            return None

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return attr not in PADDING and super().is_safe_attribute(obj, attr, value)

    fenced = Fenced(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for name in PADDING | {"indent", "wordwrap"}:
        fenced.filters.pop(name, None)
    return fenced


class BadSyntax(PromptError):
    """A section is not valid Jinja2. `line`: from 1, within the section."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem)
        self.line = line


def variables(source: str) -> set[str]:
    """Variables that `source` uses. Raises `BadSyntax`."""
    from jinja2 import TemplateSyntaxError, meta

    try:
        return set(meta.find_undeclared_variables(environment().parse(source)))
    except TemplateSyntaxError as error:
        raise BadSyntax((error.message or "bad syntax").rstrip("."), error.lineno) from error


def fill(source: str, values: Mapping[str, str], place: str) -> str:
    """`source` with `values` inserted as text, not as Jinja2.

    Raises `InputsInvalid` with `place` if the section fails to render or exceeds its limits.
    """
    from jinja2 import TemplateError

    pieces, length = [], 0
    try:
        for count, piece in enumerate(_compiled(source).generate(**values)):
            length += len(piece)
            if length > MAX_CHARACTERS + sum(map(len, values.values())) or count > MAX_ITERATIONS:
                raise InputsInvalid(f"{place} renders to more than {MAX_CHARACTERS:,} characters. Shorten its loops.")
            pieces.append(piece)
    except (TemplateError, TypeError, ValueError, ArithmeticError, OverflowError, MemoryError) as error:
        raise InputsInvalid(f"{place} can't be rendered: {error}") from error
    return "".join(pieces)


@lru_cache(128)
def _compiled(source: str) -> "Template":
    return environment().from_string(source)
