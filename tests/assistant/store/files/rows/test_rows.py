"""Rows of data sets in the shapes that people have: what is asked once, who said what, which answer is preferred."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from assistant.errors import ImportRefused
from assistant.store.files.imports.importer import import_file
from assistant.store.files.rows.marked_text import parse
from tests.assistant.store.files.conftest import Take
from tests.assistant.store.files.exports.stored import stored

Q, A, B = "Name a river in Peru.", "The Ucayali.", "The Danube."
USER = {"role": "user", "content": Q}
GOOD = {"role": "assistant", "content": A}
BAD = {"role": "assistant", "content": B}
HH = f"\n\nHuman: {Q}\n\nAssistant: "

LLAMA_3_ANSWER = "<|start_header_id|>assistant<|end_header_id|>\n\nb<|eot_id|>"
UNEQUAL = "votes between equal answers, or answers to different questions"

PAIRS: dict[str, dict[str, Any]] = {
    "prompt and texts": {"prompt": Q, "chosen": A, "rejected": B},
    "LLaMA-Factory, alpaca": {"instruction": Q, "input": "", "chosen": A, "rejected": B},
    "LLaMA-Factory, a list": {"instruction": Q, "output": [A, B]},
    "LLaMA-Factory, sharegpt": {
        "conversations": [{"from": "human", "value": Q}],
        "chosen": {"from": "gpt", "value": A},
        "rejected": {"from": "gpt", "value": B},
    },
    "LLaMA-Factory, v1": {
        f"{side}_messages": [
            {"role": "user", "content": [{"type": "text", "value": Q}], "loss_weight": 0.0},
            {"role": "assistant", "content": [{"type": "text", "value": text}], "loss_weight": 1.0},
        ]
        for side, text in (("chosen", A), ("rejected", B))
    },
    "TRL, conversational": {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
    "TRL, implicit prompt": {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
    "the prompt repeated": {"prompt": Q, "chosen": [USER, GOOD], "rejected": [USER, BAD]},
    "the prompt repeated in messages too": {
        "prompt": Q,
        "messages": [USER, GOOD],
        "chosen": [USER, GOOD],
        "rejected": [USER, BAD],
    },
    "the prompt repeated as messages": {"prompt": [USER], "chosen": [USER, GOOD], "rejected": [USER, BAD]},
    "with a system message": {
        "system": "S",
        "prompt": [{"role": "system", "content": "S"}, USER],
        "chosen": [USER, GOOD],
        "rejected": [{"role": "system", "content": "S"}, USER, BAD],
    },
    "JSON in texts": {"chosen": json.dumps([USER, GOOD]), "rejected": json.dumps([USER, BAD])},
    "messages and texts": {"messages": [USER, GOOD], "chosen": A, "rejected": B},
    "messages up to the question": {"messages": [USER], "chosen": A, "rejected": B},
    "HH": {"chosen": HH + A, "rejected": HH + B},
    "HH with a prompt": {"prompt": HH, "chosen": A, "rejected": B},
    "OpenAI": {
        "input": {"messages": [USER], "tools": [], "parallel_tool_calls": True},
        "preferred_output": [GOOD],
        "non_preferred_output": [BAD],
    },
    "ms-swift": {"messages": [USER, GOOD], "rejected_response": B},
    "OpenPipe": {"messages": [USER, GOOD], "rejected_message": BAD},
    "Orca": {"question": Q, "chosen": A, "rejected": B},
    "Stack Exchange": {"question": Q, "response_j": A, "response_k": B},
    "PKU-SafeRLHF": {"prompt": Q, "response_0": B, "response_1": A, "better_response_id": 1},
    "SHP": {"history": Q, "human_ref_A": A, "human_ref_B": B, "labels": 1},
    "AlpacaEval": {"instruction": Q, "output_1": B, "output_2": A, "preference": 2},
    "HelpSteer3": {"context": [USER], "response1": B, "response2": A, "overall_preference": 2},
    "the arena": {
        "question_id": "q",
        "model_a": "x",
        "model_b": "y",
        "winner": "model_b",
        "conversation_a": [USER, BAD],
        "conversation_b": [USER, GOOD],
    },
    "UltraFeedback": {
        "instruction": Q,
        "completions": [
            {"model": "x", "response": B, "overall_score": 3.5},
            {"model": "y", "response": A, "overall_score": 8.0},
        ],
    },
    "Nectar": {"prompt": HH, "answers": [{"answer": A, "rank": 1.0}, {"answer": B, "rank": 2.0}]},
    "parallel lists": {"instruction": Q, "generations": [B, A], "ratings": [1.0, 4.5], "models": ["x", "y"]},
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_is_one_question_with_two_answers_and_a_vote(memory: Database, take: Take, name: str) -> None:
    report = take([PAIRS[name]])
    assert (report.conversations, report.messages) == (1, 3)
    found = stored(memory)
    assert found.said[0] == (None, "user", Q)
    assert sorted(found.said[1:]) == sorted([(0, "assistant", A), (0, "assistant", B)])
    assert found.votes == [(A, B)]
    assert found.open == A
    if "model_a" in PAIRS[name] or "UltraFeedback" in name or "models" in PAIRS[name]:
        assert found.models == {A: "y", B: "x"}


@pytest.mark.parametrize(
    ("row", "votes", "left"),
    [
        ({"prompt": Q, "chosen": A, "rejected": A}, [], UNEQUAL),
        ({"prompt": Q, "chosen": A}, [], "orders of a single answer"),
        ({"prompt": Q, "chosen": A, "rejected": ""}, [], "orders of a single answer"),
        ({"prompt": Q, "response_a": A, "response_b": B, "winner": "tie"}, [(f"={A}", f"={B}")], ""),
        ({"prompt": Q, "response_a": A, "response_b": B}, [], ""),
        ({"prompt": Q, "response_a": A, "response_b": B, "winner": "C"}, [], ""),
        ({"chosen": HH + A + HH + "x", "rejected": HH + A + "\n\nHuman: z\n\nAssistant: y"}, [],
         UNEQUAL),
        ({"instruction": Q, "output": [A, B, "C"]}, [], "orders of more than two answers"),
        ({"prompt": Q, "chosen": A, "rejected": B, "score_chosen": 8.0}, [(A, B)], "'score_chosen' fields"),
        ({"prompt": Q, "chosen": [{"role": "assistant", "content": ""}], "rejected": B}, [],
         "votes about an empty reply"),
        ({"prompt": Q, "chosen": A, "rejected": B, "label": True}, [(A, B)], "ratings of several answers at once"),
    ],
)  # fmt: skip
def test_a_pair_that_is_none_is_counted(
    memory: Database, take: Take, row: dict[str, Any], votes: list[tuple[str, str]], left: str
) -> None:
    report = take([row])
    assert stored(memory).votes == votes
    assert [what.removesuffix(" left out") for what in report.left if what.endswith("left out")] == [left] * bool(left)


def test_pairs_differ_where_they_part(memory: Database, take: Take) -> None:
    both = [USER, GOOD, {"role": "user", "content": "And one in Italy?"}]
    po, rhine = ({"role": "assistant", "content": text} for text in ("Po", "Rhine"))
    take([{"chosen": [*both, po], "rejected": [*both, rhine]}])
    found = stored(memory)
    assert [parent for parent, _, _ in found.said] == [None, 0, 1, 2, 2]
    assert found.votes == [("Po", "Rhine")]


def test_both_bad_is_a_tie_of_bad_answers(memory: Database, take: Take) -> None:
    take([{"prompt": Q, "response_a": A, "response_b": B, "winner": "tie (bothbad)"}])
    assert stored(memory).judged == {A: (-1,), B: (-1,)}


RATED: dict[str, tuple[dict[str, Any], tuple[object, ...]]] = {
    "TRL": ({"prompt": [USER], "completion": [GOOD], "label": True}, (1,)),
    "TRL, texts": ({"prompt": Q, "completion": A, "label": False}, (-1,)),
    "LLaMA-Factory, sharegpt": (
        {"conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}], "kto_tag": False},
        (-1,),
    ),
    "LLaMA-Factory, alpaca": ({"instruction": Q, "output": A, "kto_tag": True}, (1,)),
    "messages": ({"messages": [USER, GOOD], "label": 0}, (-1,)),
    "as text": ({"messages": [USER, GOOD], "label": "undesirable"}, (-1,)),
    "flags": ({"messages": [USER, {**GOOD, "thumbs_up": False, "thumbs_down": True}]}, (-1,)),
    "a sign": ({"messages": [USER, {**GOOD, "reaction": "👍"}]}, (1,)),
    "beside what wraps the messages": ({"rating": -1, "conversation": {"messages": [USER, GOOD]}}, (-1,)),
    "thumbs": ({"messages": [USER, GOOD], "feedback": "thumbs_up"}, (1,)),
    "in the message": ({"messages": [USER, {**GOOD, "rating": -1, "tags": ["sea"], "note": "n"}]}, (-1, "n", ("sea",))),
    "an annotation": ({"messages": [USER, {**GOOD, "annotation": {"rating": 1, "reason": "r"}}]}, (1, "r")),
    "a category": ({"instruction": Q, "context": "", "response": A, "category": "open_qa"}, (("open_qa",),)),
    "a weight of 0": ({"messages": [USER, {**GOOD, "weight": 0}]}, ("skip",)),
    "not trained": ({"messages": [USER, {**GOOD, "train": False}]}, ("skip",)),
    "ms-swift": ({"messages": [USER, {**GOOD, "loss": False}]}, ("skip",)),
    "a weight of the row": ({"messages": [USER, GOOD], "weight": 0}, ("skip",)),
}  # fmt: skip


@pytest.mark.parametrize("name", RATED)
def test_a_judgement_reaches_its_reply(memory: Database, take: Take, name: str) -> None:
    row, judged = RATED[name]
    report = take([row])
    found = stored(memory)
    assert found.said == [(None, "user", Q), (0, "assistant", A)]
    assert found.judged == {A: judged}
    assert report.left == {}


@pytest.mark.parametrize(
    ("row", "left"),
    [
        ({"prompt": Q, "completion": A, "label": "spam"}, "'label' values that are no thumbs"),
        ({"prompt": Q, "completion": A, "rating": 4}, "'rating' values that are no thumbs"),
        ({"prompt": Q, "completion": A, "score": 0.7}, "'score' fields"),
        ({"messages": [USER, {**GOOD, "weight": 0.5}]}, "'weight' values that are neither 0 nor 1"),
        ({"messages": [USER, GOOD], "tools": [{"type": "function"}]}, "'tools' fields"),
        ({"messages": [USER, {**GOOD, "tool_calls": [{}, {}]}]}, "tool calls"),
        ({"messages": [USER, GOOD], "metadata": {"x": 1}}, "'metadata' fields"),
        ({"messages": [{**USER, "name": "Ada"}, GOOD]}, "'name' fields"),
        ({"messages": [{**USER, "rating": 1}, GOOD]}, "'rating' fields"),
        ({"messages": [USER, {**GOOD, "logprobs": [1]}]}, "'logprobs' fields"),
        ({"messages": [USER, GOOD], "images": ["a.png", "b.png"]}, "image attachments"),
        ({"messages": [{"role": "user", "content": [Q, {"type": "image_url", "image_url": {"url": "x"}}]}, GOOD]},
         "image attachments"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "value": "x.jpg"}, Q]}, GOOD]},
         "image attachments"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}, Q]}, GOOD]},
         "audio attachments"),
        ({"messages": [USER, {"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {}},
                                                               {"type": "text", "text": A}]}]}, "tool calls"),
        ({"messages": [USER, GOOD], "prompt": "Something else"}, "'prompt' fields"),
        ({"prompt": Q, "completion": A, "reward_model": "r", "empty": [], "none": None}, "'reward_model' fields"),
    ],
)  # fmt: skip
def test_what_is_not_taken_in_is_counted_by_name(memory: Database, take: Take, row: dict[str, Any], left: str) -> None:
    report = take([row])
    assert stored(memory).said == [(None, "user", Q), (0, "assistant", A)]
    assert list(report.left) == [f"{left} left out"]


CHAINS: dict[str, dict[str, Any]] = {
    "OpenAI": {"messages": [USER, GOOD]},
    "Anthropic": {"system": "S", "messages": [{"role": "user", "content": [{"type": "text", "text": Q}]}, GOOD]},
    "Gemini": {"contents": [{"role": "user", "parts": [{"text": Q}]}, {"role": "model", "parts": [{"text": A}]}]},
    "Cohere": {"messages": [{"role": "User", "content": Q}, {"role": "Chatbot", "content": A}]},
    "ShareGPT": {"id": "x_0", "conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}]},
    "ShareGPT, raw": {"id": "x", "items": [{"from": "human", "value": Q}, {"from": "chatgpt", "value": A}]},
    "Bing": {"conversations": [{"from": "user", "value": Q}, {"from": "bing", "value": A}]},
    "WildChat": {"conversation_hash": "h", "model": "m", "turn": 1, "conversation": [USER, GOOD]},
    "UltraChat": {"id": "0", "data": [Q, A]},
    "xtuner": {"conversation": [{"input": Q, "output": A}]},
    "pairs": {"conversation": [{"human": Q, "assistant": A}]},
    "Dolly": {"instruction": Q, "context": "", "response": A},
    "OpenOrca": {"id": "cot.1", "system_prompt": "S", "question": Q, "response": A},
    "Firefly": {"kind": "QA", "input": Q, "target": A},
    "query": {"query": Q, "response": A, "history": []},
    "ChatML": {"text": f"<|im_start|>user\n{Q}<|im_end|>\n<|im_start|>assistant\n{A}<|im_end|>\n"},
    "Guanaco": {"text": f"### Human: {Q}### Assistant: {A}"},
    "Taskmaster": {"conversation_id": "d", "utterances": [{"index": 0, "speaker": "USER", "text": Q},
                                                          {"index": 1, "speaker": "ASSISTANT", "text": A}]},
    "ids of speakers": {"messages": [{"id": "x", **USER}, {"id": "x", **GOOD}]},
    "messages by name": {"messages": {"1": {**USER, "parent": None}, "2": {**GOOD, "parent": "1"}}},
    "JSON in a text": {"messages": json.dumps([USER, GOOD])},
    "nodes": {"messages": [{"id": "1", "message": {"author": {"role": "user"}, "content": {"parts": [Q]}}},
                           {"id": "2", "parent": "1", "message": GOOD}]},
    "messages by name, alone": {"1": {**USER, "parent": None}, "2": {**GOOD, "parent": "1"}},
    "request and answer": {"messages": [USER], "choices": [{"index": 0, "message": GOOD, "finish_reason": "stop"}]},
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_a_question_and_its_answer(memory: Database, take: Take, name: str) -> None:
    take([CHAINS[name]])
    found = stored(memory)
    assert found.said == [(None, "user", Q), (0, "assistant", A)]
    assert found.system == ("S" if any(name.startswith("system") for name in CHAINS[name]) else "")
    assert found.votes == []


def test_an_answer_beside_messages_that_end_with_one_is_another_branch(memory: Database, take: Take) -> None:
    report = take([{"messages": [USER, GOOD], "completion": B, "label": True}])
    assert stored(memory).said == [(None, "user", Q), (0, "assistant", A), (0, "assistant", B)]
    assert (stored(memory).judged, stored(memory).votes, report.left) == ({B: (1,)}, [], {})


@pytest.mark.parametrize(
    ("value", "conversations"),
    [
        ({"version": 1, "data": [CHAINS["Dolly"], CHAINS["Firefly"]]}, 1),
        ({"features": [{"name": "x"}], "rows": [{"row_idx": 0, "row": CHAINS["Dolly"], "truncated_cells": []}]}, 1),
        ({"a": CHAINS["Dolly"], "b": {"messages": [USER, BAD]}}, 2),
        ({"version": 4, "history": [{"id": "h", "name": "T", "messages": [USER, GOOD], "model": {"id": "m"}}]}, 1),
        ([[USER, GOOD], [USER, BAD]], 2),
        ([CHAINS["Dolly"], {"conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": B}]}], 2),
    ],
)  # fmt: skip
def test_conversations_are_found_in_what_wraps_them(take: Take, value: Any, conversations: int) -> None:
    assert take(value).conversations == conversations


def test_messages_of_several_conversations_are_gathered_by_their_names(memory: Database, take: Take) -> None:
    rows = [
        {"conversation_id": name, "role": role, "content": f"{role} {name}", "timestamp": 1760000000 + place}
        for place, (name, role) in enumerate(
            (("a", "user"), ("b", "user"), ("a", "assistant"), ("b", "assistant"), ("a", "user"))
        )
    ]
    assert take("\n".join(map(json.dumps, rows))).conversations == 2
    assert [role for _, role, _ in stored(memory).said] == ["user", "assistant", "user"]
    assert stored(memory, 2).said == [(None, "user", "user b"), (0, "assistant", "assistant b")]


def test_a_session_of_lines_that_hold_messages(memory: Database, take: Take) -> None:
    rows = [
        {"type": "user", "uuid": "1", "parentUuid": None, "sessionId": "s", "message": {"role": "user", "content": Q}},
        {"type": "assistant", "uuid": "2", "parentUuid": "1", "sessionId": "s", "message": {**GOOD, "model": "m"}},
        {"type": "assistant", "uuid": "3", "parentUuid": "1", "sessionId": "s", "message": BAD},
    ]
    take("\n".join(map(json.dumps, rows)))
    assert stored(memory).said == [(None, "user", Q), (0, "assistant", A), (0, "assistant", B)]


def test_a_list_of_messages_that_name_their_parents_is_a_tree(memory: Database, take: Take) -> None:
    rows = [
        {"id": 1, "parent_id": None, **USER},
        {"id": 3, "parent_id": 1, **BAD, "rating": -1},
        {"id": 2, "parent_id": 1, **GOOD, "rating": 1},
    ]
    take(rows)
    assert stored(memory).said == [(None, "user", Q), (0, "assistant", B), (0, "assistant", A)]
    assert stored(memory).judged == {A: (1,), B: (-1,)}
    take([{**USER, "content": "Other", "children": [{**GOOD, "children": []}, BAD]}])
    assert [parent for parent, _, _ in stored(memory, 2).said] == [None, 0, 0]


def test_a_row_keeps_its_title_model_and_date(memory: Database, take: Take) -> None:
    take([{"messages": [USER, GOOD], "title": "Rivers", "model": "m", "created_at": "2025-01-02T03:04:05Z"}])
    assert (stored(memory).title, stored(memory).models) == ("Rivers", {A: "m"})
    assert memory.execute("SELECT created_ms FROM conversations").fetchone() == (1_735_787_045_000,)


def test_a_tree_in_a_row_stays_a_tree(memory: Database, take: Take) -> None:
    messages = [{"id": "1", "parent_id": None, **USER}, {"id": "2", "parent_id": "1", **GOOD, "rank": 1},
                {"id": "3", "parent_id": "1", **BAD, "rank": 0}]  # fmt: skip
    take([{"messages": messages}])
    assert stored(memory).said == [(None, "user", Q), (0, "assistant", A), (0, "assistant", B)]
    assert stored(memory).votes == [(B, A)]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"chosen": "The sky is blue.", "rejected": "The sky is green."}, "it has an answer, and no question"),
        ({"messages": "x"}, "'messages' is text, not a list"),
        ({"messages": [{"role": "narrator", "content": "Once"}]}, "1 narrator messages left out"),
        ({"messages": [{"content": "Once"}]}, "a message has no 'role'"),
        ({"messages": [{"role": "user", "content": 5}]}, "'content' is a number, not text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "image attachments left out",
        ),
        ({"prompt": "only this"}, "its first object has the fields 'prompt'"),
        ({"text": "a document"}, "its first object has the fields 'text'"),
        ({"input_ids": [1, 2], "labels": [1, 2]}, "its first object has the fields 'input_ids', 'labels'"),
    ],
)
def test_a_file_of_which_nothing_is_read_says_why(take: Take, value: Any, why: str) -> None:
    with pytest.raises(ImportRefused) as refused:
        take([value])
    assert why in str(refused.value)


def test_columns_are_named_by_dataset_info(memory: Database, tmp_path: Path) -> None:
    info = {
        "mine": {
            "file_name": "mine.json",
            "formatting": "sharegpt",
            "ranking": True,
            "columns": {"messages": "talk", "chosen": "good_one", "rejected": "bad_one", "system": "sys"},
            "tags": {"role_tag": "who", "content_tag": "what", "user_tag": "me", "assistant_tag": "it"},
        },
        "other": {"file_name": "other.json", "columns": {"prompt": "ask", "response": "say", "kto_tag": "ok"}},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    row = {
        "talk": [{"who": "me", "what": Q}],
        "good_one": {"who": "it", "what": A},
        "bad_one": {"who": "it", "what": B},
    }
    (tmp_path / "mine.json").write_text(json.dumps([{**row, "sys": "S"}]))
    (tmp_path / "other.json").write_text(json.dumps([{"ask": "Hi", "say": "Hello.", "ok": True}]))
    report = import_file(memory, tmp_path)
    assert (report.conversations, report.left) == (2, {})
    assert (stored(memory).votes, stored(memory).system) == ([(A, B)], "S")
    assert stored(memory, 2).judged == {"Hello.": (1,)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:", [("user", "a"), ("assistant", "b"), ("user", "c")]),
        ("Human: a\nAssistant: b", [("user", "a"), ("assistant", "b")]),
        ("\n\nHuman: a\nAssistant: no\n\nAssistant: b", [("user", "a\nAssistant: no"), ("assistant", "b")]),
        ("It said: Human: a", []),
        ("Assistant: hello", []),
        ("<s>### Instruction:\na\n### Response:\nb</s>", [("user", "a"), ("assistant", "b")]),
        (
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>" + LLAMA_3_ANSWER,
            [("user", "a"), ("assistant", "b")],
        ),
    ],
)
def test_marked_texts(text: str, expected: list[tuple[str, str]]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("mark", [" ", "### ", "USER: ", "</s>", "<|im_start|>", "\n\nHuman: "])
def test_marks_are_looked_for_in_linear_time(mark: str) -> None:
    parse(mark * 200_000, preamble=True)
