"""Metadata of a GGUF file -> a tokenizer that gives the ids of the original one, in Hugging Face's form.

Two kinds cover the field: "gpt2" (byte-level BPE; `tokenizer.ggml.pre` names how text is split before merging) and
"llama" (SentencePiece BPE with byte fallback). The splits are those of llama.cpp's `llama-vocab.cpp`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assistant.errors import ModelUnsupported

FILE, CONFIG, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Types of tokens in `tokenizer.ggml.token_type`."""

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_WORD = r"[^\r\n\p{L}\p{N}]?"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN = (
    rf"{_WORD}{_UPPER}*{_LOWER}+|{_WORD}{_UPPER}+{_LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT4O = (
    rf"{_WORD}{_UPPER}*{_LOWER}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|{_WORD}{_UPPER}+{_LOWER}*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPLITS = {
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "llama-bpe": _LLAMA3,
    "smaug-bpe": _LLAMA3,
    "dbrx": _LLAMA3,
    "falcon3": _LLAMA3,
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
    "megrez": _QWEN2,
    "stablelm2": _QWEN2,
    "tekken": _TEKKEN,
    "gpt-4o": _GPT4O,
}
_DIGITS_APART = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}
_PLAIN = {"default", "gpt-2", "phi-2", "mpt", "olmo", "jais", "gigachat"}
_WHOLE_WORDS_FIRST = {"llama3", "llama-v3", "llama-bpe", "falcon3", "tekken"}
"""A word that is in the vocabulary is one token, whatever the merges say."""
_NFC = {"qwen2", "deepseek-r1-qwen"}


SPLITS = ("gpt-2", "smollm", "llama-bpe", "qwen2", "tekken", "gpt-4o")
"""A name of each way that we know to split text."""


def save(metadata: Mapping[str, Any], folder: Path) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and the chat template. Raises `ModelUnsupported`.

    By hand: transformers would copy the tokenizer first, which takes 2 s for Gemma's 262,144 tokens.
    """
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    special: dict[str, str] = {}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        token_id = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(token_id, int) and 0 <= token_id < len(tokens):
            special[f"{name}_token"] = tokens[token_id]
    folder.mkdir(exist_ok=True)
    backend_of(metadata).save(str(folder / FILE), pretty=False)
    table = {"tokenizer_class": "TokenizersBackend", "backend": "tokenizers", "clean_up_tokenization_spaces": False}
    (folder / CONFIG).write_text(json.dumps({**table, **special}, indent=2), encoding="utf-8")
    if template := metadata.get("tokenizer.chat_template"):
        (folder / TEMPLATE).write_text(template, encoding="utf-8")


def load(folder: Path) -> Any:
    """The tokenizer that `save` has written there.

    `from_pretrained` would read the file a second time, as JSON in Python: 0.8 s and 200 MB for Gemma's.
    """
    from transformers import PreTrainedTokenizerFast

    table = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    kept = {key: value for key, value in table.items() if key not in ("tokenizer_class", "backend")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / FILE), name_or_path=str(folder), **kept)
    if (template := folder / TEMPLATE).is_file():
        tokenizer.chat_template = template.read_text(encoding="utf-8")
    return tokenizer


def backend_of(metadata: Mapping[str, Any]) -> Any:
    """The tokenizers library's own, with the tokens that are marked as special or added."""
    from tokenizers import AddedToken

    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    kind = metadata.get("tokenizer.ggml.model")
    if kind == "gpt2":
        tokenizer = _byte_level(tokens, metadata["tokenizer.ggml.merges"], metadata.get("tokenizer.ggml.pre"))
    elif kind == "llama":
        tokenizer = _sentencepiece(metadata, tokens)
    else:
        raise ModelUnsupported(f"The GGUF file's tokenizer is of kind {kind!r}; we know gpt2 and llama.")
    types = metadata.get("tokenizer.ggml.token_type") or [1] * len(tokens)
    marked = [(token, type_) for token, type_ in zip(tokens, types, strict=True) if type_ in (CONTROL, USER_DEFINED)]
    tokenizer.add_tokens(
        [AddedToken(token, special=type_ == CONTROL, normalized=False) for token, type_ in marked if token]
    )
    _add_bos(tokenizer, metadata, tokens, default=kind == "llama")
    return tokenizer


def _byte_level(tokens: list[str], merges: list[str], pre: str | None) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=pre in _WHOLE_WORDS_FIRST))
    tokenizer.decoder = decoders.ByteLevel()
    pre = pre or "default"
    if pre in _PLAIN:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    elif pre in _DIGITS_APART:
        digits = pre_tokenizers.Digits(individual_digits=True)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    elif pre in _SPLITS:
        split = pre_tokenizers.Split(Regex(_SPLITS[pre]), behavior="isolated")
        bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_only])
    else:
        raise ModelUnsupported(
            f"The GGUF file splits text in a way we don't know: tokenizer.ggml.pre is {pre!r}. "
            "Use the model's original folder with safetensors."
        )
    if pre in _NFC:
        tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def _sentencepiece(metadata: Mapping[str, Any], tokens: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers.tokenization_utils_base import generate_merges

    vocabulary = {token: index for index, token in enumerate(tokens)}
    scores = dict(zip(tokens, metadata["tokenizer.ggml.scores"], strict=True))
    marked = {
        token
        for token, type_ in zip(tokens, metadata["tokenizer.ggml.token_type"], strict=True)
        if type_ in (CONTROL, USER_DEFINED)
    }
    merges = generate_merges(vocabulary, scores, skip_tokens=marked)
    unknown = tokens[metadata.get("tokenizer.ggml.unknown_token_id", 0)]
    model = models.BPE(vocab=vocabulary, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    steps: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    prefix_space = metadata.get("tokenizer.ggml.add_space_prefix", True)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if prefix_space else "never", split=False)
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if prefix_space else steps)
    return tokenizer


def _add_bos(tokenizer: Any, metadata: Mapping[str, Any], tokens: list[str], default: bool) -> None:
    """Begin every plain text with the beginning-of-text token, where the model wants that."""
    from tokenizers import processors

    bos = metadata.get("tokenizer.ggml.bos_token_id")
    if bos is not None and metadata.get("tokenizer.ggml.add_bos_token", default):
        token = tokens[bos]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{token} $A", pair=f"{token} $A {token}:1 $B:1", special_tokens=[(token, bos)]
        )
