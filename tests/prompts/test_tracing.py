"""Where variables went: the text between their places, and never another text than what is rendered."""

import pytest

from prompts.library import Library
from prompts.message import Message
from prompts.render import render
from prompts.template import parse
from prompts.tracing import traced


def places(text: str, user: str, **values: str) -> list[tuple[str, str, str]]:
    template = parse(text, name="t")
    return [
        (one.message.role, span.name, one.message.content[span.start : span.end])
        for one in traced(template, [Message("user", user)], values)
        for span in one.spans
    ]


def written(system: str, user: str) -> str:
    return f"---\nkind: chat\ninputs:\n  tone: A tone\n---\n# system\n{system}\n# user\n{user}\n"


@pytest.mark.parametrize(
    ("system", "user", "found"),
    [
        ("Be {{ tone }}.", "{{ input }}", [("system", "tone", "kind"), ("user", "input", "鲸鱼 {{ x }}")]),
        (
            "{{ tone|upper }}",
            "a {{- ' ' ~ input -}} b",
            [("system", "tone", "KIND"), ("user", "input", " 鲸鱼 {{ x }}")],
        ),
        (
            "{% if tone == 'kind' %}yes {{ tone }}{% endif %}",
            "{{ input }}, {{ tone }}",
            [("system", "tone", "kind"), ("user", "input", "鲸鱼 {{ x }}"), ("user", "tone", "kind")],
        ),
        ("{# tone #}{{ '' if tone else tone }}", "{{ input[:1] }}", [("user", "input", "鲸")]),
        ("{{ 'a' }}{{ tone }}", "{% for c in input %}{{ c }}{% endfor %}", [("system", "tone", "kind")]),
        ("{{ tone }}", "{% set tidy %}{{ input }}{% endset %}{{ tidy|length }}", [("system", "tone", "kind")]),
    ],
)
def test_places(system: str, user: str, found: list[tuple[str, str, str]]) -> None:
    assert places(written(system, user), "鲸鱼 {{ x }}", tone="kind") == found


@pytest.mark.parametrize("name", [one.name for one in Library(None).templates()])
def test_the_library_renders_alike(name: str) -> None:
    template = Library(None).find(name)
    values = {one.name: f"the {one.name}" for one in template.inputs}
    question = {"label": "one"} if template.several else {}
    turns = [Message("user", "What I say.\n\nAt length.")]
    found = traced(template, turns, values, question)
    assert [one.message for one in found] == render(template, turns, values, question)
    last = found[-1]
    assert "What I say.\n\nAt length." in [last.message.content[start:end] for start, end, _ in last.spans] or (
        "user" not in template.sections
    )
