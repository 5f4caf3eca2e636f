"""The model that is trained: its folder made ready, its tokenizer and format, its weights not loaded.

Loads no torch until something of the weights or of transformers' configuration is needed: making a dataset needs
neither.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.engine.chat_format import ChatFormat
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
"""Of one row, or the model's context where that is shorter: 1,024 tokens before each reply of a longer conversation."""
OTHERWISE_TOKENS = 2048
"""Context of a model that names none."""


@dataclass(frozen=True)
class Base:
    """A model's folder made ready, its weights not loaded."""

    folder: Path
    tokenizer: Any
    chat_format: ChatFormat

    @classmethod
    def open(cls, folder: Path) -> "Base":
        """Converts a GGUF file the first time. Raises a `ModelError`."""
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
        """SHA-256 of the weights, as the engine tells it with each reply."""
        return weight_files.sha256(self.folder)

    @cached_property
    def context_tokens(self) -> int:
        """The longest sequence that the model was made for. Raises `ModelUnsupported`."""
        named = "max_position_embeddings"
        table = weight_files.read_json(self.folder / "config.json")
        text = table.get("text_config")
        said = (text if isinstance(text, dict) else table).get(named)
        if isinstance(said, int):
            return said or OTHERWISE_TOKENS
        return int(getattr(self.config.get_text_config(decoder=True), named, 0) or OTHERWISE_TOKENS)

    @property
    def parameters(self) -> int:
        """How many numbers the model has, as its files say."""
        from assistant.engine.formats import weights

        return weights.stored(self.folder, own_forward=True).parameters

    def tokenizer_of_rows(self, longest: int = 0) -> Tokenizer:
        """What makes rows of at most `longest` tokens, or 0: of as many as are usual and the context holds."""
        limit = min(self.context_tokens, longest or LONGEST_TOKENS)
        return Tokenizer.of(self.chat_format, limit, self.tokenizer.eos_token_id)

    def load(self, dtype: "torch.dtype", device: "torch.device") -> Any:
        """Transformers' model, nothing of it trained yet."""
        from assistant.engine.formats import weights

        return weights.load(self.folder, dtype, device)


def base_of(paths: Paths, run: Run) -> Base:
    """The model that a run was trained on. Raises `TrainingRefused` where it is another one by now."""
    base = opened_base(paths, run.model)
    if base.hash != run.base_hash:
        raise TrainingRefused(f"{run.model} has other weights than when {run.name} was trained on it.")
    return base


def opened_base(paths: Paths, model: str) -> Base:
    """A model of this machine. Raises `TrainingRefused` for one that another server runs."""
    return Base.open(_folder(paths, model))


def opened_folder(paths: Paths, model: str) -> Path:
    """The folder of a model of this machine, ready and whole. Raises as `opened_base`."""
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
