"""Tests of templates on labelled sets, kept to be compared."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from assistant.store import templates
from assistant.store.conversations import now_ms
from assistant.store.database import execute, select, transaction


@dataclass(frozen=True, slots=True)
class TemplateTest:
    """`values` has one number for each item of the set, in order, 0 to 1."""

    template: str
    template_hash: str
    model: str
    adapter: str
    settings: Mapping[str, Any]
    data: str
    data_hash: str
    main: str
    values: list[float]
    report: Mapping[str, Any]
    done_ms: int = 0
    text: str = ""
    """Of the template; kept with the test, and not read with it."""

    @property
    def what(self) -> tuple[str, str, str, str]:
        """What was tested: another of the same is the same test once more."""
        return self.template_hash, self.model, self.adapter, json.dumps(self.settings, sort_keys=True)


COLUMNS = "template, template_hash, model, adapter, settings, data, data_hash, main, item_values, report, done_ms"


def add(db: Database, test: TemplateTest) -> None:
    """Keep one, with the time it is now."""
    texts = [json.dumps(one, ensure_ascii=False) for one in (test.settings, test.values, test.report)]
    row = (test.template, test.template_hash, test.model, test.adapter, texts[0], test.data, test.data_hash, test.main)
    with transaction(db):
        marks = ", ".join("?" * 11)
        execute(db, f"INSERT INTO template_tests ({COLUMNS}) VALUES ({marks})", (*row, *texts[1:], now_ms()))
        if test.text:
            templates.keep(db, test.template_hash, test.template, test.text)


def of(db: Database, template: str, limit: int) -> list[TemplateTest]:
    """The last tests of what had this name, the newest first."""
    rows = select(
        db, f"SELECT {COLUMNS} FROM template_tests WHERE template = ? ORDER BY id DESC LIMIT ?", (template, limit)
    )
    return [_test(row) for row in rows]


def earlier(db: Database, test: TemplateTest) -> TemplateTest | None:
    """The last test of the same template's name and measure on the same data with something else: its text, the model,
    the adapter or the settings."""
    rows = select(
        db,
        f"SELECT {COLUMNS} FROM template_tests WHERE template = ? AND data_hash = ? AND main = ? ORDER BY id DESC",
        (test.template, test.data_hash, test.main),
    )
    return next((one for one in map(_test, rows) if one.what != test.what), None)


def fitted(
    db: Database, template_hash: str, model: str, adapter: str, settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The calibration that the last test of these fitted, one for each question; empty where none did.

    Of `settings` those count that change the scores: `values` and `examples`.
    """
    rows = select(
        db,
        f"SELECT {COLUMNS} FROM template_tests WHERE template_hash = ? AND model = ? AND adapter = ? ORDER BY id DESC",
        (template_hash, model, adapter),
    )
    for test in map(_test, rows):
        alike = all(test.settings.get(key) == settings.get(key) for key in ("values", "examples"))
        if alike and "fitted" in test.report:
            found: list[dict[str, Any]] = test.report["fitted"]
            return found
    return []


def _test(row: tuple[Any, ...]) -> TemplateTest:
    template, template_hash, model, adapter, settings, data, data_hash, main, values, report, done_ms = row
    what = (template, template_hash, model, adapter, json.loads(settings), data, data_hash, main)
    return TemplateTest(*what, json.loads(values), json.loads(report), done_ms)
