"""A row of a data set -> one conversation. Tables list the names that data sets use for the same fields.

OpenAI messages, ShareGPT, Alpaca, prompt and completion, TRL's and LLaMA-Factory's pairs and thumbs, HH, the arena's
comparisons and scored lists are rows with more or fewer of the same fields. A question that is repeated in the answers
or in the messages is asked once.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from assistant.store.files.rows.answers import BETTER, COMPARED, WORSE, Answer, answers, is_answered
from assistant.store.files.rows.branches import Branches, Path, question
from assistant.store.files.rows.marked_text import parse
from assistant.store.files.transcript import NOT_JUDGED, Transcript, Turn, Vote, WrongShape
from assistant.store.files.turns_in_a_row import in_a_row
from assistant.store.files.values.content import attached, words
from assistant.store.files.values.fields import Fields, count, kind_of
from assistant.store.files.values.judgements import judgement_of
from assistant.store.files.values.message import is_message, tree, votes_by_rank
from assistant.store.judgements.curation import Judgement

MESSAGES = ("messages", "conversations", "conversation", "items", "dialog", "dialogue", "utterances")
"""Fields whose list is a conversation, or what was said before the answers."""
_LISTS = (*MESSAGES, "contents", "data", "context", "prompt", "input")
"""Fields whose list may be one: `contents` is Gemini's, `data` UltraChat's, `input` OpenAI's preference format."""
_ASKED = ("instruction", "prompt", "question", "query", "user", "human", "post", "history", "input")
_WHOLE_TEXTS = ("text", "chat")
"""Fields whose text may be a whole conversation: `chat` is Glaive's."""
_MORE_ASKED = ("input", "context")
_SYSTEMS = ("system", "system_prompt", "system_message", "systemPrompt", "system_instruction", "systemInstruction")
_IDS = ("conversation_id", "conversationId", "id", "uuid", "conversation_hash", "prompt_id", "question_id", "dialog_id")
_MODELS = ("model", "model_name", "generator")
_CREATED = ("created_at", "create_time", "created", "timestamp", "tstamp", "date")
_SHAREGPT = ("conversations", "conversation", "items")
_AS_JSON = frozenset((*MESSAGES, *BETTER, *WORSE, "prompt"))
_LAYOUT = frozenset({"turn", "num_turns", "idx", "index", "row_idx"})


@dataclass(slots=True)
class _Row:
    """A row as it is read: what was said before the answers, and the answers."""

    fields: Fields
    left: Counter[str] = field(default_factory=Counter)
    context: list[Path] = field(default_factory=list)
    context_votes: Sequence[Vote] = ()
    """Of the ranks in the context's own branches."""
    answers: Sequence[Answer] = ()


def is_row(value: Mapping[str, Any]) -> bool:
    """Whether an object is such a row."""
    if "messages" in value or "conversations" in value or any(_holds_messages(value, name) for name in _LISTS):
        return True
    if is_answered(value) and (_is_paired(value) or any(isinstance(value.get(name), str) for name in _ASKED)):
        return True
    return any(isinstance(value.get(name), str) and parse(value[name], preamble=True) for name in _WHOLE_TEXTS)


def _holds_messages(value: Mapping[str, Any], name: str) -> bool:
    found = value.get(name)
    if isinstance(found, dict):
        found = list(found.values()) if are_messages(found) else found.get("messages")
    if not isinstance(found, list):
        return False
    return name in MESSAGES or (bool(found) and (isinstance(found[0], dict) or name == "data"))


def are_messages(value: Mapping[str, Any]) -> bool:
    """Whether all fields of an object are messages."""
    return bool(value) and all(is_message(one) for one in value.values())


def by_name(messages: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Messages that are the fields of an object, each with its name."""
    return [{"id": name, **message} for name, message in messages.items()]


def _is_paired(value: Mapping[str, Any]) -> bool:
    pairs = any(name in value for name in BETTER) and any(name in value for name in WORSE)
    return pairs or any(one in value and other in value for one, other in COMPARED)


def source_of(value: Mapping[str, Any]) -> str:
    """What a row of this shape is called."""
    if _is_paired(value) or any(name in value for name in WORSE):
        return "preference"
    if "instruction" in value:
        return "alpaca"
    if any(name in value for name in _SHAREGPT):
        return "sharegpt"
    return "openai" if any(_holds_messages(value, name) for name in _LISTS) else "completion"


def read(value: Mapping[str, Any], place: str) -> Transcript:
    """The conversation of a row. Raises `WrongShape`."""
    row = _Row(Fields({name: _from_json(name, one) for name, one in value.items()}))
    _read_context(row)
    row.answers = answers(row.fields, row.left)
    _read_question(row)
    turns, votes, leaf = _put_together(row, judgement_of(row.fields, row.left))
    title = row.fields.text("title", "name")
    made = Transcript(
        title or place,
        turns,
        title,
        not title,
        created_ms=row.fields.time(*_CREATED),
        updated_ms=row.fields.time("updated_at", "update_time"),
        model=row.fields.text(*_MODELS) or row.fields.inner("model").text("id", "name"),
        system=_system(row),
        source=source_of(value),
        source_id=_identity(row.fields),
        votes=votes,
        leaf=leaf,
        left=row.left,
    )
    count(row.left, "attached texts", len(list(attached(row.fields, row.left))))
    row.fields.count_unread(row.left, _LAYOUT)
    return made


def _from_json(name: str, value: object) -> object:
    """The messages that a field holds as JSON in a text; any other value as it is."""
    if not isinstance(value, str) or name not in _AS_JSON or not value.startswith("[{"):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return found if is_message(found[0]) else value


def messages_alone(value: Sequence[Any], place: str) -> Transcript:
    """The conversation of a list of messages outside of a row. Raises `WrongShape`."""
    left: Counter[str] = Counter()
    turns, votes = tree(value, left)
    return Transcript(place, turns, source="openai", votes=votes, left=left)


def _system(row: _Row) -> str:
    name = next((name for name in _SYSTEMS if name in row.fields), None)
    return "" if name is None else "\n\n".join(filter(None, words(row.fields.take(name), row.left)))


def _identity(fields: Fields) -> str:
    """The name of the conversation. A number counts the rows of one file, so that it names nothing."""
    name = fields.first(str, *_IDS) or ""
    fields.skip(*_IDS)
    return name


def _read_context(row: _Row) -> None:
    """The lists of messages in the row."""
    for name in _LISTS:
        if _holds_messages(row.fields.value, name):
            turns, row.context_votes = tree(_messages(row, name), row.left)
            row.context.append(turns)
        elif name in MESSAGES[:2] and name in row.fields:
            raise WrongShape(f"{name!r} is {kind_of(row.fields.value[name])}, not a list")


def _messages(row: _Row, name: str) -> list[Any]:
    found = row.fields.value[name]
    if isinstance(found, list):
        return row.fields.needed(name, list)
    if are_messages(found):
        return by_name(row.fields.needed(name, dict))
    inner = row.fields.inner(name)
    messages = inner.needed("messages", list)
    inner.count_unread(row.left, ("parallel_tool_calls",))
    return messages


def _read_question(row: _Row) -> None:
    """The question in separate fields, unless the messages or the answers repeat it."""
    whole = [answer.turns for answer in row.answers if answer.whole]
    if row.answers:
        row.context = [path for path in row.context if path]
    if row.context or whole:
        paths = [*row.context, *whole]
        asked = {turn.content.strip() for path in paths for turn in path if turn.role == "user"}
        for name in (*_ASKED, *_MORE_ASKED):
            text = row.fields.value.get(name)
            if isinstance(text, str) and _last_question(text).strip() in asked:
                row.fields.skip(name)
        return
    path = [*_history(row), *_asked(row)] or in_a_row(parse(row.fields.text(*_WHOLE_TEXTS), preamble=True))
    if not path:
        raise WrongShape("it has an answer, and no question")
    row.context.append(path)


def _last_question(text: str) -> str:
    return next((said for role, said in reversed(parse(text)) if role == "user"), text)


def _history(row: _Row) -> list[Turn]:
    found = row.fields.first(list, "history")
    return [] if found is None else tree(found, row.left)[0]


def _asked(row: _Row) -> list[Turn]:
    """What is asked: an instruction with its input below, or a text that may hold several turns."""
    fields = row.fields
    name = next((name for name in _ASKED if isinstance(fields.value.get(name), str) and name in fields), None)
    if name is None:
        return []
    text = fields.text(name)
    if turns := parse(text):
        return in_a_row(turns)
    more = [fields.text(other) for other in _MORE_ASKED if other != name]
    return in_a_row([("user", "\n\n".join(filter(None, (text, *more))))])


def _put_together(row: _Row, weighed: Judgement) -> tuple[list[Turn], Sequence[Vote], str | None]:
    """(turns, votes, open leaf) of the context and the answers."""
    if len(row.context) == 1 and not row.answers:
        turns = list(row.context[0])
        _judge(turns, range(len(turns)), weighed, row.left, several=False)
        return turns, row.context_votes, None
    branches = Branches()
    paths = [branches.add(path) for path in row.context]
    base = question(row.context[0]) if row.context else ()
    ranked = [(one.rank, branches.add(one.turns if one.whole else [*base, *one.turns])) for one in row.answers]
    ranks = {rank for rank, _ in ranked}
    if 0 not in ranks and ranks != {None} and paths and branches.turns[paths[0][-1]].role == "assistant":
        ranked.append((0, paths[0]))  # the preferred answer ends the messages
    ranked.sort(key=lambda one: one[0] or 0)
    main = ranked[0][1] if ranked else paths[0]
    _judge(branches.turns, main, weighed, row.left, several=len(ranked) > 1)
    votes = _votes(branches, [(rank, path) for rank, path in ranked if rank is not None], row.left)
    return branches.turns, votes, branches.turns[main[-1]].key


def _votes(branches: Branches, ranked: Sequence[tuple[int, Sequence[int]]], left: Counter[str]) -> list[Vote]:
    """Between each answer and the next one in order."""
    if len(ranked) == 1:
        count(left, "orders of a single answer")
    paths = {str(place): path for place, (_, path) in enumerate(ranked)}
    votes = []
    for vote in votes_by_rank((rank, str(place)) for place, (rank, _) in enumerate(ranked)):
        rivals = branches.rivals(paths[vote.chosen], paths[vote.rejected])
        if rivals is None:
            count(left, "votes between equal answers, or answers to different questions")
        else:
            votes.append(Vote(*rivals, tie=vote.tie))
    return votes


def _judge(turns: list[Turn], path: Sequence[int], weighed: Judgement, left: Counter[str], *, several: bool) -> None:
    """Put what the row says of its answer on the last reply of the path; a weight of 0 on all of them."""
    replies = [place for place in path if turns[place].role == "assistant"]
    if weighed == NOT_JUDGED or not replies:
        count(left, "judgements without a reply", int(weighed != NOT_JUDGED))
        return
    if several and weighed.rating:
        count(left, "ratings of several answers at once")
        weighed = replace(weighed, rating=0)
    if weighed.decision == "skip":
        for place in replies:
            turns[place] = replace(turns[place], judgement=replace(turns[place].judgement, decision="skip"))
    own = turns[replies[-1]].judgement
    tags = (*own.tags, *weighed.tags)
    both = Judgement(weighed.rating or own.rating, own.decision, weighed.note or own.note, tags)
    turns[replies[-1]] = replace(turns[replies[-1]], judgement=both)
