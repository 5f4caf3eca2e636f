"""Prompts of Google AI Studio as Google Drive stores them: chunks of a user and a model, thoughts among them.

The title of a prompt is the name of its file.
"""

from collections import Counter
from collections.abc import Iterator

from assistant.store.files.imports.file_format import Format, Object, Origin
from assistant.store.files.transcript import THOUGHT, Transcript, Turn
from assistant.store.files.values.content import thing_of, words
from assistant.store.files.values.fields import Fields, checked, count
from assistant.store.files.values.message import ROLES

_ATTACHED = (
    *(
        "driveDocument",
        "driveImage",
        "driveVideo",
        "driveAudio",
        "inlineFile",
        "inlineImage",
        "inlineAudio",
        "inlineData",
    ),
    *("youtubeVideo", "executableCode", "codeExecutionResult", "functionCall", "functionResponse"),
)
_LAYOUT = ("tokenCount", "isGeneratedUsingApiKey", "thinkingBudget", "branchParent", "branchChildren", "parts")


def _matches(value: Object) -> bool:
    return isinstance(value.get("chunkedPrompt"), dict)


def _read(value: Object, origin: Origin) -> Transcript:
    fields = Fields(value)
    left: Counter[str] = Counter()
    prompt = fields.inner("chunkedPrompt")
    turns: list[Turn] = []
    for number, chunk in enumerate(prompt.first(list, "chunks") or []):
        before = turns[-1].key if turns else None
        turns += _turn(Fields(checked(chunk, "a chunk", dict)), str(number), before, left)
    pending = prompt.first(list, "pendingInputs") or fields.first(list, "pendingInputs") or []
    settings = fields.inner("runSettings")
    title = origin.source.stem
    made = Transcript(
        title,
        turns,
        title,
        not title,
        model=settings.text("model").removeprefix("models/"),
        system="\n\n".join(filter(None, words(fields.take("systemInstruction") or None, left))),
        draft=words([one for one in pending if isinstance(one, dict) and one.get("text")], left)[0],
        source="ai-studio",
        left=left,
    )
    prompt.count_unread(left)
    fields.count_unread(left)
    return made


def _turn(fields: Fields, key: str, before: str | None, left: Counter[str]) -> Iterator[Turn]:
    role = fields.needed("role", str).lower()
    text = fields.text("text") or "\n\n".join(filter(None, words(fields.value.get("parts"), left)))
    for name in _ATTACHED:
        if name in fields:
            fields.skip(name)
            count(left, thing_of(name))
    is_thought = fields.take("isThought") is True
    cut = fields.text("finishReason") == "MAX_TOKENS"
    failed = bool(fields.text("errorMessage"))
    state = "failed" if failed else "cut" if cut else "complete"
    created = fields.time("createTime")
    fields.count_unread(left, _LAYOUT)
    yield Turn(key, before, THOUGHT if is_thought else ROLES.get(role, role[:30]), text, created, state=state)


CONVERSATION = Format("ai-studio", "AI Studio", _matches, _read)
