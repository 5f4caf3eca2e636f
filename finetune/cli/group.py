"""The top command of `finetune`."""

import click

from assistant import __version__
from assistant.cli.group import LazyGroup

COMMANDS = {
    "adapters": "List adapters with their lineage and which is in use.",
    "bake": "Train the model to reply without a template as it does with it.",
    "data": "Make a dataset from the log or a file; list and show datasets.",
    "eval": "Compare an adapter with its base on held-out data.",
    "export": "Write a run's model for other programs: PEFT, safetensors, GGUF for llama.cpp and Ollama.",
    "promote": "Use an adapter for new replies.",
    "prune": "Make a smaller model by dropping the least important layers.",
    "report": "Write a run's report as an HTML page: figures, plots, results.",
    "rollback": "Undo the last promotion.",
    "search": "Search settings for a training by trials.",
    "status": "Show what is new in the log, whether the model drifts, and whether to train again.",
    "tag": "Tag entities in the texts of a file, with a run trained for it.",
    "teach": "Learn corrected replies now, and ask again.",
    "train": "Train on a dataset, after showing a plan.",
}
"""Name -> help line; the command is `finetune.cli.<name>.command`."""


@click.group(
    cls=LazyGroup, package="finetune.cli", lines=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="finetune")
def top() -> None:
    """Retrain the model on the curated log, prove the adapter, promote it, roll it back."""
