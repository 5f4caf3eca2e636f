"""A message object of any program -> turns: who speaks, what is said in answer to what and when, and how it is judged.

Messages have the same parts in every program, under other names; the tables below list the names. A list of
messages is a chain, unless they name their parents or hold their answers: then it is a tree.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from assistant.store.files.transcript import THOUGHT, Transcript, Turn, Vote, WrongShape
from assistant.store.files.values.content import attached, words
from assistant.store.files.values.fields import Fields, count, is_empty, kind_of
from assistant.store.files.values.judgements import WEIGHTS, judgement_of

ROLES = (
    dict.fromkeys(("user", "human", "prompter", "person", "customer"), "user")
    | dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "claude", "gemini"), "assistant")
    | dict.fromkeys(("model", "bot", "ai", "chatbot", "moss"), "assistant")
    | dict.fromkeys(("system", "developer"), "system")
    | dict.fromkeys(("tool", "function", "observation", "function_response", "tool_response", "ipython"), "tool")
    | dict.fromkeys(("function_call", "tool_call"), "tool call")
)
ROLE_CHARACTERS = 30

_KEYS = ("id", "uuid", "messageId", "message_id", "response_id")
_PARENTS = (
    *("parentId", "parent", "parentMessageId", "parent_message_uuid", "parent_id", "parent_response_id"),
    *("parentUuid", "parent_uuid"),
)
_CONVERSATIONS = (
    *("thread_id", "conversation_id", "conversationId", "convId", "chat_id", "session_id", "sessionId", "dialog_id"),
)
_ROLES = ("role", "from", "sender", "author", "speaker")
_IS_USER = ("isCreatedByUser", "is_user", "isUser")
_CONTENTS = ("content", "value", "text", "message", "parts")
_CREATED = ("created_at", "createdAt", "create_time", "timestamp", "created_date", "created", "date", "time", "tstamp")
_UPDATED = ("updated_at", "updatedAt", "update_time", "completed_at")
_MODELS = ("model", "model_name", "modelName", "model_slug", "model_id")
_THOUGHTS = ("reasoning_content", "reasoning", "reasoningContent", "thinking", "thinking_trace", "thoughts")
_ANSWERS = ("children", "replies")
_SIDES = {"input": "user", "output": "assistant", "question": "user", "answer": "assistant"}
_TOOL_CALLS = ("tool_calls", "toolCalls", "function_call")
_NO_PARENT = re.compile(r"[0-]*|00000000-0000-4000-8000-000000000000")

_LINKS = frozenset((*_KEYS, *_PARENTS))
_PLAIN = _LINKS | {*_ROLES, *_CONTENTS}
"""Fields of a message that says nothing but who speaks, what, and in answer to what."""
_OTHER_TEXTS = frozenset((*_CONTENTS, *_THOUGHTS))

LAYOUT = frozenset(
    {"object", "type", "index", "turn", "turn_identifier", "thread_id", "conversation_id", "conversationId", "convId"}
    | {"chat_id", "message_tree_id", "childrenIds", "user", "user_id", "_id", "__v", "done", "tokenCount", "usage"}
    | {"incomplete_at", "run_id", "assistant_id", "tool_call_id", "toolCallId"}
)
"""Fields of a message for its position and its cost."""


@dataclass(frozen=True, slots=True)
class _Read:
    """One message as it was read: its turns, and how its siblings were ranked above or below it."""

    turns: tuple[Turn, ...]
    rank: float | None


def is_message(value: object) -> bool:
    """Whether a value is a message of its own: one that names a speaker who is known, and says something."""
    if not isinstance(value, dict):
        return False
    value = _unwrapped(value)
    role = next((value[name] for name in _ROLES if isinstance(value.get(name), str)), "")
    says = any(name in value for name in (*_CONTENTS, *_TOOL_CALLS))
    return says and (role.lower() in ROLES or ("role" in value and isinstance(value["role"], str)))


def conversation_of(message: Mapping[str, Any]) -> str:
    """The name of the conversation that a message says it is of, or ""."""
    return Fields(message).identity(*_CONVERSATIONS)


def turns_of(messages: Sequence[Any], left: Counter[str], layout: Collection[str] = LAYOUT) -> list[Turn]:
    """The turns of a list of messages. Raises `WrongShape`."""
    return [turn for one in _read_all(messages, left, layout) for turn in one.turns]


def tree(
    messages: Sequence[Any], left: Counter[str], layout: Collection[str] = LAYOUT
) -> tuple[list[Turn], list[Vote]]:
    """As `turns_of`, with the votes that the ranks of siblings are. Raises `WrongShape`."""
    read = _read_all(messages, left, layout)
    return [turn for one in read for turn in one.turns], list(_votes(read))


def with_turns(base: Transcript, messages: Sequence[Any], layout: Collection[str] = LAYOUT) -> Transcript:
    """A transcript with the turns and votes of these messages. Raises `WrongShape`."""
    left = Counter(base.left)
    turns, votes = tree(messages, left, layout)
    return replace(base, turns=turns, votes=(*base.votes, *votes), left=left)


def _read_all(messages: Sequence[Any], left: Counter[str], layout: Collection[str]) -> list[_Read]:
    objects = list(_objects(messages))
    linked = any(one.get(name) for one in objects if not _LINKS.isdisjoint(one) for name in _PARENTS)
    nested = any(isinstance(inner, dict) for one in objects for inner in _answers(one))
    flat = list(_flat(objects))
    if not linked and not nested and len({key for key, _, _ in flat}) < len(flat):  # the names are those of speakers
        flat = [(str(number), value, None) for number, (_, value, _) in enumerate(flat)]
    read: list[_Read] = []
    before: str | None = None
    for key, value, above in flat:
        named = linked and any(name in value for name in _PARENTS)
        parent = _parent(value) if named else above if nested else before
        read.append(_read(Fields(value), key, parent, left, layout))
        before = key
    return read


def _objects(messages: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    """Each message as an object. Texts alone are said in turn, the user first; a pair is a question and its answer."""
    for number, one in enumerate(messages):
        if isinstance(one, str):
            yield {"role": ("user", "assistant")[number % 2], "content": one}
        elif isinstance(one, list) and len(one) == 2:
            yield {"role": "user", "content": one[0]}
            yield {"role": "assistant", "content": one[1]}
        elif not isinstance(one, dict):
            raise WrongShape(f"a message is {kind_of(one)}, not an object")
        else:
            yield from sides(one) or (_unwrapped(one),)


def sides(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A question and its answer in one object, as `{"human": …, "assistant": …}`: a message each; else none."""
    if any(name in value for name in (*_ROLES, *_IS_USER)):
        return []
    names = {_SIDES.get(name) or ROLES.get(name.lower(), ""): name for name in value}
    if "user" not in names or "assistant" not in names:
        return []
    said = [{"role": role, "content": value[names[role]]} for role in ("system", "user", "assistant") if role in names]
    said[-1] |= {name: found for name, found in value.items() if name not in names.values()}
    return said


def _unwrapped(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message in the field `message` of an object, with the object's other fields."""
    inner = value.get("message")
    if not isinstance(inner, dict) or any(name in value for name in _ROLES):
        return value
    return {**{name: found for name, found in value.items() if name != "message"}, **inner}


def _answers(value: Mapping[str, Any]) -> list[Any]:
    return next((value[name] for name in _ANSWERS if isinstance(value.get(name), list)), [])


def _flat(messages: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any], str | None]]:
    """(key, message, key of the message that holds it): nested answers come after their message."""
    waiting: list[tuple[Mapping[str, Any], str | None]] = [(one, None) for one in messages]
    waiting.reverse()
    number = 0
    while waiting:
        value, above = waiting.pop()
        key = str(number) if _LINKS.isdisjoint(value) else Fields(value).identity(*_KEYS) or str(number)
        number += 1
        yield key, value, above
        waiting += [(one, key) for one in reversed(_answers(value)) if isinstance(one, dict)]


def _read(fields: Fields, key: str, parent: str | None, left: Counter[str], layout: Collection[str]) -> _Read:
    role = _role(fields)
    said, thought = _words(fields, left)
    if fields.value.keys() <= _PLAIN and not thought:  # most messages of data sets
        fields.count_unread(left, _LINKS)
        return _Read((Turn(key, parent, role, said),), None)
    said = "\n\n".join(filter(None, (said, *attached(fields, left))))
    created, updated, state = fields.time(*_CREATED), fields.time(*_UPDATED), _state(fields)
    before: tuple[Turn, ...] = ()
    if thought and role == "assistant":
        before = (Turn(f"{key} thought", parent, THOUGHT, thought, created),)
        parent = before[0].key
    elif thought:
        count(left, "thoughts of a user")
    turn, rank = Turn(key, parent, role, said, created, updated), None
    if role == "assistant":
        turn = replace(turn, model=fields.text(*_MODELS), state=state, judgement=judgement_of(fields, left))
        rank = fields.number("rank")
    else:
        fields.skip(*WEIGHTS, *_MODELS)  # of the reply that is asked for
    for name in _TOOL_CALLS:
        if name in fields:
            calls = fields.take(name)
            count(left, "tool calls", len(calls) if isinstance(calls, list) else 1)
    fields.skip(*_LINKS, *_ANSWERS)
    fields.count_unread(left, layout)
    return _Read((*before, turn), rank)


def _parent(value: Mapping[str, Any]) -> str | None:
    """The key of the message that this one names as what it answers."""
    parent = Fields(value).identity(*_PARENTS)
    return None if _NO_PARENT.fullmatch(parent) else parent


def _role(fields: Fields) -> str:
    for name in _IS_USER:
        if isinstance(fields.value.get(name), bool):
            fields.skip(*_ROLES)
            return "user" if fields.take(name) else "assistant"
    for name in _ROLES:
        role = fields.value.get(name)
        if isinstance(role, dict):
            role = role.get("role")
        if isinstance(role, str):
            fields.skip(name)
            return ROLES.get(role.lower(), " ".join(role.lower().split())[:ROLE_CHARACTERS] or "unnamed")
    raise WrongShape("a message has no 'role'")


def _words(fields: Fields, left: Counter[str]) -> tuple[str, str]:
    """(what is said, what is thought). Of several fields the first that says something; the same text is read too."""
    said, thoughts = "", []
    for name in _CONTENTS:
        if said or name not in fields.value:
            continue
        value = fields.value[name]
        if not isinstance(value, str | list | dict) and value is not None and name != "content":
            continue
        fields.skip(name)
        said, thought = words(value, left)
        thoughts.append(thought)
    for name in filter(_OTHER_TEXTS.__contains__, fields.value):
        if fields.value[name] in ("", said):
            fields.skip(name)
        elif name in _THOUGHTS and (value := fields.first(str, name) or fields.first(list, name)) is not None:
            thoughts.append("\n\n".join(filter(None, words(value, left))))
    return said, "\n\n".join(dict.fromkeys(filter(None, thoughts)))


def _state(fields: Fields) -> str:
    """Whether a reply is whole, in the words of the log."""
    reason = fields.text("finish_reason", "finishReason", "stop_reason").lower()
    status = fields.text("status").lower()
    error = fields.take("error")
    if (error is not False and not is_empty(error)) or status in ("error", "failed"):
        return "failed"
    if fields.take("unfinished") is True or reason in ("length", "max_tokens", "incomplete"):
        return "cut"
    stopped = {"stopped", "cancelled", "interrupted"}
    return "stopped" if status in stopped or reason in stopped else "complete"


def _votes(read: Iterable[_Read]) -> Iterator[Vote]:
    """Between siblings that were ranked: each is preferred to the next one. Rank 0 is the best."""
    ranked: dict[str | None, list[tuple[float, str]]] = {}
    for one in read:
        if one.rank is not None and one.turns[-1].role == "assistant":
            ranked.setdefault(one.turns[0].parent, []).append((one.rank, one.turns[-1].key))
    for siblings in ranked.values():
        yield from votes_by_rank(siblings)


def votes_by_rank(ranked: Iterable[tuple[float, str]]) -> Iterator[Vote]:
    """A vote between each reply and the next one in order of rank, a tie where they have the same."""
    order = sorted(ranked, key=lambda one: one[0])
    for (rank, key), (below, other) in pairwise(order):
        yield Vote(key, other, tie=rank == below)
