"""`finetune tag`: tag entities in the texts of a file."""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.output import as_json, counted
from assistant.cli.run import STANDARD, input_file, output_file

if TYPE_CHECKING:
    from assistant.paths import Paths


@click.command()
@click.argument("run")
@click.option("-i", "--input", "source", required=True, help="A .jsonl, .csv or .txt file; - for standard input.")
@click.option("-o", "--output", "target", default=STANDARD, help="A .jsonl or .csv file. [default: standard output]")
@click.option("--column", default="input", show_default=True, help="Column with the text.")
@as_json
def command(run: str, source: str, target: str, column: str, as_json: bool) -> None:
    """Tag entities in texts, with a run trained on a dataset of kind entities.

    An output row is the input row with `prediction`, the entities with text, type, start and end in characters, or with
    `error` if there is no text or it is too long.
    """
    from assistant.paths import Paths
    from assistant.tasks.rows import rows, write, write_jsonl

    output = output_file(target)
    with input_file(source) as path:
        given = list(rows(path))
    tagged = _tagged(Paths.from_environment().create(), run, given, column)
    failed = sum("error" in one for one in tagged)
    columns = list(dict.fromkeys(name for one in tagged for name in one))
    write(output, tagged, columns) if output else write_jsonl(sys.stdout, tagged)
    if as_json and output:
        click.echo(json.dumps({"rows": len(tagged), "failed": failed, "output": target}, ensure_ascii=False))
    else:
        click.echo(f"{counted(len(tagged), 'row')}{f', {failed:,} of them with an error' if failed else ''}.", err=True)


def _tagged(paths: "Paths", run: str, given: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    from assistant.cli.opened_log import opened_log

    with opened_log() as db:
        from finetune.base import base_of
        from finetune.config import TrainConfig
        from finetune.network.tagger import Tagger
        from finetune.prove import prove

        about = prove.subject(db, paths, run)
        settings = TrainConfig.from_json(about.run.config["settings"])
        tagger = Tagger.load(base_of(paths, about.run), about.folder, settings)
    texts = [one.get(column) for one in given]
    whole = [one if isinstance(one, str) and one.strip() else "" for one in texts]
    found = iter(tagger.find([one for one in whole if one]))
    return [
        {**row, **(_prediction(text, next(found)) if text else {"prediction": None, "error": f"no text {column!r}"})}
        for row, text in zip(given, whole, strict=True)
    ]


def _prediction(text: str, found: Any) -> dict[str, Any]:
    if found is None:
        return {"prediction": None, "error": "the text is too long for the model's context"}
    return {
        "prediction": {
            "entities": [
                {"text": text[start:end], "type": kind, "start": start, "end": end} for start, end, kind in found
            ]
        }
    }
