"""A sound tree of user and assistant messages, out of whatever a file says.

- A turn whose parent is missing begins a branch of its own; a circle of parents is cut before its first turn.
- System messages are kept with the conversation; several different ones are joined.
- Thoughts are put before the reply that follows them, between think tags.
- Empty turns, and roles that the log can't hold (tools, hidden ones), are passed over: what answered them answers the
  turn before them.
- A turn that follows one of its own role, and is its only answer, is joined to it with a blank line between.
- A turn without a time takes its parent's. Parents come first, then the older, then as the file has them; our own
  export keeps its order.
Whatever is passed over, joined or moved is counted in `left`.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from assistant.store.files.transcript import NOT_JUDGED, THOUGHT, Transcript, Turn, Vote

ROLES = ("user", "assistant")
EMPTY = "empty messages passed over"


@dataclass(slots=True)
class _Above:
    """What a turn finds above it: the last kept turn, and what waits for the next reply."""

    kept: int | None = None
    thoughts: str = ""


def settle(transcript: Transcript, now_ms: int) -> Transcript:
    """The same conversation with its turns sound and in the order in which they are to be stored.

    Every turn has a time, a parent that came before it or None, and the role `user` or `assistant`.
    """
    left = Counter(transcript.left)
    turns = [_whole_characters(turn, left) for turn in transcript.turns]
    parents = _parents(turns, left)
    start = _start_ms(transcript, turns, now_ms)
    order, times = _order(turns, parents, start, by_time=not transcript.exact)
    turns = [
        turn if turn.created_ms == time else replace(turn, created_ms=time)
        for turn, time in zip(turns, times, strict=True)
    ]
    landing: dict[str, str | None] = {}
    if transcript.exact:
        kept = [replace(turns[at], parent=_key(turns, parents[at])) for at in order]
        leaf = transcript.leaf
    else:
        kept, landing = _speech(turns, parents, order, left)
        leaf = landing.get(transcript.leaf or "")
    if leaf not in {turn.key for turn in kept}:
        leaf = kept[-1].key if kept else None
    votes = transcript.votes if transcript.exact else _votes(transcript.votes, landing, kept, left)
    systems = dict.fromkeys(turns[at].content.strip() for at in order if turns[at].role == "system")
    systems.pop(transcript.system.strip(), None)
    end = max((turn.created_ms or 0 for turn in kept), default=start)
    return replace(
        transcript,
        turns=kept,
        leaf=leaf,
        system="\n\n".join(filter(None, (transcript.system, *systems))),
        created_ms=start,
        updated_ms=transcript.updated_ms or end,
        votes=votes,
        left=+left,
    )


def _votes(
    votes: Iterable[Vote], landing: Mapping[str, str | None], turns: Iterable[Turn], left: Counter[str]
) -> list[Vote]:
    """The votes between two replies that are kept, by the keys that these have now."""
    replies = {turn.key for turn in turns if turn.role == "assistant"}
    found = [
        replace(one, chosen=landing.get(one.chosen) or "", rejected=landing.get(one.rejected) or "") for one in votes
    ]
    kept = [one for one in found if {one.chosen, one.rejected} <= replies and one.chosen != one.rejected]
    left["votes about an empty reply left out"] += len(found) - len(kept)
    return kept


def _key(turns: Sequence[Turn], at: int | None) -> str | None:
    return None if at is None else turns[at].key


def _whole_characters(turn: Turn, left: Counter[str]) -> Turn:
    """The turn with halves of characters replaced, which neither UTF-8 nor the log can hold."""
    content = turn.content
    if content.isascii():
        return turn
    try:
        content.encode()
    except UnicodeEncodeError:
        left["messages with broken characters, replaced by \ufffd"] += 1
        return replace(turn, content=content.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    return turn


def _parents(turns: list[Turn], left: Counter[str]) -> list[int | None]:
    """The place of each turn's parent. Keys are made unique in `turns`; the first of a name is the one meant."""
    places: dict[str, int] = {}
    for at, turn in enumerate(turns):
        if turn.key in places:
            turns[at] = replace(turn, key=_free(f"{turn.key}#{at}", places))
            left["messages of a name that another one had"] += 1
        places[turns[at].key] = at
    parents = [None if turn.parent is None else places.get(turn.parent) for turn in turns]
    left["messages whose parent is missing"] += sum(
        turn.parent is not None and parent is None for turn, parent in zip(turns, parents, strict=True)
    )
    left["circles of messages cut open"] += _cut_circles(parents)
    return parents


def _free(key: str, taken: dict[str, int]) -> str:
    while key in taken:
        key += "#"
    return key


def _cut_circles(parents: list[int | None]) -> int:
    """Make every chain of parents end; how many did not."""
    walk_of = [-1] * len(parents)
    circles = 0
    for walk in range(len(parents)):
        at: int | None = walk
        while at is not None and walk_of[at] == -1:
            walk_of[at] = walk
            at = parents[at]
        if at is not None and walk_of[at] == walk:  # back where this walk has been
            parents[at] = None
            circles += 1
    return circles


def _start_ms(transcript: Transcript, turns: Iterable[Turn], now_ms: int) -> int:
    if transcript.created_ms is not None:
        return transcript.created_ms
    known = [turn.created_ms for turn in turns if turn.created_ms is not None]
    return min(known, default=transcript.updated_ms if transcript.updated_ms is not None else now_ms)


def _order(
    turns: Sequence[Turn], parents: Sequence[int | None], start: int, *, by_time: bool
) -> tuple[list[int], list[int]]:
    """The places of the turns as they are to be stored, and the time of each."""
    children: dict[int | None, list[int]] = {}
    for at, parent in enumerate(parents):
        children.setdefault(parent, []).append(at)
    times = [start] * len(turns)
    # Sorted by a time that never lies before the parent's, so that a clock set back moves nobody out of line.
    ready = [(_time(turns[at], start) if by_time else 0, at) for at in children.get(None, ())]
    heapq.heapify(ready)
    order = []
    while ready:
        reached, at = heapq.heappop(ready)
        order.append(at)
        parent = parents[at]
        times[at] = _time(turns[at], start if parent is None else times[parent])
        for child in children.get(at, ()):
            heapq.heappush(ready, (max(reached, _time(turns[child], reached)) if by_time else 0, child))
    return order, times


def _time(turn: Turn, otherwise: int) -> int:
    return otherwise if turn.created_ms is None else turn.created_ms


def _speech(
    turns: Sequence[Turn], parents: Sequence[int | None], order: Sequence[int], left: Counter[str]
) -> tuple[list[Turn], dict[str, str | None]]:
    """What a person and a model said, and for the key of every turn the key of the kept one it lies in or below."""
    below: dict[int | None, _Above] = {None: _Above()}
    spoken: list[tuple[int, int | None, Turn]] = []
    for at in order:
        above = below[parents[at]]
        turn = _heard(turns[at], above, left)
        if turn is None:
            below[at] = _passed(turns[at], above)
        else:
            spoken.append((at, above.kept, turn))
            below[at] = _Above(at)
    kept, name_of = _joined(spoken, left)
    return kept, {turns[at].key: name_of.get(-1 if one.kept is None else one.kept) for at, one in _places(below)}


def _places(below: dict[int | None, _Above]) -> Iterable[tuple[int, _Above]]:
    return ((at, one) for at, one in below.items() if at is not None)


def _heard(turn: Turn, above: _Above, left: Counter[str]) -> Turn | None:
    """The turn as it is kept, or None, counted, for one that is passed over."""
    if turn.role in ROLES and turn.content.strip():
        if turn.role == "user":
            return turn
        if not above.thoughts:
            return turn
        return replace(turn, content=f"<think>\n{above.thoughts}\n</think>\n\n{turn.content}")
    if not turn.content.strip():
        left[EMPTY] += turn.role in ROLES
    elif turn.role == "system":
        left["system messages kept with their conversation"] += 1
    elif turn.role == THOUGHT:
        left["thoughts put before their reply"] += 1
    else:
        left[f"{turn.role} messages left out"] += 1
    return None


def _passed(turn: Turn, above: _Above) -> _Above:
    """What lies above the answers to a turn that is passed over."""
    content = turn.content.strip()
    if turn.role == THOUGHT and content:
        return _Above(above.kept, "\n\n".join(filter(None, (above.thoughts, content))))
    return above


def _joined(spoken: Sequence[tuple[int, int | None, Turn]], left: Counter[str]) -> tuple[list[Turn], dict[int, str]]:
    """The kept turns with lone answers of the same role joined to what they answer, and the key each place lies in."""
    answers = Counter(parent for _, parent, _ in spoken)
    kept: list[list[Turn]] = []
    group_of: dict[int, int] = {}
    name_of: dict[int, str] = {}
    for at, parent, turn in spoken:
        group = None if parent is None else group_of[parent]
        if group is not None and answers[parent] == 1 and kept[group][0].role == turn.role:
            kept[group].append(turn)
            left["messages joined to one of the same side"] += 1
        else:
            name = None if parent is None else name_of[parent]
            kept.append([turn if turn.parent == name else replace(turn, parent=name)])
            group = len(kept) - 1
        group_of[at] = group
        name_of[at] = kept[group][0].key
    return [turns[0] if len(turns) == 1 else _one(turns) for turns in kept], name_of


def _one(turns: Sequence[Turn]) -> Turn:
    """Several turns of one side as one: the texts in order, the newest judgement and model, and all tags."""
    judged = [turn.judgement for turn in turns if turn.judgement != NOT_JUDGED]
    tags = tuple(dict.fromkeys(tag for one in judged for tag in one.tags))
    return replace(
        turns[0],
        content="\n\n".join(turn.content for turn in turns),
        model=next((turn.model for turn in reversed(turns) if turn.model), ""),
        judgement=replace(judged[-1], tags=tags) if judged else NOT_JUDGED,
        state=next((turn.state for turn in reversed(turns) if turn.state != "complete"), "complete"),
        updated_ms=turns[-1].created_ms,
    )
