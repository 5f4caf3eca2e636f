import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.errors import InputsInvalid
from prompts.message import Message
from prompts.render import render
from prompts.template import Template, parse


def template(inputs: str = "", system: str = "", user: str = "", examples: str = "") -> Template:
    matter = "kind: chat\n" + (f"inputs:\n{inputs}\n" if inputs else "") + examples
    sections = (f"# system\n{system}\n" if system else "") + (f"# user\n{user}\n" if user else "")
    return parse(f"---\n{matter}\n---\n{sections}", name="test")


def said(*pairs: tuple[str, str]) -> list[Message]:
    return [Message(role, content) for role, content in pairs]  # type: ignore[arg-type]


def test_system_examples_and_turns_in_order() -> None:
    made = template("  to: {description: x, default: French}", "Into {{ to }}.", "Say: {{ input }}",
                    "examples:\n  - {input: hello, output: bonjour}")  # fmt: skip
    turns = said(("user", "one"), ("assistant", "un"), ("user", "two"))
    assert render(made, turns, {"to": "German"}) == said(
        ("system", "Into German."),
        ("user", "Say: hello"),
        ("assistant", "bonjour"),
        ("user", "Say: one"),
        ("assistant", "un"),
        ("user", "Say: two"),
    )


def test_an_empty_system_message_is_left_out() -> None:
    made = template("  who: {description: x, default: ''}", "{% if who %}You are {{ who }}.{% endif %}")
    assert render(made, said(("user", "hi")), {}) == said(("user", "hi"))


def test_all_missing_inputs_are_named_at_once() -> None:
    made = template("  a: first\n  b: second", "{{ a }} {{ b }}")
    with pytest.raises(InputsInvalid, match=r"needs a \(first\); b \(second\)"):
        render(made, [], {})


def test_unknown_inputs_are_named() -> None:
    with pytest.raises(InputsInvalid, match=r"no input x, y. It has: none"):
        render(template(system="hi"), [], {"x": "1", "y": "2"})


@given(st.text())
def test_what_a_person_says_is_never_rendered(text: str) -> None:
    made = template("  a: {description: x, default: d}", "{{ a }}|", "<{{ input }}>")
    turn = render(made, [Message("user", text)], {"a": "{{ input }}{% for %}"})
    assert turn == [Message("system", "{{ input }}{% for %}|"), Message("user", f"<{text}>")]


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{% for a in range(10000000) %}x{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
        "{{ 'x' * 9999999999 }}",
        "{{ [1] * 9999999999 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ '{:>9999999999}'.format(1) }}",
        "{{ 'x'.center(9999999999) }}",
        "{{ 1 / 0 }}",
        "{% include 'other' %}",
    ],
)
def test_the_sandbox_refuses(source: str) -> None:
    with pytest.raises(InputsInvalid, match="'test', # system"):
        render(template(system=source), [], {})


def test_an_example_of_a_class_says_the_first_of_its_words() -> None:
    matter = "kind: label\nlabels: {positive: [good, fine], negative: bad}\nexamples:\n  - {input: a, output: positive}"
    made = parse(f"---\n{matter}\n---\n# user\n{{{{ input }}}}?", name="mood")
    assert render(made, said(("user", "b")), {}) == said(("user", "a?"), ("assistant", "good"), ("user", "b?"))


def test_an_example_has_its_own_inputs() -> None:
    made = template("  to: x\n  by: {description: x, default: me}", user="{{ to }}, {{ by }}: {{ input }}",
                    examples="examples:\n  - {input: a, to: b, output: c}")  # fmt: skip
    expected = said(("user", "b, you: a"), ("assistant", "c"), ("user", "d, you: e"))
    assert render(made, said(("user", "e")), {"to": "d", "by": "you"}) == expected


def test_of_several_labels_each_is_asked_about_alone() -> None:
    matter = "kind: label\nlabels: [sport, war, art]\nexamples:\n  - {input: a, output: 'sport, art'}"
    made = parse(f"---\n{matter}\n---\n# user\n{{{{ label }}}}: {{{{ input }}}}?", name="topics")
    assert made.several
    for label, answer in {"sport": "yes", "war": "no", "art": "yes"}.items():
        turns = said(("user", f"{label}: a?"), ("assistant", answer), ("user", f"{label}: b?"))
        assert render(made, said(("user", "b")), {}, {"label": label}) == turns
