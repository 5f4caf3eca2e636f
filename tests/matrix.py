"""Full tables of cases. The usual test line runs the first of a table; `pytest -m matrix` runs the others."""

from collections.abc import Iterable
from typing import Any

import pytest


def matrix(cases: Iterable[Any], always: int = 1) -> list[Any]:
    """The cases for `parametrize`: all but the first `always` have the mark `matrix`."""
    return [case if place < always else _marked(case) for place, case in enumerate(cases)]


def _marked(case: Any) -> Any:
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=pytest.mark.matrix)
