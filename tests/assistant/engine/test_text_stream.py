"""Characters are whole, nothing is lost, stop strings never leak."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from assistant.engine.generate.text_stream import StopStrings, TextStream

TEXT = "Grüße, 你好, 👩‍👩‍👧 naïve café — the end.  Two  spaces\n\tand a tab. "


@cache
def byte_level() -> Tokenizer:
    """A token for each byte, and some of more bytes: those that cut a character in two too."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pre = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    [(spelled, _)] = pre.pre_tokenize_str("你")
    merges = [(spelled[0], spelled[1]), ("t", "h"), ("th", "e")]
    vocabulary = {token: index for index, token in enumerate([*alphabet, *(a + b for a, b in merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre, decoders.ByteLevel()
    return tokenizer


@pytest.fixture(scope="module")
def sentencepiece_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A SentencePiece model with byte fallback, trained here, as transformers reads it."""
    import sentencepiece
    from transformers import LlamaTokenizer
    from transformers.tokenization_utils_base import generate_merges

    model = tmp_path_factory.mktemp("sentencepiece") / "tiny"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the end of the tale of the cat", "a tale of two spaces", "the cat sat there"] * 20),
        model_prefix=str(model),
        model_type="bpe",
        vocab_size=320,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=3,
    )
    trained = sentencepiece.SentencePieceProcessor(model_file=f"{model}.model")
    pieces = [trained.id_to_piece(index) for index in range(trained.get_piece_size())]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    scores = {piece: trained.get_score(index) for piece, index in vocabulary.items()}
    return LlamaTokenizer(vocab=vocabulary, merges=generate_merges(vocabulary, scores)), trained


def streamed(stream: TextStream, ids: Sequence[int]) -> list[str]:
    return [*(stream.push(token) for token in ids), stream.flush()]


@given(st.lists(st.integers(0, 258)))
def test_any_bytes_come_out_as_decoding_them_at_once(ids: list[int]) -> None:
    decode = byte_level().decode
    pieces = streamed(TextStream(lambda some: decode(list(some))), ids)
    assert "".join(pieces) == decode(ids)


@given(st.text())
def test_every_piece_is_of_whole_characters(text: str) -> None:
    tokenizer = byte_level()
    ids = tokenizer.encode(text).ids
    pieces = streamed(TextStream(lambda some: tokenizer.decode(list(some))), ids)
    assert "".join(pieces) == text
    assert text.count("\ufffd") == sum(piece.count("\ufffd") for piece in pieces)


def test_a_character_comes_with_its_last_byte() -> None:
    tokenizer = byte_level()
    ids = tokenizer.encode("é你").ids
    assert len(ids) == 4  # two bytes; a token of two bytes and one of one
    stream = TextStream(lambda some: tokenizer.decode(list(some)))
    assert [stream.push(token) for token in ids] == ["", "é", "", "你"]


def test_hidden_ids_have_no_text() -> None:
    tokenizer = byte_level()
    first, last = tokenizer.encode("é").ids
    hidden = tokenizer.encode("#").ids[0]
    stream = TextStream(lambda some: tokenizer.decode(list(some)), {hidden})
    assert streamed(stream, [hidden, first, hidden, last, hidden]) == ["", "", "", "é", "", ""]


@pytest.mark.parametrize("text", [TEXT, " the end", "  the cat", "你好", "", "the\n"])
def test_sentencepiece(sentencepiece_tokenizer: Any, text: str) -> None:
    tokenizer, trained = sentencepiece_tokenizer
    ids = tokenizer.encode(text, add_special_tokens=False)

    def decode(some: Sequence[int]) -> str:
        return str(tokenizer.decode(some, clean_up_tokenization_spaces=False))

    whole = "".join(streamed(TextStream(decode), ids))
    assert whole == decode(ids)
    assert whole.lstrip() == trained.decode(ids).lstrip() == text.lstrip()
    for length in range(len(ids)):
        cut = "".join(streamed(TextStream(decode), ids[:length]))
        assert whole.startswith(cut.rstrip("\ufffd"))


@given(st.text("abx", max_size=30), st.lists(st.text("abx", min_size=1, max_size=4), max_size=3), st.data())
def test_text_ends_before_the_first_stop_string(text: str, stops: list[str], data: st.DataObject) -> None:
    filtered, shown = StopStrings(stops), []
    rest = text
    while rest:
        size = data.draw(st.integers(1, 5))
        shown.append(filtered.push(rest[:size]))
        assert not any(stop in "".join(shown) for stop in stops)
        rest = rest[size:]
    shown.append(filtered.flush())
    found = [text.find(stop) for stop in stops if stop in text]
    assert filtered.found == bool(found)
    assert "".join(shown) == (text[: _first_end(text, stops)] if found else text)


def _first_end(text: str, stops: list[str]) -> int:
    """Where the stop string that is complete first begins; of those complete at once, the one that began first."""
    ends = {end: [end - len(stop) for stop in stops if text[:end].endswith(stop)] for end in range(len(text) + 1)}
    return min(next(starts for starts in ends.values() if starts))


def test_only_what_may_begin_a_stop_string_is_held_back() -> None:
    stops = StopStrings(["<stop>"])
    assert [stops.push(piece) for piece in ("a<", "st", "ay <sto", "p", ">b", "c")] == ["a", "", "<stay ", "", "", ""]
    assert stops.found and stops.flush() == ""
