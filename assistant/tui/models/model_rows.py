"""Models as lines of the models screen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.content import Content

from assistant.cli.output import duration, human_bytes
from assistant.engine.models import catalogue
from assistant.engine.models.catalogue import InstalledModel, Model, Remote
from assistant.paths import Paths
from assistant.safe_text import cell_width, printable, shorten

if TYPE_CHECKING:
    from assistant.engine.hardware.machine import Machine
    from assistant.engine.models.fetch import Progress

QUIET = "$foreground 60%"
_LONGEST_NAME_CELLS, _SIZE_CELLS, _LICENCE_CELLS = 32, 10, 12


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model. `here`: it can be used now."""

    name: str
    size: str
    licence: str
    fit: str
    about: str
    here: bool
    suggested: bool = False
    removal: str = ""
    """What removing it means."""
    embeds: bool = False
    """Whether it finds messages by meaning and can't chat."""


def model_rows(paths: Paths, machine: "Machine | None") -> list[ModelRow]:
    """What is here, then servers elsewhere, then what can be pulled. Without a machine nothing is said about fitting.

    Raises `ModelError` where a manifest is damaged.
    """
    here = catalogue.installed(paths)
    rows = [_installed(model) for model in here] + [_remote(remote) for remote in catalogue.remotes(paths)]
    names = {model.name for model in here}
    return rows + [_pullable(model, machine) for model in catalogue.CATALOGUE if model.name not in names]


def _installed(model: InstalledModel) -> ModelRow:
    known = next((one for one in catalogue.CATALOGUE if one.name == model.name), None)
    total = sum(model.files.values())
    about = f"{known.description} {_figures(known)}" if known else f"From {model.source}."
    removal = f"frees {human_bytes(total)}" if total else "its files stay where they are"
    size = human_bytes(total) if total else ""
    return ModelRow(
        model.name, size, model.licence, "installed", about, here=True, removal=removal, embeds=model.embeds
    )


def _remote(remote: Remote) -> ModelRow:
    source = f"${remote.key_env}" if remote.key_env else "the keyring" if remote.key_in_keyring else ""
    key = f", API key from {source}" if source else ""
    about = f"{remote.model} at {remote.url}{key}. What you say in its conversations is sent there."
    return ModelRow(remote.name, "", "", "on a server", about, here=True, removal="the server is not touched")


def _pullable(model: Model, machine: "Machine | None") -> ModelRow:
    fit = "" if machine is None else "fits" if catalogue.fits(model, machine) else "too large"
    suggested = model.name == (catalogue.DEFAULT if machine is None else catalogue.default_name(machine))
    if suggested and fit:
        fit = "fits, suggested"
    about = f"{model.description} {_figures(model)}"
    return ModelRow(
        model.name, human_bytes(model.download_bytes), model.licence, fit, about, False, suggested, embeds=model.embeds
    )


def _figures(model: Model) -> str:
    millions = model.parameters / 1e6
    parameters = f"{millions / 1000:.1f} billion" if millions >= 1000 else f"{millions:.0f} million"
    memory = human_bytes(model.memory_bytes)
    return f"{parameters} parameters, {model.context_tokens:,} tokens of context, about {memory} of memory."


def columns(rows: Sequence[ModelRow]) -> tuple[Content, list[Content]]:
    """(heading, lines), aligned by cells."""
    longest = max((cell_width(row.name) for row in rows), default=0)
    cells = min(longest, _LONGEST_NAME_CELLS)
    heading = _line(ModelRow("name", "size", "licence", "on this machine", "", here=True), cells, QUIET)
    return heading, [_line(row, cells, "" if row.here or row.fit != "too large" else QUIET) for row in rows]


def _line(row: ModelRow, name_cells: int, style: str) -> Content:
    name = _padded(shorten(row.name, name_cells), name_cells + 1)
    size = printable(row.size).rjust(_SIZE_CELLS) + "  "
    licence = _padded(shorten(row.licence, _LICENCE_CELLS - 1), _LICENCE_CELLS)
    line = Content.styled(f" {name}{size}{licence}", style)
    return line + Content.styled(row.fit, "$accent" if row.fit in ("installed", "on a server") else style or QUIET)


def _padded(text: str, cells: int) -> str:
    return text + " " * max(0, cells - cell_width(text))


def details(row: ModelRow) -> str:
    """What is said about the highlighted model."""
    return printable(row.about, newlines=False)


def progress_line(progress: "Progress", width: int) -> Content:
    """How far a pull is: a bar, bytes, speed and time left."""
    done, total = progress.done_bytes, progress.total_bytes
    figures = [f"{human_bytes(done)} of {human_bytes(total)}"] if total else []
    if progress.bytes_per_s:
        figures.append(f"{human_bytes(progress.bytes_per_s)}/s")
    if progress.left_s is not None and done < total:
        figures.append(f"{duration(progress.left_s)} left")
    cells = max(10, min(width, 72))
    filled = round(cells * done / total) if total else 0
    bar = Content.styled("━" * filled, "$accent") + Content.styled("─" * (cells - filled), QUIET)
    return Content(f"{printable(progress.stage)}  {' · '.join(figures)}\n") + bar
