"""`finetune export`: write a run's model for other programs."""

import json
import sys
from pathlib import Path

import click

FORMATS = ("peft", "safetensors", "gguf")


@click.command()
@click.argument("run")
@click.option("--format", "format_", type=click.Choice(FORMATS), required=True, help="Format to write, see above.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option(
    "--dtype",
    type=click.Choice(["bfloat16", "float16"]),
    default="bfloat16",
    show_default=True,
    help="Type of merged weights. float16 is eight times finer, but programs that compute in it may overflow.",
)
@click.option("--llama-cpp", default="", metavar="PYTHON", help="Python with llama-cpp-python, to check a GGUF file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(run: str, format_: str, out: Path, dtype: str, llama_cpp: str, as_json: bool) -> None:
    """Write a run's model for other programs: its adapter (peft), merged with its base for transformers (safetensors),
    or merged for llama.cpp and Ollama (gguf). Weights are merged in float32 and stored in 16 bits.

    The export is loaded again and its greedy tokens are compared with the run's own on prompts of the test part. The
    exit status is 1 if they differ by more than 16 bits explain.
    """
    from assistant.cli.opened_log import opened_log
    from assistant.paths import Paths

    paths = Paths.from_environment().create()
    with opened_log() as db:
        import torch

        from finetune.export import export

        def say(text: str) -> None:
            if not as_json:
                click.echo(f"… {text}", err=True)

        checks = export.export(db, paths, run, format_, out, dtype=getattr(torch, dtype), llama_cpp=llama_cpp, say=say)
    folder = out.expanduser().absolute()
    passed = all(one.passed for one in checks)
    if as_json:
        told = {"run": run, "format": format_, "folder": str(folder), "passed": passed}
        click.echo(json.dumps({**told, "checks": [one.as_json() for one in checks]}, ensure_ascii=False))
    else:
        for one in checks:
            click.echo(one.sentence)
        _tell_use(run, format_, folder)
    if not passed:
        sys.exit(1)


def _tell_use(run: str, format_: str, folder: Path) -> None:
    click.echo(f"{run} is in {folder}, described in its README.md.")
    if format_ == "peft":
        return
    path = folder / f"{run}.gguf" if format_ == "gguf" else folder
    click.echo(f"To chat with it here: assistant models add {run} --path {path}")
    if format_ == "gguf":
        click.echo(f"With Ollama: cd {folder} && ollama create {run} -f Modelfile")
