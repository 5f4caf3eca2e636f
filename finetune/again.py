"""A dataset made again: what it was made of, as the log has it by now."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from assistant.store.datasets import Dataset
from assistant.store.filter import Filter
from finetune.dataset import BUILTIN, Request
from finetune.example import Kind
from finetune.select import Selection
from finetune.split import Shares
from prompts.template import Template


def selection_of(kept: Dataset, find_template: Callable[[str], Template]) -> Selection:
    """What of a log is like the dataset: its own selection; of a dataset from a file all that is judged of its kind.

    Raises `TemplateUnknown` where the template that it asks with is gone.
    """
    source, kind = kept.source, cast(Kind, kept.kind)
    template = find_template(source["template"]) if source.get("template") else None
    if source.get("file"):
        return Selection(kind, template=template, values=source.get("values", {}))
    filter_ = Filter(**{name: _frozen(value) for name, value in source.get("filter", {}).items()})
    everything, words = source.get("everything", False), source.get("words", "")
    return Selection(kind, filter_, everything, template, source.get("values", {}), words)


def request_like(kept: Dataset, find_template: Callable[[str], Template]) -> Request:
    """To make a dataset of the log as that one was made. Raises as `selection_of`."""
    source, usual = kept.source, Request(Selection())
    replay = source.get("replay", "")
    return Request(
        selection_of(kept, find_template),
        shares=Shares(*source["split"]) if source.get("split") else None,
        seed=source.get("seed", 0),
        replay=BUILTIN if replay == "builtin" else Path(replay) if replay else None,
        replay_share=source.get("replay_share") or usual.replay_share,
        canaries=len(source.get("canaries", ())),
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
