"""`assistant prompts lint` with the real model's tokens."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from assistant.paths import Paths

pytestmark = [pytest.mark.slow, pytest.mark.shared_engine]

LONG = "word " * 9000
FILES = {
    "unknown": "---\nkind: chat\n---\n# system\n{{ nobody }}\n",
    "unused": "---\nkind: chat\ninputs:\n  a: x\n---\n# system\nhi\n",
    "output": "---\nkind: chat\ninputs:\n  output: x\n---\n# system\n{{ output }}\n",
    "alike": "---\nkind: label\nlabels:\n  good: A\n  fine: A lot\n  bad: 龘\n---\n# user\n{{ input }}\n",
    "hot": "---\nkind: text\nsampling: {temprature: 1}\n---\n# user\n{{ input }}\n",
    "long": "---\nkind: text\nexamples:\n  - {input: a, output: " + LONG + "}\n---\n# user\n{{ input }}\n",
    "rule": "---\nkind: label\nlabels: [A, B]\nreasoning: {answer: '#(.)'}\nexamples:\n"
    "  - {input: a, reasoning: Hm., output: A}\n---\n# user\n{{ input }}\n",
    "cold": "---\nkind: text\nreasoning: {votes: 3}\nsampling: {temperature: 0}\ndata: none.jsonl\n"
    "---\n# user\n{{ input }}\n",
    "sound": "---\nkind: label\nlabels: ['yes', 'no']\n---\n# user\n{{ input }}\n",
}
SAID = [
    "unknown.md:5: error: # system uses nobody, which inputs does not declare.",
    "unused.md:4: error: no section uses the input a; remove it.",
    "output.md:4: error: 'output' can't be the name of an input.",
    "alike.md:4: warning: 'A' and 'A lot' begin with the same token 'A'.",
    "alike.md:6: warning: the model spells '龘' in parts of characters; it hardly knows it.",
    "hot.md:3: error: ",
    "long.md:3: error: with its examples the prompt has ",
    "rule.md:5: error: the rule of reasoning reads '' in the example 'Hm. A'.",
    "cold.md:4: error: at temperature 0 all 3 votes would be the same.",
    "cold.md:5: error: the labelled set none.jsonl is not there.",
]


def lint(*words: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "assistant", "prompts", "lint", *words]
    return subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)


def test_everything_wrong_is_named_with_its_place(real_home: Paths, tmp_path: Path) -> None:
    assert real_home.models.exists()
    for name, text in FILES.items():
        (tmp_path / f"{name}.md").write_text(text, encoding="utf-8")
    ran = lint(*(str(tmp_path / f"{name}.md") for name in FILES))
    lines = ran.stdout.replace(f"{tmp_path}/", "").splitlines()
    assert [one for one in SAID if not any(line.startswith(one) for line in lines)] == [], lines
    assert len(lines) == len(SAID), lines
    assert "9 templates: 8 errors, 2 warnings." in ran.stderr
    assert ran.returncode == 1


def test_built_in_ones_are_without_error(real_home: Paths) -> None:
    assert real_home.models.exists()
    names = ("sentiment", "entities", "commonsense-steps", "yes-no-question", "interest-zh", "summary")
    ran = lint(*names, "--json")
    assert [row for row in json.loads(ran.stdout) if row["error"]] == []
    assert ran.returncode == 0


@pytest.mark.usefixtures("real_home")
def test_a_name_that_is_not_there_and_none_of_ones_own() -> None:
    assert "Did you mean sentiment" in lint("sentment").stderr
    ran = lint()
    assert (ran.returncode, ran.stdout) == (0, "")
