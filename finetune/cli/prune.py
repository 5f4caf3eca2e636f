"""`finetune prune`: drop layers of a model, and measure the cost and the gain in speed."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from finetune.config import Method, TrainConfig

if TYPE_CHECKING:
    from finetune.export.prune import Figures


@click.command()
@click.option("--data", required=True, help="Dataset whose validation part measures the layers' importance.")
@click.option("--layers", required=True, type=click.IntRange(min=1), help="Number of layers to drop.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("-m", "--model", default="", help="Model to prune; default: the model of new conversations.")
@click.option("--train", "train", is_flag=True, help="Add the model under the folder's name, and train it.")
@click.option("--method", type=click.Choice(get_args(Method)), default="lora", show_default=True,
              help="Method of --train.")  # fmt: skip
@click.option("--budget", default=0.0, type=click.FloatRange(min=0), help="Minutes of --train; 0: two epochs.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON: with --train a line for each event, then the result."
)
def command(
    data: str, layers: int, out: Path, model: str, train: bool, method: Method, budget: float, as_json: bool
) -> None:
    """Drop the layers without which the loss rises least, one by one, and write the smaller model.

    Prints parameters, perplexity on the test part and speed before and after, and with --train after training.
    """
    from assistant import settings as user_settings
    from assistant.cli.opened_log import opened_log
    from assistant.cli.options import model_name
    from assistant.paths import Paths

    paths, out = Paths.from_environment().create(), out.expanduser().absolute()
    with opened_log() as db:
        name = model_name(db, paths, user_settings.load(paths.config_file), model)
        from assistant.engine.models import catalogue
        from assistant.errors import TrainingRefused
        from finetune.export import prune

        if train and out.name in catalogue.names(paths):
            raise TrainingRefused(f"There is already a model {out.name}. Give --out a folder with another name.")
        done = prune.prune(db, paths, data, name, layers, out, lambda text: None if as_json else click.echo(text))
        told: dict[str, Any] = {"folder": str(out), **done.as_json()}
        rows = {"before": done.before, "after": done.after}
        if train:
            from finetune.cli.progress_output import events
            from finetune.train import run

            catalogue.add_path(paths, out.name, out)
            config = TrainConfig(method=method, budget_minutes=budget)
            trained = run.begin(db, paths, data, out.name, config, events(as_json))
            if trained and trained.state == "finished":
                rows["retrained"] = prune.retrained(db, paths, trained, data)
                told |= {"run": trained.name, "retrained": dataclasses.asdict(rows["retrained"])}
    if as_json:
        click.echo(json.dumps(told))
    else:
        _print(rows)
        click.echo(f"The smaller model is in {out}.")
        if not train:
            click.echo(f"To use it: assistant models add {out.name} --path {out}")


def _print(rows: "dict[str, Figures]") -> None:
    from assistant.cli.output import print_table

    head = ["", "layers", "parameters", "perplexity", "reads tokens/s", "writes tokens/s"]
    print_table(
        [
            [
                name,
                str(one.layers),
                f"{one.parameters / 1e6:,.1f} M",
                f"{one.perplexity:.2f}",
                f"{one.read_tokens_per_s:,.0f}",
                f"{one.decode_tokens_per_s:,.0f}",
            ]
            for name, one in rows.items()
        ],
        head,
    )
