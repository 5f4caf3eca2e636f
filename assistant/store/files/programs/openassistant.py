"""OpenAssistant's trees, and its messages a line each. Ranks of sibling replies become votes.

Its trees answer what is asked in several ways; the best ranked reply is the open one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from assistant.store.files.imports.file_format import Format, MessageFormat, Object, Origin
from assistant.store.files.transcript import Transcript
from assistant.store.files.values.fields import Fields, count, needed
from assistant.store.files.values.message import LAYOUT, with_turns

_LAYOUT = LAYOUT | {"deleted", "review_count", "review_result", "tree_state", "message_tree_id"}


def _is_tree(value: Object) -> bool:
    return "message_tree_id" in value and isinstance(value.get("prompt"), dict)


def _read_tree(value: Object, origin: Origin) -> Transcript:
    fields = Fields(value)
    left: Counter[str] = Counter()
    messages = [needed(value, "prompt", dict)]
    fields.skip("prompt")
    name = fields.identity("message_tree_id")
    fields.count_unread(left, _LAYOUT)
    return _made(messages, name, left, origin)


def _is_message(value: Object) -> bool:
    return "message_tree_id" in value and "message_id" in value and "text" in value


def _read_messages(rows: Sequence[Object], origin: Origin) -> Transcript:
    left: Counter[str] = Counter()
    kept = [row for row in rows if row.get("deleted") is not True]
    count(left, "deleted messages", len(rows) - len(kept))
    return _made(kept, _key(rows[0]), left, origin)


def _key(value: Object) -> str:
    return str(value.get("message_tree_id", ""))


def _made(messages: Sequence[Object], name: str, left: Counter[str], origin: Origin) -> Transcript:
    made = Transcript(origin.place, (), source="openassistant", source_id=name, left=left)
    made = with_turns(made, messages, _LAYOUT)
    return replace(made, leaf=_best(made))


def _best(made: Transcript) -> str | None:
    """The end of the path of the best ranked replies."""
    beaten = {vote.rejected for vote in made.votes if not vote.tie}
    answers: dict[str | None, str] = {}
    for turn in made.turns:
        if turn.key not in beaten:
            answers.setdefault(turn.parent, turn.key)
    leaf = None
    for _ in made.turns:
        if (answer := answers.get(leaf)) is None:
            break
        leaf = answer
    return leaf


TREE = Format("openassistant", "OpenAssistant", _is_tree, _read_tree, grows=True)
MESSAGES = MessageFormat("openassistant", "OpenAssistant", _is_message, _key, _read_messages, grows=True)
