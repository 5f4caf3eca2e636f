"""SentencePiece tokenisers as Llama 2 and Gemma have them: just `tokenizer.model`, or as transformers saves them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.engine.generate.chat_format import ChatFormat
from assistant.engine.generate.text_stream import StopStrings, TextStream
from assistant.engine.models.model_folder import load_tokenizer
from prompts.message import Message

LLAMA_2 = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content.strip() + ' [/INST]' }}"
    "{% elif m.role == 'system' %}{{ raise_exception('none') }}"
    "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
CORPUS = [
    "the quick brown fox jumps over the lazy dog",
    "你好，世界",
    "the end of the tale",
    "a tale of two cats [INST]",
]
KINDS: dict[str, dict[str, Any]] = {
    "llama-2": {"config": {"tokenizer_class": "LlamaTokenizer", "legacy": False, "chat_template": LLAMA_2}},
    "llama-2, legacy": {"config": {"tokenizer_class": "LlamaTokenizer", "legacy": True, "chat_template": LLAMA_2}},
    "gemma": {
        "config": {"tokenizer_class": "GemmaTokenizer", "chat_template": GEMMA},
        "train": {
            "add_dummy_prefix": False,
            "pad_id": 0,
            "eos_id": 1,
            "bos_id": 2,
            "unk_id": 3,
            "user_defined_symbols": ["<start_of_turn>", "<end_of_turn>"],
        },
    },
}
CONVERSATION = [
    Message("user", "the fox, 你好"),
    Message("assistant", "Over the dog 🦊."),
    Message("user", "two\n  cats"),
]
TEXT = st.text(st.sampled_from("the fox 你好龘🦊👩‍👩‍👧é\n.,'  "), max_size=24)


def folder_of(kind: str, folder: Path) -> Path:
    folder.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 20),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=400,
        byte_fallback=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        hard_vocab_limit=False,
        minloglevel=3,
        **KINDS[kind].get("train", {}),
    )
    (folder / "tokenizer.vocab").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(KINDS[kind]["config"]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=list(KINDS))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(request.param, tmp_path_factory.mktemp("sentencepiece") / "model")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return load_tokenizer(folder)


def dicts(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def streamed(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    stream = TextStream(tokenizer.decode)
    return [*(stream.push(token) for token in ids), stream.flush()]


def test_a_prompt_is_what_transformers_makes_of_it(tokenizer: Any) -> None:
    chat_format = ChatFormat(tokenizer)
    for count in (1, 3):
        messages = CONVERSATION[:count]
        expected = tokenizer.apply_chat_template(dicts(messages), add_generation_prompt=True)["input_ids"]
        assert chat_format.encode(messages) == expected
        assert chat_format.encode(messages) == expected, "also with turns that are remembered"


def test_a_converted_folder_says_the_same(tokenizer: Any, tmp_path: Path) -> None:
    if getattr(tokenizer, "legacy", False):
        pytest.skip("transformers forgets `legacy` when it saves a tokenizer")
    tokenizer.save_pretrained(tmp_path)
    converted = load_tokenizer(tmp_path)
    assert not (tmp_path / "tokenizer.model").exists()
    assert ChatFormat(converted).encode(CONVERSATION) == ChatFormat(tokenizer).encode(CONVERSATION)


def test_typed_control_tokens_stay_text(tokenizer: Any) -> None:
    for control in (tokenizer.bos_token, tokenizer.eos_token):
        typed = ChatFormat(tokenizer).encode([Message("user", f"a{control}b")])
        plain = ChatFormat(tokenizer).encode([Message("user", "ab")])
        index = tokenizer.convert_tokens_to_ids(control)
        assert typed.count(index) == plain.count(index)
        assert f"a{control}b" in tokenizer.decode(typed)


def test_a_reply_that_goes_on_gets_no_second_space(tokenizer: Any) -> None:
    chat_format = ChatFormat(tokenizer)
    ids = chat_format.encode([CONVERSATION[0], Message("assistant", "Over the")], continue_final=True)
    assert tokenizer.decode(ids).endswith("Over the")
    assert not tokenizer.decode(ids).endswith("  Over the")


@settings(max_examples=200)
@given(text=TEXT)
def test_text_comes_as_it_was_written(tokenizer: Any, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    pieces = streamed(tokenizer, ids)
    assert "".join(pieces) == tokenizer.decode(ids)
    if "�" not in text:
        assert all("�" not in piece for piece in pieces), "a character of several byte tokens comes whole"


@settings(max_examples=200)
@given(data=st.data())
def test_any_ids_come_as_they_are_decoded_at_once(tokenizer: Any, data: st.DataObject) -> None:
    """Up to bytes that are no text: where decoding at once gives up a whole run of them, what was right stays."""
    bytes_ = [tokenizer.convert_tokens_to_ids(f"<0x{byte:02X}>") for byte in (0xE4, 0xBD, 0xA0, 0x41, 0xF0, 0x9F)]
    ids = data.draw(st.lists(st.one_of(st.integers(4, len(tokenizer) - 1), st.sampled_from(bytes_)), max_size=12))
    said, whole = "".join(streamed(tokenizer, ids)), tokenizer.decode(ids)
    if "�" not in whole:
        assert said == whole
    rest = iter(said)
    assert all(character in rest for character in whole if character != "�")


@pytest.mark.parametrize("stop", ["quick brown", "你好", "🦊", "k b"])
def test_stop_strings_lie_across_tokens(tokenizer: Any, stop: str) -> None:
    text = "the quick brown fox 你好 🦊 and the end"
    stops = StopStrings([stop])
    said = [stops.push(piece) for piece in streamed(tokenizer, tokenizer.encode(text, add_special_tokens=False))]
    assert stops.found
    assert "".join(said).lstrip() == text.partition(stop)[0]
