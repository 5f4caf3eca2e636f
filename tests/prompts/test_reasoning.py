import pytest

from prompts.reasoning import answer, split


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
