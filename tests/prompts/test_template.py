"""The template format: what it reads, and what it says to a file that breaks it."""

from pathlib import Path

import pytest

from prompts.errors import TemplateInvalid
from prompts.template import Example, Input, load, parse

GOOD = """---
kind: chat
description: Translates
language: en
inputs:
  target: {description: Language, default: French}
  reader: Who reads it
sampling: {temperature: 0.2}
examples:
  - {input: Good morning, output: Bonjour}
---
# system
Into {{ target }} for {{ reader }}.

# A heading of its own
stays text.
# user
Translate: {{ input }}
"""


def test_a_good_file_is_read_whole() -> None:
    template = parse(GOOD, name="translate")
    assert template.inputs == (Input("target", "Language", "French"), Input("reader", "Who reads it"))
    assert template.examples == (Example("Good morning", "Bonjour"),)
    assert template.sections["system"].endswith("# A heading of its own\nstays text.")
    assert template.sections["user"] == "Translate: {{ input }}"
    assert template.sampling == {"temperature": 0.2}


def test_the_hash_is_that_of_the_text() -> None:
    assert parse(GOOD, name="a").hash == parse(GOOD, name="b").hash
    assert parse(GOOD, name="a").hash != parse(GOOD + "\n", name="a").hash


def test_a_score_asks_yes_or_no_in_its_language() -> None:
    body = "# user\n{{ input }}"
    assert list(parse(front("kind: score", body), name="a").labels) == ["yes", "no"]
    assert parse(front("kind: score\nlanguage: zh", body), name="a").labels["yes"] == ("是",)


def test_an_example_may_have_inputs_and_json_of_its_own() -> None:
    matter = "inputs: {to: x}\nexamples:\n  - {input: a, to: b, output: {found: [Zoë]}}"
    made = parse(front(matter, "# user\n{{ to }} {{ input }}"), name="a")
    assert made.examples == (Example("a", '{"found": ["Zoë"]}', {"to": "b"}),)


def front(matter: str, body: str = "# system\nhi\n") -> str:
    return f"---\n{matter}\n---\n{body}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: the file must begin with a line ---"),
        ("---\nkind: chat\n", "line 2: the front matter is not closed"),
        (front("kind: chat", ""), "no section"),
        (front("kind: chat", "stray\n# system\nhi"), "line 4: text before the first section"),
        (front("kind: chat", "# system\na\n# system\nb"), "line 6: two sections # system"),
        (front("knd: chat"), "line 2: unknown key 'knd'; did you mean 'kind'?"),
        (front("kind: poem"), "kind is 'poem', but must be one of chat, text"),
        (front("kind: [chat"), "line 2, column 12: the front matter is not YAML"),
        (front("- a\n- b"), "lines of the form `key: value`"),
        (front("description: [a]"), "description is ['a'], but must be text"),
        (front("sampling: hot"), "sampling is 'hot', but must be a table"),
        (front("name: other"), "name is 'other', but the file is 'broken'"),
        (front("inputs: [a]"), "inputs must be a table"),
        (front("inputs:\n  input: x"), "line 3: 'input' can't be the name"),
        (front("inputs:\n  output: x"), "line 3: 'output' can't be the name"),
        (front("inputs:\n  a: {describtion: x}", "# system\n{{ a }}"), "line 3: input 'a' needs a description"),
        (front("inputs:\n  a: x"), "line 3: no section uses the input a"),
        (front("kind: chat", "# system\n{{ a }} {{ b }}"), "# system uses a, b, which inputs does not declare"),
        (front("kind: chat", "# system\n\n{% if %}"), "line 6, column 1: Expected an expression"),
        (front("kind: chat", "# user\nhi"), "{{ input }}"),
        (front("examples:\n  - {input: a}"), "each example needs input and output"),
        (front("examples:\n  - {input: a, output: b, c: d}"), "each example needs input and output"),
        (front("labels: [a, b]"), "line 2: labels belong to the kinds label and score"),
        (front("kind: label"), "labels must be a list of two classes or more"),
        (front("kind: label\nlabels: {a: x, b: x}"), "line 3: the classes 'a' and 'b' share the word 'x'"),
        (front("kind: score\nlabels: [a, b, c]"), "line 3: a score is the probability of one of two labels"),
        (front("kind: label\nlabels: [a, b]\nexamples:\n  - {input: x, output: c}"), "line 4: an example is 'c'"),
        (front("kind: extract"), "line 1: the kind extract needs a schema"),
        (front("schema: {type: object}"), "line 2: the kind extract needs a schema"),
        (front("kind: text", "# user\n{{ label }} {{ input }}"), "uses label, which inputs does not declare"),
    ],
)
def test_a_broken_file_is_told_where_and_what(text: str, told: str) -> None:
    with pytest.raises(TemplateInvalid) as caught:
        parse(text, name="broken")
    assert told in str(caught.value)
    assert str(caught.value).startswith("broken, line ")


@pytest.mark.parametrize("line", ["# end", "# users", "## user", "#user: x", "# System", "# tool"])
def test_a_line_that_names_no_role_is_text(line: str) -> None:
    """Ruby, shell and Markdown have such lines."""
    made = parse(front("kind: chat", f"# system\nif x\n{line}\nend"), name="ruby")
    assert dict(made.sections) == {"system": f"if x\n{line}\nend"}


def test_a_second_section_of_a_role_names_the_way_out() -> None:
    with pytest.raises(TemplateInvalid, match=r"two sections # user; join them, or write \{\{ '# user' \}\}"):
        parse(front("kind: chat", "# user\n{{ input }}\n# user\nx"), name="twice")
    made = parse(front("kind: chat", "# user\n{{ input }}\n{{ '# user' }}\nx"), name="written")
    assert "{{ '# user' }}" in made.sections["user"]


def test_a_name_that_is_no_name() -> None:
    with pytest.raises(TemplateInvalid, match="small letters"):
        parse(GOOD, name="My Template")


def test_another_encoding_is_told(tmp_path: Path) -> None:
    file = tmp_path / "latin.md"
    file.write_bytes(GOOD.replace("Bonjour", "Café").encode("latin-1"))
    with pytest.raises(TemplateInvalid, match="not UTF-8"):
        load(file)
