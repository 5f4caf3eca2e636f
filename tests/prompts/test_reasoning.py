import pytest

from prompts.errors import TemplateInvalid
from prompts.message import Message
from prompts.reasoning import Reasoning, answer, shares, split
from prompts.render import render
from prompts.template import Template, parse


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("An answer.", ("", "An answer.", True)),
        ("<think>\nhm\n</think>\n\nYes.", ("hm", "Yes.", True)),
        ("<think>still at it", ("still at it", "", False)),
        ("opened by the template</think>Yes.", ("opened by the template", "Yes.", True)),
        ("Write <think> like this.", ("", "Write <think> like this.", True)),
    ],
)
def test_split(text: str, parts: tuple[str, str, bool]) -> None:
    assert split(text) == parts


def test_answer() -> None:
    assert answer("<think>a</think>b") == "b"


@pytest.mark.parametrize(
    ("reply", "steps", "said"),
    [
        ("It is 2 + 2.\nAnswer: 4.", "It is 2 + 2.\nAnswer:", "4"),
        ("So the answer is **B**.", "So the answer is", "B"),
        ("**Answer: 0.50 euros**", "**Answer:", "0.50 euros"),
        ("一共三个。\n答案：3。", "一共三个。\n答案：", "3"),
        ("答案是3", "答案是", "3"),
        ("Answer: 1? No.\nAnswer: 2", "Answer: 1? No.\nAnswer:", "2"),
        ("Some steps.\n\n42\n", "Some steps.", "42"),
        ("<think>hm, answer: 9</think>Answer: 8", "hm, answer: 9\nAnswer:", "8"),
        ("<think>still at it, answer: 9", "still at it, answer: 9", ""),
        ("Answer the question: no.", "", "Answer the question: no"),
        ("", "", ""),
    ],
)
def test_what_the_answer_is(reply: str, steps: str, said: str) -> None:
    assert Reasoning().read(reply) == (steps, said)


def test_a_rule_of_ones_own_and_no_other() -> None:
    rule = Reasoning(answer=r"=> (\d+)|#(\d+)")
    assert rule.read("a => 1, b => 2 c") == ("a => 1, b =>", "2")
    assert rule.read("x #3") == ("x #", "3")
    assert rule.read("Answer: 4") == ("Answer: 4", "")
    assert Reasoning(answer=r"\d+").read("so 5") == ("so", "5")


def test_shares_of_votes() -> None:
    assert shares(["b", "A", "a ", "", "c"]) == {"A": 0.4, "b": 0.2, "c": 0.2}
    assert list(shares(["b", "a"])) == ["b", "a"], "a tie goes to the one given first"
    assert shares(["", ""]) == {}


def reasoned(declared: str, kind: str = "label", labels: str = "labels: [A, B]") -> Template:
    examples = "examples: [{input: q, reasoning: 'Hm. Answer:', output: A}]"
    text = f"---\nkind: {kind}\n{labels}\nreasoning: {declared}\n{examples}\n---\n# user\n{{{{ input }}}}\n"
    return parse(text, name="t")


def test_an_example_is_read_as_it_is_said() -> None:
    made = reasoned("{votes: 3}")
    assert made.reasoning is not None
    reply = render(made, [Message("user", "x")], {})[1].content
    assert reply == "Hm. Answer: A"
    assert made.reasoning.read(reply) == (made.examples[0].reasoning, made.examples[0].output)


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("{votes: 0}", "votes is 0, but must be a number from 1 to 64"),
        ("{votes: true}", "votes is True"),
        ("{vote: 3}", "must be true, or a table of votes"),
        ("{answer: '(x'}", "is no regular expression"),
        ("{answer: 3}", "in quotes"),
        ("off", "an example reasons, but the template doesn't"),
    ],
)
def test_reasoning_that_cannot_be(declared: str, said: str) -> None:
    with pytest.raises(TemplateInvalid, match=said):
        reasoned(declared)


def test_json_is_not_reasoned() -> None:
    with pytest.raises(TemplateInvalid, match="without reasoning"):
        reasoned("true", "extract", "schema: {type: object}")
