"""`assistant doctor`: is everything there, and if not, what to do."""

import locale
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import click

from assistant.cli.output import as_json, counted, human_bytes, print_json
from assistant.errors import AssistantError
from assistant.paths import Paths
from assistant.safe_text import printable


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what was seen, and what to do unless it is fine."""

    check: str
    seen: str
    advice: str = ""

    @property
    def ok(self) -> bool:
        return not self.advice


@click.command("doctor")
@as_json
def command(as_json: bool) -> None:
    """Check this machine, the models and the log; say what to do where something is amiss.

    Leaves with 1 if anything is.
    """
    findings = []
    for finding in _findings(Paths.from_environment()):
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        print_json([{**asdict(finding), "ok": finding.ok} for finding in findings])
    if not all(finding.ok for finding in findings):
        raise click.exceptions.Exit(1)


def _print(finding: Finding) -> None:
    mark = click.style("ok ", fg="green") if finding.ok else click.style("!! ", fg="yellow")
    click.echo(f"{mark} {finding.check:<11} {printable(finding.seen, newlines=False)}")
    if finding.advice:
        click.echo(f"    {'':<11} -> {finding.advice}")


def _findings(paths: Paths) -> Iterator[Finding]:
    checks: list[tuple[str, Callable[[Paths], Iterator[Finding]]]] = [
        ("python", _python),
        ("torch", _torch),
        ("compiler", _compiler),
        ("memory", _memory),
        ("disk", _disk),
        ("settings", _settings),
        ("templates", _templates),
        ("models", _models),
        ("log", _log),
        ("terminal", _terminal),
    ]
    for name, check in checks:
        try:
            yield from check(paths)
        except AssistantError as error:
            yield Finding(name, "not usable", str(error))


def _python(_paths: Paths) -> Iterator[Finding]:
    seen = f"{sys.version.split()[0]} at {sys.executable}"
    yield Finding("python", seen, "" if sys.version_info >= (3, 11) else "Install Python 3.11 or newer.")


def _torch(_paths: Paths) -> Iterator[Finding]:
    """Asked in a process of its own: the commands never load torch."""
    script = (
        "import torch; c = torch.cuda; "
        "print(torch.__version__); print(c.get_device_name(0) if c.is_available() else 'cpu', torch.get_num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) < 2:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        yield Finding("torch", reason, "Install it again: pip install --force-reinstall torch")
        return
    yield Finding("torch", lines[0])
    device, _, threads = lines[1].rpartition(" ")
    yield Finding("device", f"{device}, {threads} CPU threads")


def _compiler(_paths: Paths) -> Iterator[Finding]:
    from assistant.engine.hardware import compiler

    command = compiler.compiler()
    if command and shutil.which(command[0]):
        yield Finding("compiler", " ".join(command))
    else:
        seen = f"{command[0]!r} (from CC) is not there" if command else "there is no C compiler"
        yield Finding("compiler", f"{seen}: replies and training are slower", compiler.ADVICE)


def _memory(_paths: Paths) -> Iterator[Finding]:
    from assistant.engine.hardware import machine

    here = machine.look()
    seen = f"{human_bytes(here.free_ram_bytes)} free of {human_bytes(here.ram_bytes)}"
    enough = here.free_ram_bytes > 1_500_000_000
    yield Finding("memory", seen, "" if enough else "Close other programs: the default model needs 1.5 GB.")


def _disk(paths: Paths) -> Iterator[Finding]:
    paths.create()
    free = shutil.disk_usage(paths.data).free
    writable = os.access(paths.data, os.W_OK) and os.access(paths.config, os.W_OK)
    advice = "" if free > 500_000_000 else "Free some disk space: the default model needs 300 MB."
    if not writable:
        advice = f"Make {paths.data} and {paths.config} writable, or set ASSISTANT_HOME to a folder that is."
    yield Finding("disk", f"{human_bytes(free)} free in {paths.data}", advice)


def _settings(paths: Paths) -> Iterator[Finding]:
    from assistant import settings

    settings.load(paths.config_file)
    there = paths.config_file.exists()
    yield Finding("settings", str(paths.config_file) if there else "none, the defaults hold")


def _templates(paths: Paths) -> Iterator[Finding]:
    from prompts.library import Library

    library = Library(paths.templates)
    yield Finding("templates", f"{len(library.templates())} usable")
    for problem in library.problems():
        yield Finding("template", str(problem), "Mend the file or move it away; the others still work.")


def _models(paths: Paths) -> Iterator[Finding]:
    from assistant.engine.models import catalogue

    models = catalogue.installed(paths)
    if not models:
        yield Finding("models", "none", f"Pull one: assistant models pull {catalogue.DEFAULT}")
    for model in models:
        try:
            catalogue.verify(model)
        except AssistantError as error:
            yield Finding("model", model.name, str(error))
        else:
            yield Finding("model", model.name)


def _log(paths: Paths) -> Iterator[Finding]:
    if not paths.database.exists():
        yield Finding("log", "none yet")
        return
    from assistant.store import conversations
    from assistant.store.database import check, open_database

    db = open_database(paths.database)
    troubles = check(db)
    count = conversations.count(db)
    db.close()
    advice = f"Set it aside and recover it: open `assistant`. First trouble: {troubles[0]}" if troubles else ""
    yield Finding("log", f"{counted(count, 'conversation')}, {human_bytes(paths.database.stat().st_size)}", advice)


def _terminal(_paths: Paths) -> Iterator[Finding]:
    if not sys.stdout.isatty():
        yield Finding("terminal", "none: output goes to a file or a pipe")
        return
    size = shutil.get_terminal_size()
    term = os.environ.get("TERM", "")
    colours = "no colours" if os.environ.get("NO_COLOR") else os.environ.get("COLORTERM", "256 colours")
    seen = f"{term or 'unknown'}, {size.columns}x{size.lines}, {colours}, {locale.getpreferredencoding(False)}"
    advice = ""
    if term in ("", "dumb", "unknown"):
        advice = "Set TERM, for example: export TERM=xterm-256color"
    elif "utf" not in locale.getpreferredencoding(False).lower():
        advice = "Use a UTF-8 locale, for example: export LANG=C.UTF-8"
    elif size.columns < 60 or size.lines < 20:
        advice = "Make the window at least 60 columns by 20 lines."
    yield Finding("terminal", seen, advice)
