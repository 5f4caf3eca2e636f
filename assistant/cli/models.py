"""`assistant models`: list, pull, add, remove and describe."""

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.output import as_json, human_bytes, print_json, print_table
from assistant.errors import ModelError, PullStopped
from assistant.paths import Paths

if TYPE_CHECKING:
    from assistant.engine.models.catalogue import InstalledModel, Model
    from assistant.engine.models.download import Progress


@click.group("models")
def command() -> None:
    """List, pull, add, remove and describe models."""


@command.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List the models here, the servers added, and what the catalogue has."""
    from assistant.engine.hardware import machine
    from assistant.engine.models import catalogue

    paths, here = Paths.from_environment().create(), machine.look()
    known = {model.name: model for model in catalogue.CATALOGUE}
    rows: list[dict[str, Any]] = []
    for model in catalogue.installed(paths):
        size = sum(model.files.values())
        rows.append(
            {"name": model.name, "state": "here", "bytes": size, "licence": model.licence, "about": model.source}
        )
    rows += [
        {"name": one.name, "state": "server", "bytes": 0, "licence": "", "about": f"{one.model} at {one.url}"}
        for one in catalogue.remotes(paths)
    ]
    present = {row["name"] for row in rows}
    for row in rows:
        if row["name"] in known:
            row["about"] = known[row["name"]].description
    rows += [
        {
            "name": model.name,
            "state": "can be pulled" if catalogue.fits(model, here) else "too large here",
            "bytes": model.download_bytes,
            "licence": model.licence,
            "about": model.description,
        }
        for model in catalogue.CATALOGUE
        if model.name not in present
    ]
    if as_json:
        print_json(rows)
        return
    table = [
        [row["name"], row["state"], human_bytes(row["bytes"]) if row["bytes"] else "", row["licence"], row["about"]]
        for row in rows
    ]
    print_table(table, ["name", "state", "size", "licence", "about"])


@command.command("pull")
@click.argument("name", default="")
@as_json
def pull(name: str, as_json: bool) -> None:
    """Pull a model of the catalogue. Ctrl-C stops; the next pull goes on from there."""
    from assistant.engine.models import catalogue

    paths = Paths.from_environment().create()
    model = pull_with_progress(paths, catalogue.known(name or catalogue.DEFAULT))
    if as_json:
        print_json(_described(model))
    else:
        use = "log search --by meaning 'a question'" if model.embeds else f"ask -m {model.name} 'Hello'"
        click.echo(f"{model.name} is here. Try: assistant {use}", err=True)


@command.command("add")
@click.argument("name")
@click.option("--url", default="", help="Address of an OpenAI-compatible server, such as http://localhost:8000/v1.")
@click.option("--model", default="", help="The model's name on that server; NAME where not given.")
@click.option("--key-env", default="", help="Environment variable that holds the server's key.")
@click.option("--ask-key", is_flag=True, help="Ask for the key and keep it in the system's keyring.")
@click.option("--path", type=click.Path(path_type=Path), help="A model folder or .gguf file on this machine.")
@as_json
def add(name: str, url: str, model: str, key_env: str, ask_key: bool, path: Path | None, as_json: bool) -> None:
    """Add a server elsewhere, or a folder or GGUF file here, as model NAME."""
    from assistant.engine.models import catalogue
    from assistant.engine.models.catalogue import Remote

    if bool(url) == bool(path):
        raise ModelError("Give either --url (a server) or --path (a folder or .gguf file).")
    paths = Paths.from_environment().create()
    if path is not None:
        added: Any = catalogue.add_path(paths, name, path)
        described = _described(added)
    else:
        if ask_key:
            catalogue.keep_key(name, click.prompt("Key", hide_input=True, err=True))
        remote = Remote(name, url.rstrip("/"), model or name, key_env, ask_key)
        catalogue.add_remote(paths, remote)
        described = {"name": name, "url": remote.url, "model": remote.model}
    if as_json:
        print_json(described)
    else:
        click.echo(f"{name} is a model now. Try: assistant ask -m {name} 'Hello'", err=True)


@command.command("remove")
@click.argument("name")
@as_json
def remove(name: str, as_json: bool) -> None:
    """Take a model off this machine. Files that lie elsewhere stay."""
    from assistant.engine.models import catalogue

    freed = catalogue.remove(Paths.from_environment().create(), name)
    if as_json:
        print_json({"name": name, "freed_bytes": freed})
    else:
        click.echo(f"{name} is removed, {human_bytes(freed)} freed.", err=True)


@command.command("info")
@click.argument("name")
@as_json
def info(name: str, as_json: bool) -> None:
    """Describe one model: where it lies, where it came from, what it needs."""
    from assistant.engine.hardware import machine
    from assistant.engine.models import catalogue
    from assistant.engine.models.catalogue import Remote
    from assistant.errors import ModelUnknown

    paths = Paths.from_environment().create()
    described: dict[str, Any] = {}
    try:
        found = catalogue.find(paths, name)
        if isinstance(found, Remote):
            described = {"name": found.name, "url": found.url, "model": found.model, "key_env": found.key_env}
        else:
            described = _described(found)
    except ModelUnknown:
        catalogue.known(name)  # raises unless the catalogue has it
    for model in catalogue.CATALOGUE:
        if model.name == name:
            described = {**_from_catalogue(model), "fits": catalogue.fits(model, machine.look()), **described}
    if as_json:
        print_json(described)
        return
    for field, value in described.items():
        shown = human_bytes(value) if field.endswith("_bytes") else value
        click.echo(f"{field.removesuffix('_bytes').replace('_', ' '):<16}{shown}")


def _described(model: "InstalledModel") -> dict[str, Any]:
    return {
        "name": model.name,
        "folder": str(model.folder),
        "source": model.source,
        "licence": model.licence,
        "size_bytes": sum(model.files.values()),
    }


def _from_catalogue(model: "Model") -> dict[str, Any]:
    return {
        "name": model.name,
        "description": model.description,
        "parameters": model.parameters,
        "context_tokens": model.context_tokens,
        "licence": model.licence,
        "download_bytes": model.download_bytes,
        "memory_bytes": model.memory_bytes,
    }


def pull_with_progress(paths: Paths, model: "Model") -> "InstalledModel":
    """Pull `model`, telling on stderr how it goes: one line on a terminal, a line a tenth elsewhere.

    Ctrl-C stops it and says how to go on.
    """
    from assistant.engine.models import fetch

    stop = threading.Event()
    line = _ProgressLine(sys.stderr.isatty())
    try:
        return fetch.pull(paths, model, line.show, stop.is_set)
    except KeyboardInterrupt:
        line.end()
        raise PullStopped(f"Stopped. Go on with: assistant models pull {model.name}") from None
    finally:
        line.end()


class _ProgressLine:
    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._tenth = -1
        self._open = False

    def show(self, progress: "Progress") -> None:
        text = progress.stage
        if progress.total_bytes and progress.done_bytes:
            text += f"  {human_bytes(progress.done_bytes)} of {human_bytes(progress.total_bytes)}"
        if progress.bytes_per_s:
            text += f"  {human_bytes(progress.bytes_per_s)}/s"
        if progress.left_s is not None:
            text += f"  {progress.left_s:.0f} s left"
        if self._terminal:
            click.echo(f"\r\x1b[K{text}", nl=False, err=True)
            self._open = True
            return
        tenth = int(10 * progress.done_bytes / progress.total_bytes) if progress.total_bytes else 0
        if tenth != self._tenth:
            self._tenth = tenth
            click.echo(text, err=True)

    def end(self) -> None:
        if self._open:
            click.echo("\r\x1b[K", nl=False, err=True)
            self._open = False
