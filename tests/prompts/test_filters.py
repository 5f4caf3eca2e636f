"""Filters of inputs, each by what it leaves and what it changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts import filters
from prompts.errors import TemplateInvalid
from prompts.filters import FILTERS, Filters, normalised
from prompts.message import Message
from prompts.render import render
from prompts.template import Template, parse


@pytest.mark.parametrize(
    ("name", "text", "left"),
    [
        ("control", "a\x00b\x1b[31m\r\nc\td\u202e\ufeff", "ab[31m\nc\td"),
        ("control", "👩\u200d🚀 می\u200cخواهم", "👩\u200d🚀 می\u200cخواهم"),
        ("whitespace", "  a \t b\u3000c \n\n\n\n d ", "a b c\n\nd"),
        ("nfc", "e\u0301 ﬁ", "é ﬁ"),
        ("nfkc", "ﬁ Ａ", "fi A"),
        ("half-width", "ＡＢＣ１２３！\u3000你好。", "ABC123! 你好。"),
        ("full-width", "ABC123! 你好。", "ＡＢＣ１２３！\u3000你好。"),
        ("html", "<p>One &amp; <b>tw</b>o</p><script>x < y</script><p>&lt;3", "One & two\n\n<3"),
        ("html", "<head><title>T</title></head><body>a<br>b<ul><li>c</li></ul></body>", "a\nb\n\nc"),
        ("html", "<style>p {}</style>2 < 3", "2 < 3"),
    ],
)
def test_a_filter(name: str, text: str, left: str) -> None:
    assert FILTERS[name](text) == left


@given(st.text())
def test_filters_take_any_text_and_a_second_time_change_nothing(text: str) -> None:
    for name, filter_ in FILTERS.items():
        once = filter_(text)
        assert name == "html" or filter_(once) == once


def test_the_same_text_written_otherwise() -> None:
    assert normalised(" Ａ\u200b b\n") == normalised("a B")
    assert normalised("a!") != normalised("a?")


def template(declared: str, kind: str = "text") -> Template:
    inputs = "inputs: {page: {description: x, default: ''}}"
    return parse(f"---\nkind: {kind}\n{inputs}\nfilters: {declared}\nexamples:\n"
                 "  - {input: ＡＢ, output: x, page: <p>c</p>}\n---\n# user\n{{ page }}|{{ input }}\n",
                 name="t")  # fmt: skip


def test_the_messages_are_of_filtered_inputs() -> None:
    made = template("{input: [half-width, {tokens: 2}], page: [html]}")
    messages = render(made, [Message("user", "ＣＤＥ")], {"page": "<b>d</b>"})
    assert [one.content for one in messages] == ["c|AB", "x", "d|CDE"]
    messages = render(made, [Message("user", "ＣＤＥ")], {}, cut=lambda text, tokens: text[:tokens])
    assert [one.content for one in messages][::2] == ["c|AB", "|CD"], "examples are whole"


def test_in_order() -> None:
    assert Filters(("html", "whitespace")).apply("&lt;b&gt; x") == "<b> x"
    assert Filters(("html", "html")).apply("&lt;b&gt; x") == "x"
    assert filters.parse({"input": ["nfc", {"tokens": 5}]}) == {"input": Filters(("nfc",), 5)}


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("[html]", "line 4: filters must be a table"),
        ("{input: html}", "filters of input must be a list"),
        ("{input: [htlm]}", "'htlm' is no filter; known are control"),
        ("{input: [[html]]}", "'html'\\] is no filter"),
        ("{input: [{tokens: 0}]}", "can only be {tokens: N}"),
        ("{input: [{tokens: 5}, html]}", "must be the last"),
        ("{inptu: [html]}", "filters of inptu, which is no input"),
    ],
)
def test_filters_that_cannot_be(declared: str, said: str) -> None:
    with pytest.raises(TemplateInvalid, match=said):
        template(declared)


def test_a_chat_is_not_cut() -> None:
    with pytest.raises(TemplateInvalid, match="drops its oldest turns"):
        template("{input: [{tokens: 5}]}", "chat")
