"""The real model's vectors against the definition of sentence-transformers: mean over the mask, then length 1."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from assistant.engine.models import catalogue
from assistant.engine.networks.embedder import Embedder
from assistant.errors import ModelIncomplete, ModelUnsupported

TEXTS = [
    "The cat sat on the mat.",
    "A kitten rests upon a rug",
    "Interest rates rose by half a percent in March.",
    "",
    "猫坐在垫子上。",
    "word " * 700,
]


@pytest.fixture(scope="module")
def folder(real_models: Path) -> Path:
    return real_models / catalogue.MEANING


@pytest.fixture(scope="module")
def embedder(folder: Path) -> Embedder:
    return Embedder.load(folder)


def by_definition(folder: Path, texts: list[str]) -> torch.Tensor:
    """All texts in one padded batch, as https://www.sbert.net/docs/sentence_transformer/usage does it by hand."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder, dtype=torch.float32)
    batch = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).expand(hidden.size()).float()
    mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
    return torch.nn.functional.normalize(mean, p=2, dim=1)


def test_vectors_are_those_of_the_definition(folder: Path, embedder: Embedder) -> None:
    vectors = torch.tensor([embedder.embed(text)[0] for text in TEXTS])
    assert torch.allclose(vectors, by_definition(folder, TEXTS), atol=1e-5)


def test_texts_of_like_meaning_are_near(embedder: Embedder) -> None:
    cat, kitten, rates = (torch.tensor(embedder.embed(text)[0]) for text in TEXTS[:3])
    assert cat @ kitten > 0.5 > cat @ rates + 0.3


def test_a_long_text_is_cut_to_what_the_model_reads(embedder: Embedder) -> None:
    assert embedder.embed("word " * 700)[1] == 256


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def test_a_folder_that_pools_otherwise_is_refused(folder: Path, tmp_path: Path) -> None:
    mine = copied(folder, tmp_path / "mine")
    (mine / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(ModelUnsupported, match="pools by max_tokens"):
        Embedder.load(mine)


def test_a_folder_of_the_first_token(folder: Path, tmp_path: Path) -> None:
    mine = copied(folder, tmp_path / "mine")
    (mine / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    first = torch.tensor(Embedder.load(mine).embed("a cat")[0])
    assert abs(float(first @ by_definition(folder, ["a cat"])[0])) < 0.99


def test_a_damaged_folder_is_told(folder: Path, tmp_path: Path) -> None:
    mine = copied(folder, tmp_path / "mine")
    (mine / "tokenizer.json").write_text("{")
    with pytest.raises(ModelIncomplete, match="Get its files again"):
        Embedder.load(mine)


def test_an_encoder_of_another_kind_runs_through_transformers(folder: Path, embedder: Embedder, tmp_path: Path) -> None:
    mine = copied(folder, tmp_path / "mine")
    config = json.loads((mine / "config.json").read_text())
    (mine / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu_new"}))
    near = torch.tensor(Embedder.load(mine).embed(TEXTS[0])[0]) @ torch.tensor(embedder.embed(TEXTS[0])[0])
    assert 0.999 < float(near) < 1.0 - 1e-7
