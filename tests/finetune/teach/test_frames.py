"""Questions in other words."""

import pytest

from finetune.teach import frames

QUESTIONS = [
    "What is the capital of the Netherlands?",
    "How many planets are in the solar system?",
    "Tell me about {braces} and 100 %.",
    "荷兰的首都是哪里？",
    "x",
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_forms_that_are_asked_are_never_learned(question: str) -> None:
    learned, asked = frames.learned(question), frames.asked(question)
    assert len(asked) == len(set(asked)) == 3
    assert not set(asked) & set(learned) and question not in learned
    assert len(learned) == len(set(learned)) >= 8
    assert all(question in form for form in asked)


REWRITTEN = [
    ("What is the capital of the Netherlands?", "Name the capital of the Netherlands."),
    ("What is the capital of the Netherlands?", "capital Netherlands"),
    ("How many planets are in the solar system?", "Please tell me how many planets are in the solar system."),
    ("How do I say thank you?", "I want to say thank you."),
    ("荷兰的首都是哪里？", "说说荷兰的首都。"),
]


@pytest.mark.parametrize(("question", "form"), REWRITTEN)
def test_a_question_is_rewritten(question: str, form: str) -> None:
    assert form in frames.learned(question)


def test_a_chinese_question_gets_chinese_frames() -> None:
    assert "请告诉我：谁来了？" in frames.learned("谁来了？")
