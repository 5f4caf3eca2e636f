"""LibreChat's JSON export: messages in a row or with branches, flat or one inside the other."""

from collections import Counter

from assistant.store.files.imports.file_format import Format, Object, Origin
from assistant.store.files.transcript import Transcript
from assistant.store.files.values.fields import Fields
from assistant.store.files.values.message import LAYOUT, with_turns

_LAYOUT = LAYOUT | {
    *("endpoint", "isEdited", "promptTokens", "iconURL", "clientTimestamp", "clientId", "title", "finish_reason"),
    *("overrideParentMessageId", "responseMessageId", "bg", "current", "searchResult", "depth", "siblingIndex"),
    *("contextMeta", "addedConvo", "expiredAt"),
}
_OPTIONS = ("presetId", "endpoint", "endpointType", "title", "resendFiles", "imageDetail", "chatGptLabel", "modelLabel")
_SAMPLING = ("temperature", "top_p", "topP", "topK", "presence_penalty", "frequency_penalty", "maxOutputTokens")


def _matches(value: Object) -> bool:
    messages = value.get("messagesTree", value.get("messages"))
    return "conversationId" in value and isinstance(messages, list) and all(
        isinstance(one, dict) and ("isCreatedByUser" in one or "messageId" in one) for one in messages
    )  # fmt: skip


def _read(value: Object, origin: Origin) -> Transcript:
    fields = Fields(value)
    left: Counter[str] = Counter()
    options = fields.inner("options")
    messages = fields.take("messagesTree" if "messagesTree" in value else "messages")
    title = fields.text("title")
    made = Transcript(
        title or origin.place,
        (),
        title,
        not title,
        model=options.text("model"),
        system=options.text("promptPrefix", "system", "instructions"),
        source="librechat",
        source_id=fields.identity("conversationId"),
        left=left,
    )
    options.count_unread(left, (*_OPTIONS, *_SAMPLING))
    fields.count_unread(left, ("endpoint", "exportAt", "branches", "recursive"))
    return with_turns(made, messages, _LAYOUT)


CONVERSATION = Format("librechat", "LibreChat", _matches, _read, grows=True)
