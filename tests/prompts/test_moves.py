"""Single changes of a template."""

import pytest

from prompts import moves
from prompts.library import Library
from prompts.moves import Move, applied
from prompts.template import Example, Template, parse

MOOD = parse(
    "---\nkind: label\ndescription: Mood of a review.\nlanguage: en\n"
    "labels: {positive: [positive, good], negative: [negative, bad]}\n"
    "examples:\n  - {input: fine, output: positive}\n  - {input: poor, output: negative}\n---\n"
    "# user\nReview: {{ input }}\nIn short, this is:\n",
    name="mood",
)
POOL = [Example(f"text {number}", ("positive", "negative")[number % 2]) for number in range(12)]
TASKS = [template for template in Library(None).templates() if template.kind != "chat"]


@pytest.mark.parametrize("template", TASKS, ids=lambda template: template.name)
def test_every_built_in_template_has_phrasings_that_keep_its_inputs(template: Template) -> None:
    made = [one for move in moves.phrasings(template) if (one := applied(template, [move]))]
    assert len(made) >= 4
    assert all(one.inputs == template.inputs for one in made)
    assert len({one.hash for one in made}) == len(made)


def test_a_phrasing_keeps_what_holds_a_variable() -> None:
    made = [one for move in moves.phrasings(MOOD) if (one := applied(MOOD, [move]))]
    assert all("Review: {{ input }}" in one.sections["user"] for one in made)
    assert not any("In short" in one.sections["user"] for one in made)
    assert any(one.sections["user"].endswith("Answer with one word: positive, negative.") for one in made)
    assert any(one.sections.get("system") == "Mood of a review." for one in made)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ('"All in all, it is"', "All in all, it is:"),
        ("To sum up:\nThis is a paraphrase.", "To sum up:"),
        ("In short, this is:", None),
        ("", None),
        ("{{ input }}", None),
        ("word " * 100, None),
    ],
)
def test_a_paraphrase_takes_the_place_of_the_instruction(reply: str, text: str | None) -> None:
    move = moves.paraphrased(MOOD, reply)
    assert (move.sections if move else None) == ({"user": f"Review: {{{{ input }}}}\n{text}"} if text else None)


def test_the_instruction_of_a_system_section() -> None:
    one = parse("---\nkind: text\n---\n# system\nBe brief.\n# user\n{{ input }}\n", name="one")
    assert moves.instruction(one) == "Be brief."
    move = moves.paraphrased(one, "Use few words.")
    assert move is not None
    assert move.sections is not None
    assert move.sections["system"] == "Use few words."


def test_example_sets_are_balanced_small_and_the_same_for_a_seed() -> None:
    found = moves.example_sets(MOOD, POOL, 1)
    assert found == moves.example_sets(MOOD, POOL, 1) != moves.example_sets(MOOD, POOL, 2)
    assert found[0].examples == ()
    drawn = [one.examples for one in found if one.about.startswith(("2 of", "4 of"))]
    assert len(drawn) == 6
    for some in drawn:
        assert some is not None
        outputs = [one.output for one in some]
        assert outputs.count("positive") == outputs.count("negative")
    assert all(one.examples is not None and len(one.examples) <= moves.MAX_EXAMPLES for one in found)


def test_words_are_those_likelier_for_one_class() -> None:
    tops = [
        ("positive", [("Great", -1.0), (" the", -1.2), ("Pos", -3.0), ("Good", -0.5)]),
        ("positive", [("great", -1.0), (" the", -1.0), (":", -0.1)]),
        ("negative", [("Awful", -1.0), (" the", -1.1), ("great", -6.0)]),
    ]
    found = moves.class_words(MOOD, tops)
    assert found[0].labels == {"positive": ("positive", "good", "great"), "negative": ("negative", "bad", "awful")}
    assert found[1].labels == {"positive": ("great",), "negative": ("awful",)}
    assert found[2].labels == {"positive": ("positive",), "negative": ("negative",)}
    assert moves.class_words(MOOD, []) == []
    assert moves.class_words(MOOD, [("positive", [(".", -1.0)]), ("negative", [("!", -1.0)])]) == []


def test_reasoning_is_put_on_and_taken_off() -> None:
    one = parse("---\nkind: text\nsampling: {max_tokens: 20}\n---\n# user\nCount: {{ input }}\n", name="one")
    (on,) = moves.reasoning(one)
    thinking = applied(one, [on])
    assert thinking is not None
    assert "step by step" in thinking.sections["user"]
    assert thinking.reasoning
    assert thinking.sampling == {"max_tokens": moves.REASONING_TOKENS}
    (off,) = moves.reasoning(thinking)
    plain = applied(thinking, [off])
    assert plain is not None
    assert plain.sections == one.sections
    assert not plain.reasoning
    assert moves.reasoning(MOOD) == []


def test_moves_go_together_and_no_change_is_none() -> None:
    words = Move("words", "", labels={"positive": ("good",), "negative": ("bad",)})
    made = applied(MOOD, [words, Move("examples", "", examples=())])
    assert made is not None
    assert (made.examples, made.labels["positive"]) == ((), ("good",))
    assert applied(MOOD, []) is None
    assert applied(MOOD, [Move("examples", "", examples=MOOD.examples)]) is None
    assert applied(MOOD, [Move("words", "", labels={"positive": ("good",), "negative": ("good",)})]) is None
