"""A test of a template kept, and compared with the one before it."""

from typing import TYPE_CHECKING, Any

import click

from assistant.cli.opened_log import opened_log

if TYPE_CHECKING:
    from assistant.store.template_tests import TemplateTest


def keep(result: "TemplateTest") -> dict[str, Any] | None:
    """The difference to the last test with something else, over the same rows in pairs; None where there is none."""
    from assistant.store import template_tests

    with opened_log() as db:
        before = template_tests.earlier(db, result)
        template_tests.add(db, result)
    return _compared(result, before) if before else None


def tell(compared: dict[str, Any] | None) -> None:
    """One line of it."""
    if compared:
        click.echo(f"\nagainst {compared['against']}: {difference(compared)}: {verdict(compared)}")


def difference(compared: dict[str, Any]) -> str:
    """`+0.100 (-0.050 to +0.250)`"""
    return f"{compared['difference']:+.3f} ({compared['low']:+.3f} to {compared['high']:+.3f})"


def verdict(compared: dict[str, Any]) -> str:
    """A tie is no win: the whole interval must lie on one side."""
    return "better" if compared["low"] > 0 else "worse" if compared["high"] < 0 else "no difference is shown"


def _compared(test: "TemplateTest", before: "TemplateTest") -> dict[str, Any]:
    from datetime import datetime

    from prompts.metrics import paired

    difference, low, high = paired(before.values, test.values)
    changed = [
        f"template {before.template_hash[:8]}" if before.template_hash != test.template_hash else "",
        before.model if before.model != test.model else "",
        (before.adapter or "no adapter") if before.adapter != test.adapter else "",
        "other settings" if before.settings != test.settings else "",
    ]
    when = datetime.fromtimestamp(before.done_ms / 1000).strftime("%Y-%m-%d %H:%M")
    against = f"{', '.join(filter(None, changed))} on {when}"
    return {"against": against, "difference": difference, "low": low, "high": high}
