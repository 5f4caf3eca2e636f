"""The ratings stand in one place: another is a line there and a step that adds it to the log."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from assistant import ratings

ROOT = Path(__file__).parents[2]
FILES = [file for package in ("assistant", "finetune") for file in sorted((ROOT / package).rglob("*.py"))]

UNSURE = """
import io, json
from collections import Counter
from contextlib import redirect_stdout
from assistant import ratings
ratings.EVERY = (*ratings.EVERY, ratings.Rating(2, "unsure", "?"))

from assistant.cli import group
from assistant.paths import Paths
from assistant.store import conversations, messages
from assistant.store.judgements import curation
from assistant.store.database import open_database
from assistant.store.search.filter import Filter
from assistant.tui import views
from assistant.tui.judging import acts
from finetune.data import select

db = open_database(Paths.from_environment().create().database)
one = conversations.create(db, model="m").id
asked = messages.add_user(db, one, None, "hello")
reply = messages.begin_reply(db, one, asked, messages.Provenance("m", "plain", "h", "t", {}, 1))
messages.end_reply(db, reply, "good day", "complete", messages.Outcome())


def run(*arguments):
    with redirect_stdout(io.StringIO()) as out:
        assert group.run(list(arguments)) == 0
    return out.getvalue()


assert "rating unsure" in run("log", "rate", str(reply), "unsure")
assert " ?" in run("log", "search", "--rating", "unsure")
assert json.loads(run("log", "search", "--rating", "rated", "--json"))["count"] == 1
for none in ("good", "bad", "unrated"):
    assert json.loads(run("log", "search", "--rating", none, "--json"))["count"] == 0
assert views.marks(curation.judgement(db, reply)) == ("? unsure",)
for format_ in ("kto", "preference"):
    assert "good day" not in run("log", "export", "--format", format_)
assert '"rating": 2' in run("log", "export")
for everything in (False, True):
    left = Counter()
    assert not list(select.from_log(db, select.Selection(everything=everything), left))
    assert left == {"rated unsure": 1}
assert acts.rate(db, reply, 2) == "rating cleared"
assert acts.rate(db, reply, 2) == "unsure"
"""


@pytest.mark.usefixtures("home")
def test_a_third_rating_is_given_shown_filtered_exported_and_not_learned_from() -> None:
    done = subprocess.run([sys.executable, "-c", UNSURE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_other_place_spells_them_out() -> None:
    """No table has two of their words, and no `rating` is compared with a number."""
    words = {one.word for one in ratings.EVERY} | {ratings.UNRATED, ratings.RATED}
    found = []
    for file in FILES:
        if file.name == "ratings.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            texts: list[ast.expr | None] = []
            if isinstance(node, ast.Dict):
                texts = [*node.keys, *node.values]
            elif isinstance(node, ast.Tuple | ast.List | ast.Set):
                texts = [*node.elts]
            spelled = {one.value for one in texts if isinstance(one, ast.Constant) and one.value in words}
            if {ratings.GOOD.word, ratings.BAD.word} <= spelled or (isinstance(node, ast.Compare) and _of_rating(node)):
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}")
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and COMPARED.search(node.value):
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert not found


COMPARED = re.compile(r"\brating *(=|<>|<|>|IN\b) *[-(]?\d", re.IGNORECASE)
"""In SQL."""


def _of_rating(node: ast.Compare) -> bool:
    sides = [node.left, *node.comparators]
    named = any(isinstance(one, ast.Attribute) and one.attr == "rating" for one in sides)
    return named and any(isinstance(one, ast.UnaryOp) or _is_number(one) for one in sides)


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int)
