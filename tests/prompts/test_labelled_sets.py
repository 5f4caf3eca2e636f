"""The built-in templates that do a task, and the labelled set beside each (docs/library.md)."""

import json
from collections import Counter
from typing import Any

import pytest

from prompts import labels
from prompts.library import Library
from prompts.message import Message
from prompts.render import answer, render
from prompts.template import Template

TASKS = [template for template in Library(None).templates() if template.kind != "chat"]
each = pytest.mark.parametrize("template", TASKS, ids=lambda template: template.name)


def rows(template: Template) -> list[dict[str, Any]]:
    assert template.data is not None
    return [json.loads(line) for line in template.data.read_text("utf-8").splitlines()]


def values(template: Template, row: dict[str, Any]) -> dict[str, str]:
    return {one.name: row[one.name] for one in template.inputs if one.name in row}


@each
def test_a_task_has_two_examples_or_more_and_one_of_each_class(template: Template) -> None:
    assert template.description
    assert all(one.description for one in template.inputs)
    assert len(template.examples) >= 2
    assert {one.output for one in template.examples} >= set(template.labels)


@each
def test_a_set_has_20_to_60_rows_and_no_double(template: Template) -> None:
    asked = Counter((row["input"], *values(template, row).values()) for row in rows(template))
    assert 20 <= len(asked) == asked.total() <= 60


@each
def test_a_row_has_every_input_and_the_answer(template: Template) -> None:
    answer = "label" if template.labels else "reference"
    for row in rows(template):
        assert row["input"].strip()
        assert row[answer]
        messages = render(template, [Message("user", row["input"])], values(template, row))
        assert row["input"] in messages[-1].content


@each
def test_no_example_is_in_the_set(template: Template) -> None:
    """Nor what it says: an answer that an example gives away measures nothing."""
    asked = {(row["input"], *values(template, row).values()) for row in rows(template)}
    examples = {(one.input, *one.values.values()) for one in template.examples}
    assert not examples & asked
    assert not {one.input for one in template.examples} & {row["input"] for row in rows(template)}


@pytest.mark.parametrize("template", [one for one in TASKS if one.labels], ids=lambda template: template.name)
def test_the_classes_of_a_set_are_known_and_equally_frequent(template: Template) -> None:
    counts = Counter(row["label"] for row in rows(template))
    assert set(counts) == set(template.labels)
    assert len(set(counts.values())) == 1


@pytest.mark.parametrize("template", [one for one in TASKS if one.schema], ids=lambda template: template.name)
def test_what_is_to_be_extracted_keeps_to_the_schema_and_the_text(template: Template) -> None:
    (name, about), *more = template.schema["properties"].items()
    assert not more
    items = about["items"]
    examples = [{"input": one.input, "reference": json.loads(one.output)} for one in template.examples]
    for row in [*rows(template), *examples]:
        assert set(row["reference"]) == {name}
        for found in row["reference"][name]:
            assert set(found) == set(items["required"])
            for key, value in found.items():
                known = items["properties"][key].get("enum")
                assert value in known if known else value in row["input"]


@pytest.mark.parametrize("name", ["code", "code-zh"])
def test_the_tests_of_code_are_passed_by_its_references(name: str) -> None:
    for row in rows(Library(None).find(name)):
        namespace: dict[str, Any] = {}
        exec(row["reference"], namespace)
        assert eval(row["test"], namespace) is True, row["test"]


@pytest.mark.parametrize("template", [one for one in TASKS if one.reasoning], ids=lambda template: template.name)
def test_the_answers_of_examples_that_reason_are_read_from_them(template: Template) -> None:
    assert template.reasoning is not None
    for one in template.examples:
        steps, said = template.reasoning.read(answer(template, one, {}))
        assert (steps, labels.said(template.labels, said)) == (one.reasoning, one.output)
