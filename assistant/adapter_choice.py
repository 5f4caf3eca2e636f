"""Which adapter the next reply of a conversation is made with.

The one that the conversation is set to; where it is set to none, what is in use for its model at that time. In a
conversation that is set to one, each branch goes on with what made its last reply: opening another branch sets it to
that.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from assistant.errors import AdapterUnknown
from assistant.store import adapters, conversations, messages


@dataclass(frozen=True, slots=True)
class Speaker:
    """An adapter by the name of its folder, and by its hash where it is registered. Both empty: the base alone."""

    name: str = ""
    hash: str = ""


BASE = Speaker()


def speaker(registry: Database, model: str, adapter: str | None) -> Speaker:
    """What the next reply is made with in a conversation that is set to `adapter`.

    `registry`: the log in which adapters are registered. One that isn't has no hash.
    """
    if not adapter:
        found = adapters.in_use(registry, model) if adapter is None else None
        return Speaker(found.name, found.hash) if found else BASE
    known = next((one for one in adapters.every(registry, model) if one.name == adapter), None)
    return Speaker(adapter, known.hash if known else "")


def speaker_of(registry: Database, hash_or_name: str) -> Speaker:
    """What made a reply, as the log names it. Raises `AdapterUnknown` for an adapter that was never registered."""
    if not hash_or_name:
        return BASE
    if (found := adapters.find(registry, hash_or_name)) is None:
        raise AdapterUnknown(
            f"The adapter {hash_or_name[:12]} began this reply, and only it could go on with it; it is not registered "
            "here. Make another reply."
        )
    return Speaker(found.name, found.hash)


def follow_branch(db: Database, registry: Database, conversation_id: int) -> None:
    """Set a conversation that is set to an adapter, or to the base, to what made the last reply of its open branch."""
    conversation = conversations.get(db, conversation_id)
    if conversation.adapter is None or conversation.leaf_id is None:
        return
    for row in reversed(messages.path(db, conversation.leaf_id)):
        if row.role == "assistant" and messages.was_generated(db, row.id):
            made = messages.reply_info(db, row.id).provenance
            found = adapters.find(registry, made.adapter_hash) if made.adapter_hash else None
            if made.model == conversation.model and (found or not made.adapter_hash):
                conversations.pick_adapter(db, conversation_id, found.name if found else "")
            return
