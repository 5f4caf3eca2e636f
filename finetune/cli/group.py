"""The top command of `finetune`."""

import click

from assistant import __version__
from assistant.cli.group import LazyGroup

COMMANDS = {
    "adapters": "What was trained, with where it comes from and whether it is in use.",
    "bake": "Train the model to reply without a template as it does with it.",
    "data": "Make a dataset of the log or of a file, look at it, list what there is.",
    "eval": "Compare an adapter with its base on what neither has seen.",
    "export": "Give a run's model to other programs: PEFT, safetensors, GGUF for llama.cpp and Ollama.",
    "promote": "Use an adapter for new replies.",
    "prune": "Make a smaller model of one, without the layers that it misses least.",
    "report": "A run as one HTML page: figures, plots of its course, and what was proved.",
    "rollback": "Take the last promotion back.",
    "search": "Find good settings for a training by trying.",
    "status": "What is new in the log, whether the model drifts, and whether to train again.",
    "tag": "Find entities in the texts of a file, with a run that learned to.",
    "teach": "Learn corrected replies now, and ask again.",
    "train": "Train on a dataset: a plan first, then the run.",
}
"""Name -> help line; the command itself is `finetune.cli.<name>.command`."""


@click.group(
    cls=LazyGroup, package="finetune.cli", lines=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="finetune")
def top() -> None:
    """Retrain the model on the curated log, prove it, swap it in, take it back."""
