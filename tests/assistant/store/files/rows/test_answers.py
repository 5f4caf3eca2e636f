"""Rows with several answers or several exchanges: each is there once, in order."""

from typing import Any

import pytest
from sqlite_utils import Database

from tests.assistant.store.files.conftest import Take
from tests.assistant.store.files.exports.stored import stored
from tests.assistant.store.files.rows.test_rows import BAD, GOOD, USER, A, B, Q

C = "The Rhine."


@pytest.mark.parametrize(
    ("row", "answers", "votes", "left"),
    [
        ({"prompt": Q, "chosen": A, "rejected": [B, C]}, [A, B, C], [(A, B)],
         {"votes with further preferred or rejected answers left out": 1}),
        ({"prompt": Q, "chosen": [A], "rejected": [B]}, [A, B], [(A, B)], {}),
        ({"input": Q, "generations": [B, A], "ratings": [1.0, 5.0], "chosen": A, "rejected": B}, [B, A], [(A, B)], {}),
        ({"prompt": Q, "responses": [A, B, C], "scores": [3, 2, 1], "chosen": A, "rejected": C}, [A, B, C],
         [(A, B), (B, C)], {}),
        ({"prompt": Q, "responses": [A, B, C], "scores": [3, 2, 1],
          "chosen": [USER, GOOD], "rejected": [USER, {"role": "assistant", "content": C}]}, [A, B, C],
         [(A, B), (B, C)], {}),
        ({"prompt": Q, "responses": [A, B, C], "scores": [1, 3, 2], "chosen": A, "rejected": B}, [A, B, C], [(A, B)],
         {"ranks beside a pair left out": 1}),
        ({"prompt": Q, "responses": [A, B, C], "chosen": A, "rejected": B}, [A, B, C], [(A, B)], {}),
        ({"messages": [USER], "response": {"model": "m", "choices": [{"index": 0, "message": GOOD}]}}, [A], [], {}),
    ],
)  # fmt: skip
def test_each_answer_is_there_once(
    memory: Database, take: Take, row: dict[str, Any], answers: list[str], votes: list[Any], left: dict[str, int]
) -> None:
    report = take([row])
    found = stored(memory)
    assert found.said == [(None, "user", Q), *((0, "assistant", answer) for answer in answers)]
    assert (found.votes, report.left) == (votes, left)


def test_a_reply_has_the_model_of_the_response_around_it(memory: Database, take: Take) -> None:
    response = {"model": "m", "choices": [{"message": GOOD}, {"message": {**BAD, "model": "n"}}]}
    take([{"request": {"messages": [USER]}, "response": response}])
    assert stored(memory).models == {A: "m", B: "n"}


@pytest.mark.parametrize(
    "exchanges",
    [
        [{"input": Q, "output": A}, {"input": "And in Germany?", "output": C}],
        [{"human": Q, "assistant": A}, {"human": "And in Germany?", "assistant": C}],
        [[Q, A], ["And in Germany?", C]],
    ],
)
@pytest.mark.parametrize("name", ["conversation", "conversations", "messages", "dialog"])
def test_exchanges_in_a_row_are_one_conversation(memory: Database, take: Take, name: str, exchanges: list[Any]) -> None:
    assert take([{"source": "x", name: exchanges}]).left == {"'source' fields left out": 1}
    assert stored(memory).said == [
        (None, "user", Q),
        (0, "assistant", A),
        (1, "user", "And in Germany?"),
        (2, "assistant", C),
    ]


def test_questions_in_data_are_a_conversation_each(take: Take) -> None:
    assert (
        take({"data": [{"question": Q, "answer": A}, {"question": "And in Germany?", "answer": C}]}).conversations == 2
    )


def test_a_text_with_calls_of_functions(memory: Database, take: Take) -> None:
    text = (
        f"USER: {Q}\n\n\nASSISTANT: <functioncall> {{}} <|endoftext|>\n\n\nFUNCTION RESPONSE: {{}}\n\n\nASSISTANT: {A}"
    )
    assert take([{"system": "S", "chat": text}]).left["tool messages left out"] == 1
    assert stored(memory).said[1:] == [(0, "assistant", f"<functioncall> {{}}\n\n{A}")]
