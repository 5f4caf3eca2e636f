"""Jinja2, fenced in: no attributes of Python's, no endless loops, no endless output. Imported only when needed."""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from prompts.errors import InputsInvalid, PromptError

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

INPUT = "input"
"""In `# user`: what the person said."""
LABEL = "label"
"""In `# user` of a `label` template: one of its classes, which is asked about alone."""

MAX_CHARACTERS = 4_000_000
"""Longest section, rendered. Far beyond any context, far below any memory."""

MAX_ITERATIONS = 100_000
"""Pieces a section may be made of: a loop that makes more is a mistake."""


PADDING = {"center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map"}
"""Methods and filters that make a text of any length from a small one."""


@cache
def environment() -> "ImmutableSandboxedEnvironment":
    """Strict: a variable without a value is an error, never an empty text."""
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Fenced(ImmutableSandboxedEnvironment):
        """Jinja2's own fence keeps Python's insides out; this one also keeps single expressions small."""

        intercepted_binops = frozenset(["*", "**", "%"])

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "*" and any(hasattr(side, "__len__") for side in (left, right)):
                raise SecurityError("a text or list can't be multiplied in a template")
            if operator == "**" or (operator == "%" and isinstance(left, str)):
                raise SecurityError(f"the operator {operator} can't be used so in a template")
            return super().call_binop(context, operator, left, right)

        def wrap_str_format(self, value: Any) -> None:  # noqa: ARG002  no `format` at all, not a fenced one
            return None

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return attr not in PADDING and super().is_safe_attribute(obj, attr, value)

    fenced = Fenced(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for name in PADDING | {"indent", "wordwrap"}:
        fenced.filters.pop(name, None)
    return fenced


class BadSyntax(PromptError):
    """A section is not Jinja2. `line` counts from its first line, 1."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem)
        self.line = line


def variables(source: str) -> set[str]:
    """The variables that `source` needs. Raises `BadSyntax`."""
    from jinja2 import TemplateSyntaxError, meta

    try:
        return set(meta.find_undeclared_variables(environment().parse(source)))
    except TemplateSyntaxError as error:
        raise BadSyntax((error.message or "bad syntax").rstrip("."), error.lineno) from error


def fill(source: str, values: Mapping[str, str], place: str) -> str:
    """`source` with `values` put in; they are text, never read as Jinja2 themselves.

    Raises `InputsInvalid` naming `place` where the section can't be rendered within its limits.
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
