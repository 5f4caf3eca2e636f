"""Adapters with where they come from, as lines."""

from collections.abc import Sequence
from datetime import datetime

from sqlite_utils import Database

from assistant.store import adapters, runs
from assistant.store.adapters import StoredAdapter
from assistant.tui.screens.pick import Choice


def adapter_choices(db: Database, model: str, names: Sequence[str]) -> list[Choice]:
    """A choice for each adapter of `names`, the newest first, those that nobody registered last."""
    known = {one.name: one for one in adapters.every(db, model)}
    registered = [name for name in known if name in names]
    choices = [Choice(name, name, lineage(db, known[name])) for name in registered]
    return choices + [Choice(name, name, "not trained here") for name in names if name not in known]


def lineage(db: Database, adapter: StoredAdapter) -> str:
    """Dataset, run, date, what it did to the held-out perplexity, and whether it is in use."""
    used = adapters.in_use(db, adapter.model)
    when = datetime.fromtimestamp(adapter.created_ms / 1000).strftime("%Y-%m-%d %H:%M")
    dataset = adapter.lineage.get("dataset", {}).get("name", "")
    told = [
        "in use" if used and used.hash == adapter.hash else "",
        f"from {dataset}" if dataset else "",
        when,
        proved(db, adapter),
    ]
    return " · ".join(filter(None, told))


def proved(db: Database, adapter: StoredAdapter) -> str:
    """`perplexity 37.9 to 21.5`, or whichever its main measure is; that it was never evaluated."""
    main = runs.proof(db, adapter.run_id, adapter.hash)
    return f"{main['name']} {main['base']:.3g} to {main['adapted']:.3g}" if main else "not evaluated"
