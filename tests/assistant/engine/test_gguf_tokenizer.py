"""Tokenizers read from GGUF metadata give the ids of the originals."""

import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, GPT2Tokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer

from assistant.engine.formats import gguf_tokenizer
from assistant.errors import ModelUnsupported

CORPUS = [
    "In 1789 and 1917, 20 of 365 days; don't DON'T we'll  see.\n\n\tfoo(bar) == 12345678 ...!\r\n",
    "你好，世界！1234 Grüße café naïve re\u0301sume\u0301 HelloWorld iPhone x2y3",
]
TEXTS = [
    *CORPUS,
    "   leading and trailing   ",
    "1 12 123 1234 12345",
    "\n\n\n",
    "it's IT'S _under_score_",
    "<|im_start|>user\nhi<|im_end|>",
    "👩‍👩‍👧\u00a0e\u0301",
]


def trained(pre: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges learned over text that was split by `pre`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS * 5, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def metadata(vocabulary: dict[str, int], merges: list[tuple[str, str]], pre: str) -> dict[str, Any]:
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in merges],
        "tokenizer.ggml.token_type": [3 if index < 3 else 1 for index in range(len(tokens))],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
    }


def saved(table: dict[str, Any], folder: Path) -> Any:
    gguf_tokenizer.save(table, folder)
    return AutoTokenizer.from_pretrained(folder)


def smollm(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Any:
    """As in SmolLM2's own tokenizer.json."""
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


ORIGINALS: dict[str, Any] = {
    "gpt-2": lambda vocabulary, merges: GPT2Tokenizer(vocab=vocabulary, merges=merges),
    "qwen2": lambda vocabulary, merges: Qwen2Tokenizer(vocab=vocabulary, merges=merges),
    "smollm": smollm,
}


@pytest.mark.parametrize("pre", ORIGINALS)
def test_byte_level_ids_are_those_of_the_original(tmp_path: Path, pre: str) -> None:
    vocabulary, merges = trained(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    original = ORIGINALS[pre](vocabulary, merges)
    original.add_special_tokens({"additional_special_tokens": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]})
    own = saved(metadata(vocabulary, merges, pre), tmp_path)
    for text in TEXTS:
        assert own.encode(text) == original.encode(text, add_special_tokens=False), text
        assert own.decode(own.encode(text)) == original.decode(original.encode(text))


@pytest.mark.parametrize(
    ("pre", "expected"),
    [
        ("smollm", ["In", "Ġ", "1", "2", "3", "4", "5"]),
        ("gpt-2", ["In", "Ġ12345"]),
        ("llama-bpe", ["In", "Ġ", "123", "45"]),
        ("qwen2", ["In", "Ġ", "1", "2", "3", "4", "5"]),
        ("tekken", ["In", "Ġ", "1", "2", "3", "4", "5"]),
        ("gpt-4o", ["In", "Ġ", "123", "45"]),
    ],
)
def test_how_digits_are_split(tmp_path: Path, pre: str, expected: list[str]) -> None:
    own = saved(metadata(*trained(pre_tokenizers.ByteLevel(add_prefix_space=False)), pre), tmp_path)
    pieces = own.backend_tokenizer.pre_tokenizer.pre_tokenize_str("In 12345")
    assert [piece for piece, _ in pieces] == expected


def test_a_whole_word_wins_over_the_merges_of_llama_3(tmp_path: Path) -> None:
    vocabulary, _ = trained(pre_tokenizers.ByteLevel(add_prefix_space=False))
    vocabulary = {**vocabulary, "Hello": len(vocabulary)}
    for pre, whole in (("llama-bpe", True), ("gpt-2", False)):
        own = saved(metadata(vocabulary, [("H", "e")], pre), tmp_path / pre)
        assert (own.encode("Hello") == [vocabulary["Hello"]]) is whole


def test_beginning_of_text_where_the_model_wants_it(tmp_path: Path) -> None:
    table = metadata(*trained(pre_tokenizers.ByteLevel(add_prefix_space=False)), "gpt-2")
    without = saved(table, tmp_path / "without")
    with_it = saved({**table, "tokenizer.ggml.add_bos_token": True}, tmp_path / "with")
    assert with_it.encode("hi") == [1, *without.encode("hi")]
    assert with_it.encode("hi", add_special_tokens=False) == without.encode("hi")


@pytest.fixture(scope="module", params=[True, False], ids=["space first", "no space first"])
def trained_sentencepiece(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    prefix = tmp_path_factory.mktemp("sentencepiece") / "tiny"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*CORPUS, "the end of the tale", "a tale of two cats"] * 20),
        model_prefix=str(prefix),
        model_type="bpe",
        vocab_size=400,
        byte_fallback=True,
        add_dummy_prefix=request.param,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        hard_vocab_limit=False,
        minloglevel=3,
    )
    return sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model"), request.param


def sentencepiece_metadata(model: Any, prefix_space: bool) -> dict[str, Any]:
    """What llama.cpp's converter writes of a SentencePiece model."""
    size = range(model.get_piece_size())
    kinds = [(model.is_unknown, 2), (model.is_control, 3), (model.is_byte, 6)]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [model.id_to_piece(index) for index in size],
        "tokenizer.ggml.scores": [model.get_score(index) for index in size],
        "tokenizer.ggml.token_type": [next((kind for is_, kind in kinds if is_(index)), 1) for index in size],
        "tokenizer.ggml.add_space_prefix": prefix_space,
        "tokenizer.ggml.bos_token_id": model.bos_id(),
        "tokenizer.ggml.eos_token_id": model.eos_id(),
        "tokenizer.ggml.unknown_token_id": model.unk_id(),
    }


@pytest.mark.parametrize("text", ["the end of a tale", "1234 cats, don't", "你好 unseen 漢字 👩‍👩‍👧", "two\nlines", ""])
def test_sentencepiece_ids_are_those_of_the_library(tmp_path: Path, trained_sentencepiece: Any, text: str) -> None:
    model, prefix_space = trained_sentencepiece
    own = saved(sentencepiece_metadata(model, prefix_space), tmp_path)
    ids = own.encode(text, add_special_tokens=False)
    assert ids == model.encode(text)
    assert own.decode(ids) == model.decode(ids) == text
    assert own.encode(text) == [model.bos_id(), *ids]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"tokenizer.ggml.pre": "new-split"}, "'new-split'"), ({"tokenizer.ggml.model": "rwkv"}, "'rwkv'")],
)
def test_what_we_do_not_know_is_refused(tmp_path: Path, changes: dict[str, str], sentence: str) -> None:
    table = metadata(*trained(pre_tokenizers.ByteLevel(add_prefix_space=False)), "gpt-2")
    with pytest.raises(ModelUnsupported, match=sentence):
        gguf_tokenizer.save({**table, **changes}, tmp_path)
