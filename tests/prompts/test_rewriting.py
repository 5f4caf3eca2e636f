"""Templates with parts exchanged, written as files and read back."""

import pytest

from prompts.errors import TemplateInvalid
from prompts.library import Library
from prompts.rewriting import rewritten
from prompts.template import Example, Template, parse

TASKS = [template for template in Library(None).templates() if template.kind != "chat"]
PARTS = (
    *("kind", "description", "language", "inputs", "sampling", "examples", "sections", "labels", "schema"),
    *("reasoning", "filters"),
)


@pytest.mark.parametrize("template", TASKS, ids=lambda template: template.name)
def test_a_template_rewritten_without_a_change_means_the_same(template: Template) -> None:
    again = rewritten(template, examples=template.examples, labels=template.labels or None)
    for part in PARTS:
        assert getattr(again, part) == getattr(template, part), part
    assert again.name == template.name


def test_parts_are_exchanged_and_the_rest_stays() -> None:
    one = parse(
        "---\nname: one\nkind: label\nlabels: ['yes', 'no']\nexamples:\n  - {input: a, output: 'yes'}\n---\n"
        "# system\nSay it: 好.\n# user\n{{ input }}?\n",
        name="one",
    )
    made = rewritten(
        one,
        name="two",
        sections={"user": "Is it {{ input }}?"},
        examples=[Example("1", "no"), Example("line\n# user\n{{ x }}: 'b'", "yes")],
        labels={"yes": ("yes", "true"), "no": ("no",)},
        more={"lineage": {"parent": "one"}},
    )
    assert made.name == "two"
    assert made.sections == {"user": "Is it {{ input }}?"}
    assert [example.input for example in made.examples] == ["1", "line\n# user\n{{ x }}: 'b'"]
    assert made.labels["yes"] == ("yes", "true")
    assert made.lineage == {"parent": "one"}
    assert rewritten(made, examples=[]).examples == ()
    assert made.hash != rewritten(made, examples=[]).hash


def test_parts_that_do_not_go_together_are_refused() -> None:
    one = parse("---\ninputs: {name: Whose}\n---\n# user\n{{ name }} {{ input }}\n", name="one")
    with pytest.raises(TemplateInvalid, match="no section uses the input name"):
        rewritten(one, sections={"user": "{{ input }}"})
