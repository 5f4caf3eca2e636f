"""Texts -> vectors of what they mean, by a small encoder in a folder as the sentence-transformers library writes it.

One text at a time: on a CPU a batch is no faster (measured: 48 ms for each text of 100 tokens, alone or among 16),
needs padding, and holds up longer whoever waits for the processor.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from assistant.engine.models.catalogue import SENTENCE_MODULES
from assistant.engine.networks.bert import Bert, is_bert
from assistant.errors import ModelIncomplete, ModelUnsupported


class Embedder:
    """A loaded encoder on the CPU."""

    def __init__(
        self, network: Callable[[Tensor], Tensor], tokenizer: Tokenizer, *, first_token: bool, threads: int
    ) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self._first_token = first_token
        self._threads = threads

    @classmethod
    def load(cls, folder: Path, *, threads: int = 0) -> "Embedder":
        """The encoder in `folder`. `threads` 0: half the physical cores, as it works beside whatever else does.

        Raises `ModelIncomplete` or `ModelUnsupported`.
        """
        try:
            pooling = _pooling(folder)
            longest = json.loads((folder / "sentence_bert_config.json").read_text("utf-8"))["max_seq_length"]
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            network = Bert(folder) if is_bert(folder) else _through_transformers(folder)
        except ModelUnsupported:
            raise
        except Exception as error:  # the tokenizers library raises bare Exception for a damaged file
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise ModelIncomplete(f"The model in {folder} can't be used: {reason}. Get its files again.") from error
        tokenizer.enable_truncation(longest)
        tokenizer.no_padding()
        return cls(network, tokenizer, first_token=pooling == "cls", threads=threads or _half_the_cores())

    def embed(self, text: str) -> tuple[tuple[float, ...], int]:
        """(a vector of length 1, the tokens read). What is beyond the model's longest text is left out."""
        torch.set_num_threads(self._threads)  # of this thread alone; a chat keeps its own
        ids = torch.tensor(self._tokenizer.encode(text).ids)
        hidden = self._network(ids)  # [S, D]; no padding, so nothing to mask
        pooled = hidden[0] if self._first_token else hidden.mean(0)
        return tuple(torch.nn.functional.normalize(pooled, dim=0).tolist()), len(ids)


def _through_transformers(folder: Path) -> Callable[[Tensor], Tensor]:
    from transformers import AutoModel, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model: Any = AutoModel.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
    ).eval()

    def run(ids: Tensor) -> Tensor:
        with torch.inference_mode():
            hidden: Tensor = model(input_ids=ids[None]).last_hidden_state[0]
        return hidden

    return run


def _pooling(folder: Path) -> str:
    """`mean` or `cls`: how the outputs for a text's tokens become one vector. Raises `ModelUnsupported` for others."""
    modules = json.loads((folder / SENTENCE_MODULES).read_text("utf-8"))
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        raise ModelUnsupported(
            f"{folder} is made of {', '.join(kinds)}, which can't be run here. Choose another model."
        )
    modes = json.loads((folder / modules[1]["path"] / "config.json").read_text("utf-8"))
    chosen = [
        name.removeprefix("pooling_mode_") for name, on in modes.items() if name.startswith("pooling_") and on is True
    ]
    if chosen not in (["mean_tokens"], ["cls_token"]):
        raise ModelUnsupported(f"{folder} pools by {', '.join(chosen)}; mean_tokens and cls_token can be run here.")
    return "mean" if chosen == ["mean_tokens"] else "cls"


def _half_the_cores() -> int:
    import psutil

    return max(1, (psutil.cpu_count(logical=False) or 2) // 2)
