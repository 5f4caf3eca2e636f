"""Grok's export: conversations with their responses, each naming the one it answers."""

from collections import Counter

from assistant.store.files.imports.file_format import Format, Object, Origin
from assistant.store.files.transcript import Transcript
from assistant.store.files.values.fields import Fields, checked, object_of
from assistant.store.files.values.message import LAYOUT, with_turns

_LAYOUT = LAYOUT | {
    *("manual", "partial", "shared", "query_type", "is_control", "xai_user_id", "xai_anon_user_id", "media_types"),
    *(
        "thinking_start_time",
        "thinking_end_time",
        "debug_log",
        "ui_layout",
        "share_link",
        "request_metadata",
        "metadata",
    ),
}
_CONVERSATION = (
    *("user_id", "anon_user_id", "system_prompt_id", "system_prompt_name", "temporary", "asset_ids", "root_asset_id"),
    *("x_user_id", "media_types", "controller", "task_result_id"),
)


def _matches(value: Object) -> bool:
    return isinstance(value.get("conversation"), dict) and isinstance(value.get("responses"), list)


def _read(value: Object, origin: Origin) -> Transcript:
    fields = Fields(value)
    left: Counter[str] = Counter()
    conversation = fields.inner("conversation")
    messages = [_message(checked(one, "a response", dict)) for one in fields.needed("responses", list)]
    title = conversation.text("title")
    made = Transcript(
        title or origin.place,
        (),
        title,
        not title,
        created_ms=conversation.time("create_time"),
        updated_ms=conversation.time("modify_time"),
        pinned=conversation.take("starred") is True,
        source="grok",
        source_id=conversation.identity("conversation_id", "id"),
        leaf=conversation.identity("leaf_response_id") or None,
        left=left,
    )
    conversation.count_unread(left, _CONVERSATION)
    fields.count_unread(left)
    return with_turns(made, messages, _LAYOUT)


def _message(value: Object) -> dict[str, object]:
    response = dict(object_of(value, "response") or value)
    details = object_of(object_of(response, "metadata"), "requestModelDetails")
    if response.get("model") is None and isinstance(details.get("modelId"), str):
        response["model"] = details["modelId"]
    stamp = response.get("create_time")  # MongoDB's way in some exports
    if isinstance(stamp, dict) and isinstance(stamp.get("$date"), dict):
        response["create_time"] = stamp["$date"].get("$numberLong")
    return response


CONVERSATION = Format("grok", "Grok", _matches, _read, grows=True)
