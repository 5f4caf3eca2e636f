"""`finetune report`: write a run's report as an HTML page with plots."""

import json
from pathlib import Path

import click


@click.command()
@click.argument("run")
@click.option("--open", "open_it", is_flag=True, help="Open the page in the browser.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File; default: in the run's folder.")
@click.option("--language", type=click.Choice(["en", "zh"]), help="Language of the page; default: the locale's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(run: str, open_it: bool, out: Path | None, language: str | None, as_json: bool) -> None:
    """Write a run's report as an HTML page that works offline.

    It shows loss, held-out loss, learning rate and speed by step, and after `finetune eval` the differences from the
    base with 95 % intervals.
    """
    from assistant.cli.opened_log import opened_log
    from assistant.paths import Paths
    from finetune.prove.report import texts

    paths = Paths.from_environment().create()
    chosen = texts.LANGUAGES[language] if language else texts.of_environment()
    with opened_log() as db:
        from finetune.prove.report import html_page

        file = html_page.write(db, paths, run, chosen, out).absolute()
    opened = open_it and in_browser(file)
    if as_json:
        click.echo(json.dumps({"run": run, "file": str(file), "opened": opened}, ensure_ascii=False))
        return
    click.echo(f"The report is {file}.")
    if open_it and not opened:
        click.echo("No browser could be started. Open the file in one.")


def in_browser(file: Path) -> bool:
    """Open the file in a graphical browser; whether there is one. A text browser would draw over this program."""
    import os
    import sys
    import webbrowser

    windows = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME")
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in windows):
        return False
    return webbrowser.open(file.as_uri())
