"""Adapters with where they come from, as lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlite_utils import Database
from textual.content import Content

from assistant.safe_text import printable
from assistant.store.training import adapters, runs
from assistant.store.training.adapters import StoredAdapter
from assistant.tui.dialogs.pick import Choice
from assistant.tui.training.words import METHODS


@dataclass(frozen=True, slots=True)
class AdapterRow:
    """An adapter in the list of models, under its base."""

    model: str
    name: str
    hash: str
    about: str
    in_use: bool

    @property
    def line(self) -> Content:
        """As it is listed."""
        told = printable(self.about.removeprefix("in use · "), newlines=False)
        used = Content.styled("in use", "$accent") + " · " if self.in_use else Content("")
        return Content(f"  └ {printable(self.name, newlines=False)}  ") + used + Content.styled(told, "$foreground 60%")


def adapter_rows(db: Database, model: str) -> list[AdapterRow]:
    """The adapters that were registered for a model, the newest first."""
    used = adapters.in_use(db, model)
    return [
        AdapterRow(model, one.name, one.hash, lineage(db, one), used is not None and used.hash == one.hash)
        for one in adapters.every(db, model)
    ]


def adapter_choices(db: Database, model: str, names: Sequence[str]) -> list[Choice]:
    """A choice for each adapter of `names`, the newest first, those that nobody registered last."""
    known = {one.name: one for one in adapters.every(db, model)}
    registered = [name for name in known if name in names]
    choices = [Choice(name, name, lineage(db, known[name])) for name in registered]
    return choices + [Choice(name, name, "not trained here") for name in names if name not in known]


def lineage(db: Database, adapter: StoredAdapter) -> str:
    """Whether it is in use, its dataset, method and run, what it did to its main measure, and when it was made."""
    used = adapters.in_use(db, adapter.model)
    when = datetime.fromtimestamp(adapter.created_ms / 1000).strftime("%Y-%m-%d %H:%M")
    run = runs.by_id(db, adapter.run_id)
    main = runs.proof(db, adapter.run_id, adapter.hash)
    dataset = adapter.lineage.get("dataset", {}).get("name", "")
    method = adapter.lineage.get("settings", {}).get("method", "")
    told = [
        "in use" if used and used.hash == adapter.hash else "",
        f"from {dataset}" if dataset else "",
        METHODS.get(method, ""),
        f"run {run.name}" if run and run.name != adapter.name else "",
        f"{main['name']} {main['base']:.3g} to {main['adapted']:.3g}" if main else "not evaluated",
        when,
    ]
    return " · ".join(filter(None, told))
