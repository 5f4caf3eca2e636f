"""BERT's encoder, for short texts on a CPU: what transformers computes without the 2.3 s of importing it."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention


def is_bert(folder: Path) -> bool:
    """Whether the folder's model is one that `Bert` computes."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    usual = config.get("hidden_act") == "gelu" and config.get("position_embedding_type", "absolute") == "absolute"
    return config.get("model_type") == "bert" and usual and (folder / "model.safetensors").is_file()


class Bert:
    """ids [S] -> the last layer's output [S, D]. Raises `KeyError` where weights are missing."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        self._heads = config["num_attention_heads"]
        self._epsilon = config["layer_norm_eps"]
        self._layers = range(config["num_hidden_layers"])
        weights = load_file(folder / "model.safetensors")
        self._weights = {name.removeprefix("bert."): one.float() for name, one in weights.items()}
        self._positions = self._weights["embeddings.position_embeddings.weight"]
        self._positions = self._positions + self._weights["embeddings.token_type_embeddings.weight"][0]

    @torch.inference_mode()
    def __call__(self, ids: Tensor) -> Tensor:
        x = self._weights["embeddings.word_embeddings.weight"][ids] + self._positions[: len(ids)]
        x = self._normal(x, "embeddings")
        for number in self._layers:
            layer = f"encoder.layer.{number}"
            q, k, v = (
                self._linear(x, f"{layer}.attention.self.{name}").view(len(ids), self._heads, -1).transpose(0, 1)
                for name in ("query", "key", "value")
            )
            attended = scaled_dot_product_attention(q, k, v).transpose(0, 1).flatten(1)
            attended = self._linear(attended, f"{layer}.attention.output.dense")
            x = self._normal(x + attended, f"{layer}.attention.output")
            inner = gelu(self._linear(x, f"{layer}.intermediate.dense"))
            x = self._normal(x + self._linear(inner, f"{layer}.output.dense"), f"{layer}.output")
        return x

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normal(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self._weights[f"{name}.LayerNorm.weight"], self._weights[f"{name}.LayerNorm.bias"]
        return layer_norm(x, (x.shape[-1],), weight, bias, self._epsilon)
