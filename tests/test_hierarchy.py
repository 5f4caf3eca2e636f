"""The shape of the code: short hierarchies of classes, and no circle of imports."""

import ast
from functools import cache
from pathlib import Path

from tests.test_floors import modules

LONGEST = 2
"""Classes of this project in one line of inheritance."""

FLAT_DATA = "assistant.server.api"
"""Requests of the API as pydantic models: their bases are lists of fields that requests share."""

Class = tuple[str, str]
"""(module, name)"""


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(files()[module].read_text(encoding="utf-8"))


@cache
def files() -> dict[str, Path]:
    return modules()


@cache
def names(module: str) -> dict[str, Class]:
    """What the imports of a module bind: name -> (module, name there)."""
    found = {}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found[alias.asname or alias.name] = (node.module, alias.name)
    return found


@cache
def classes() -> dict[Class, list[Class]]:
    """Class -> its bases, of whatever project."""
    return {
        (module, node.name): [base for one in node.bases if (base := base_of(module, one)) is not None]
        for module in files()
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ClassDef)
    }


def base_of(module: str, node: ast.expr) -> Class | None:
    """The class that a base names: `Base`, `Base[T]` or `module.Base`."""
    if isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return ".".join(names(module).get(node.value.id, (node.value.id,))), node.attr
    if isinstance(node, ast.Name):
        return names(module).get(node.id, (module, node.id))
    return None


def own(found: Class) -> Class:
    """The class itself, where a package passes it on."""
    while found not in classes() and found[0] in files() and found[1] in names(found[0]):
        found = names(found[0])[found[1]]
    return found


def line(found: Class) -> list[str]:
    """The longest line of inheritance that ends with a class, of this project's classes."""
    found = own(found)
    if found not in classes():
        return []
    return [*max((line(base) for base in classes()[found]), key=len, default=[]), found[1]]


def is_exception(found: Class) -> bool:
    found = own(found)
    if found not in classes():
        return found[1].endswith(("Exception", "Error")) or found[1] == "ClickException"
    return any(map(is_exception, classes()[found]))


def test_no_class_inherits_from_a_class_that_inherits_from_a_third() -> None:
    """Exceptions aside: each cause has a class of its own, under the class of its package."""
    seen = [one for one in classes() if not one[0].startswith(FLAT_DATA) and not is_exception(one)]
    assert len(seen) > 300
    assert not [" > ".join(line(one)) for one in seen if len(line(one)) > LONGEST]


def imported(module: str) -> set[str]:
    """Modules of this project that a module imports, inside functions and for types alone too."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {one for one in found if one in files() and one != module and not module.startswith(f"{one}.")}


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = {module: imported(module) for module in files()}
    while free := [module for module, targets in left.items() if not targets & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"these import each other: {sorted(left)}"
