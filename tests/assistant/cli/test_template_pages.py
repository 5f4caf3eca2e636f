"""The pages about templates: the format is as the code says, and every command of the walk works."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from assistant.cli.prompts_format import reference
from assistant.paths import Paths
from prompts import template

DOCS = Path(__file__).parents[3] / "docs"


def test_the_reference_is_what_the_code_says() -> None:
    page = (DOCS / "template-format.md").read_text("utf-8")
    assert page == reference(), "assistant prompts format > docs/template-format.md"
    for name in (*template.KEYS, *template.KINDS):
        assert f"| `{name}` |" in page


def test_the_example_of_the_reference_is_a_template() -> None:
    example = re.search(r"```yaml\n(.*?)```", reference(), re.DOTALL)
    assert example
    assert template.parse(example[1], name="translate").inputs[0].default == "French"


@pytest.mark.slow
@pytest.mark.usefixtures("real_home")
def test_every_command_of_the_walk_works(tmp_path: Path) -> None:
    walk = re.findall(r"```sh\n(.*?)```", (DOCS / "templates.md").read_text("utf-8"), re.DOTALL)
    script = f'set -e\nassistant() {{ {sys.executable} -m assistant "$@"; }}\n' + "".join(walk)
    ran = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "no difference is shown" in ran.stdout, "as the page says"
    with (tmp_path / "sorted.csv").open(newline="") as file:
        assert [row["prediction"] for row in csv.DictReader(file)] == ["delivery", "billing"]


def test_a_file_that_is_not_there(home: Paths) -> None:  # noqa: ARG001
    ran = subprocess.run(
        [sys.executable, "-m", "assistant", "run", "./none.md", "-i", "x.txt"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "none.md: can't be read" in ran.stderr
