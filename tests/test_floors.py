"""The floors of the house, on the real import graph: imports go down, never up, never between engine and store."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = [
    ("prompts", 1),
    ("assistant.safe_text", 0),
    ("assistant.errors", 0),
    ("assistant.ratings", 0),
    ("assistant.events", 0),
    ("assistant.growing", 0),
    ("assistant.shades", 0),
    ("assistant.paths", 0),
    ("assistant.locks", 0),
    ("assistant.settings", 0),
    ("assistant.engine", 2),
    ("assistant.store", 2),
    ("assistant.adapters", 2),
    ("assistant.wire", 3),
    ("assistant.client", 3),
    ("assistant.dialogue", 3),
    ("assistant.redaction", 1),
    ("assistant.tasks", 3),
    ("assistant.meaning_index", 3),
    ("assistant.server", 3),
    ("finetune.cli", 4),
    ("finetune.__main__", 4),
    ("finetune", 3),
    ("assistant.tui", 4),
    ("assistant.cli", 4),
    ("assistant.__main__", 4),
]
SIDEWAYS = {
    ("assistant.engine", "assistant.store"),
    ("assistant.store", "assistant.engine"),
    ("assistant.store", "assistant.adapters"),
    ("assistant.adapters", "assistant.engine"),
}


ROOMS = ["data", "network", "lineage", "prove", "train", ("export", "watch", "teach"), "cli"]
"""Of finetune: a room imports those before it. What lies beside the rooms is for all of them, or made of them."""


def floor(module: str) -> tuple[str, int]:
    """(room, floor) of a module of ours."""
    for room, level in FLOORS:
        if module == room or module.startswith(room + "."):
            return room, level
    return module, 0  # the package `assistant` itself: its version


def modules() -> dict[str, Path]:
    files = [file for package in ("assistant", "prompts", "finetune") for file in (ROOT / package).rglob("*.py")]
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports(file: Path) -> set[str]:
    """Our modules that `file` imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in names if name.split(".")[0] in ("assistant", "prompts", "finetune")}


def test_every_module_has_a_floor() -> None:
    rooms = {room for room, _ in FLOORS}
    homeless = [name for name in modules() if floor(name)[0] not in rooms and name != "assistant"]
    assert not homeless


def test_imports_go_down() -> None:
    wrong = []
    for name, file in modules().items():
        room, level = floor(name)
        for target in imports(file):
            other, below = floor(target)
            if room != other and (below > level or (room, other) in SIDEWAYS):
                wrong.append(f"{name} imports {target}")
    assert not wrong


def test_rooms_of_finetune_follow_one_another() -> None:
    order = {room: place for place, one in enumerate(ROOMS) for room in ((one,) if isinstance(one, str) else one)}
    wrong = []
    for name, file in modules().items():
        here = order.get([*name.split("."), ""][1]) if name.startswith("finetune.") else None
        for target in imports(file):
            there = order.get(target.split(".")[1]) if target.startswith("finetune.") else None
            if here is not None and there is not None and there > here:
                wrong.append(f"{name} imports {target}")
    assert not wrong


@pytest.mark.parametrize(
    "module",
    [
        "assistant.tui.app",
        "assistant.tui.train.screen",
        "assistant.cli.ask",
        "assistant.client",
        "assistant.dialogue",
        "assistant.store",
        "assistant.adapters.speakers",
        "finetune.cli.data",
        "finetune.data.dataset",
    ],
)
def test_torch_stays_unloaded(module: str) -> None:
    script = f"import {module}, sys; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_who_speaks_is_decided_by_the_standard_library_and_pydantic() -> None:
    """The engine process asks at each request, before its imports are done."""
    script = (
        "import assistant.adapters.speakers, sys; "
        "print([m for m in ('torch', 'numpy', 'safetensors', 'sqlite_utils') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from assistant.cli.group import run; run(['--help']); "
        "print([m for m in ('torch', 'transformers', 'textual', 'httpx', 'sqlite_utils') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_screen_is_painted_before_the_log_is_opened() -> None:
    """The first paint waits for these imports; sqlite_utils brings pandas and numpy along where they are installed."""
    script = (
        "import assistant.tui.app, sys; "
        "print([m for m in ('sqlite_utils', 'numpy', 'pydantic', 'httpx', 'jinja2', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
