"""A base model on disk: folder, tokenizer and chat format. Its weights are loaded on request.

torch and transformers' configuration are imported only when needed: making a dataset uses the tokenizer alone.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.engine.generate.chat_format import ChatFormat
from assistant.engine.models import catalogue, model_folder, weight_files
from assistant.errors import TrainingRefused
from assistant.events import Loading
from assistant.paths import Paths
from assistant.store.training.runs import Run
from finetune.data.tokens import Tokenizer

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

LONGEST_TOKENS = 3072
"""Longest row, or the model's context if shorter: 1,024 tokens before each reply of a longer conversation."""
OTHERWISE_TOKENS = 2048
"""Context length of a model whose configuration names none."""


@dataclass(frozen=True)
class Base:
    """A model's folder, checked and ready; the weights are not loaded."""

    folder: Path
    tokenizer: Any
    chat_format: ChatFormat

    @classmethod
    def open(cls, folder: Path) -> "Base":
        """The model in `folder`, converted from GGUF the first time. Raises `ModelError`."""
        ready = model_folder.ready(folder, _log_progress)
        weight_files.check(ready)
        tokenizer = model_folder.load_tokenizer(ready)
        return cls(ready, tokenizer, ChatFormat(tokenizer))

    @cached_property
    def config(self) -> Any:
        """Transformers' configuration. Raises `ModelUnsupported`."""
        from assistant.engine.formats import weights

        return weights.read_config(self.folder)

    @property
    def hash(self) -> str:
        """SHA-256 of the weights, the same that the engine reports with each reply."""
        return weight_files.sha256(self.folder)

    @cached_property
    def context_tokens(self) -> int:
        """Longest sequence that the model was trained for, in tokens. Raises `ModelUnsupported`."""
        named = "max_position_embeddings"
        table = weight_files.read_json(self.folder / "config.json")
        text = table.get("text_config")
        said = (text if isinstance(text, dict) else table).get(named)
        if isinstance(said, int):
            return said or OTHERWISE_TOKENS
        return int(getattr(self.config.get_text_config(decoder=True), named, 0) or OTHERWISE_TOKENS)

    @property
    def parameters(self) -> int:
        """Number of weights, by the headers of the model's files."""
        from assistant.engine.formats import weights

        return weights.stored(self.folder, own_forward=True).parameters

    def tokenizer_of_rows(self, longest: int = 0) -> Tokenizer:
        """A tokenizer for rows of at most `longest` tokens; 0: of `LONGEST_TOKENS` or the model's context."""
        limit = min(self.context_tokens, longest or LONGEST_TOKENS)
        return Tokenizer.of(self.chat_format, limit, self.tokenizer.eos_token_id)

    def load(self, dtype: "torch.dtype", device: "torch.device") -> Any:
        """Transformers' model on `device`, with its weights in `dtype`."""
        from assistant.engine.formats import weights

        return weights.load(self.folder, dtype, device)


def base_of(paths: Paths, run: Run) -> Base:
    """The model that a run was trained on. Raises `TrainingRefused` if its weights have changed since."""
    base = opened_base(paths, run.model)
    if base.hash != run.base_hash:
        raise TrainingRefused(f"{run.model} has other weights than when {run.name} was trained on it.")
    return base


def opened_base(paths: Paths, model: str) -> Base:
    """An installed model. Raises `TrainingRefused` for a model on another server."""
    return Base.open(_folder(paths, model))


def opened_folder(paths: Paths, model: str) -> Path:
    """The folder of an installed model, checked and ready. Raises the errors of `opened_base`."""
    ready = model_folder.ready(_folder(paths, model), _log_progress)
    weight_files.check(ready)
    return ready


def _folder(paths: Paths, model: str) -> Path:
    found = catalogue.find(paths, model)
    if isinstance(found, catalogue.Remote):
        raise TrainingRefused(f"{model} runs on another server. Only a model on this machine can be trained.")
    return found.folder


def _log_progress(loading: Loading) -> None:
    log.info("%s", loading)
