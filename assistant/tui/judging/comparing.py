"""Choose which two replies to compare, blind: two versions that there are, or two that are made for it."""

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from assistant.errors import StoreError
from assistant.tui.dialogs.pick import Choice, PickScreen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from sqlite_utils import Database

    from assistant.dialogue.exchange import Maker, Step
    from assistant.store.messages import StoredMessage
    from assistant.tui.chat.branched_conversation import BranchedConversation
    from assistant.tui.judging.compare import Pair
    from assistant.tui.judging.curating import Curating
    from assistant.tui.logs import Logs
    from prompts.template import Template

FIRST_WORDS = 80
"""Characters of a version that are shown where one is chosen."""
NO_TEXTS = "There are no two versions with a text to compare."


# --- versions that there are


def compare_versions(view: "BranchedConversation", message_id: int) -> None:
    """Compare a reply with its only other version, or with one that the reader picks."""
    from assistant.store import messages

    assert view.open_log is not None
    db = view.open_log.db
    versions = messages.siblings(db, message_id)
    rows = {one: messages.get(db, one) for one in versions}
    others = [one for one in versions if one != message_id and _has_text(rows[one])]

    def chosen(other: str | None) -> None:
        if other is not None:
            compare_blind(view, message_id, int(other), lambda better: view.open_path(better or message_id))

    if not others:
        raise StoreError(NO_TEXTS)
    if len(others) == 1:
        chosen(str(others[0]))
    else:
        choices = [
            Choice(str(one), f"version {versions.index(one) + 1}", rows[one].content[:FIRST_WORDS]) for one in others
        ]
        view.app.push_screen(PickScreen("Compare with", choices), chosen)


def compare_blind(view: "Curating", one: int, other: int, done: "Callable[[int | None], None] | None" = None) -> None:
    """Show two replies, and store the vote. `done` gets the better one."""
    from assistant.tui.judging import acts
    from assistant.tui.judging.compare import CompareScreen

    def show(shown: "Pair") -> None:
        def vote(better: int | None) -> None:
            view.act(lambda db: acts.vote(db, shown.ids, better))

        view.app.push_screen(CompareScreen(shown, vote), done)

    view.consult(lambda db: pair(db, one, other), show)


def pair(db: "Database", one: int, other: int) -> "Pair":
    """Two replies to the same prompt in random order. Raises `StoreError` where one is gone or has no text."""
    from assistant.store import messages
    from assistant.tui.judging.compare import Pair
    from assistant.tui.views import makers

    ids = (one, other) if random.random() < 0.5 else (other, one)
    first, second = (messages.get(db, each) for each in ids)
    if not (_has_text(first) and _has_text(second)):
        raise StoreError(NO_TEXTS)
    prompt = "" if first.parent_id is None else messages.get(db, first.parent_id).content
    return Pair(ids, prompt, (first.content, second.content), makers(db, ids))


def _has_text(reply: "StoredMessage") -> bool:
    return reply.state != "growing" and bool(reply.content.strip())


# --- versions that are made for it


def compare_makers(view: "BranchedConversation", logs: "Logs", message_id: int) -> None:
    """Let the reader pick what else the reply could be made with; two are made, as set now and with that, and shown."""
    from assistant.dialogue.exchange import Maker

    assert view.open_log is not None and view.conversation is not None
    setup, before = view.current_setup, view.conversation.leaf_id
    adapter = view.open_log.speaker(setup.model, setup.adapter).name
    now = Maker(setup.model, setup.template, setup.inputs, setup.sampling, adapter)

    def done(better: int | None) -> None:
        if view.open_log is None or view.conversation_id is None:  # the window is being closed
            return
        if better is None and before is not None:
            view.open_leaf(before)
        view.open_path(better or message_id)
        if better is not None:  # the vote has opened its branch already
            view.open_log.follow_branch(view.conversation_id)

    def made(ids: tuple[int, int] | None) -> None:
        if ids is None:
            done(None)
        else:
            compare_blind(view, *ids, done)

    def chosen(other: Maker) -> None:
        from assistant.tui.judging.make_replies import MakeScreen

        log, talk = view.open_log, view.conversation_id
        assert log is not None and talk is not None and view.replies is not None

        def begin(maker: Maker) -> "AsyncGenerator[Step, None]":
            return log.dialogue.regenerate(message_id, maker=maker)

        view.app.push_screen(MakeScreen(log, talk, (now, other), begin, view.replies), made)

    _pick(view, logs, now, chosen)


def _pick(view: "BranchedConversation", logs: "Logs", now: "Maker", chosen: "Callable[[Maker], None]") -> None:
    templates = {one.name: one for one in logs.library.templates() if one.kind == "chat" and one.name != now.template}
    choices = [Choice("again", "The same again", "another seed")]
    choices += [Choice(f"model {name}", name, "another model") for name in logs.models() if name != now.model]
    if now.adapter:
        choices.append(Choice("adapter ", "base", "this model without its adapter"))
    others = [name for name in logs.adapters(now.model) if name != now.adapter]
    choices += [Choice(f"adapter {name}", name, "an adapter of this model") for name in others]
    choices.append(Choice("sampling", "Other sampling …", "temperature and the like"))
    choices += [Choice(f"template {name}", name, f"template · {one.description}") for name, one in templates.items()]

    def picked(value: str | None) -> None:
        kind, _, name = (value or "").partition(" ")
        match kind:
            case "again":
                chosen(now)
            case "model":
                chosen(replace(now, model=name, adapter=logs.saved.speaker(name, None).name))
            case "adapter":
                chosen(replace(now, adapter=name))
            case "sampling":
                _ask_sampling(view, logs, now, chosen)
            case "template":
                _ask_inputs(view, templates[name], now, chosen)

    view.app.push_screen(PickScreen("Compare what is set now with", choices), picked)


def _ask_sampling(view: "BranchedConversation", logs: "Logs", now: "Maker", chosen: "Callable[[Maker], None]") -> None:
    from assistant.tui.chat.choose import inherited_sampling
    from assistant.tui.dialogs.sampling import SamplingScreen

    def accepted(own: dict[str, object] | None) -> None:
        if own is not None:
            chosen(replace(now, sampling=own))

    view.app.push_screen(SamplingScreen(inherited_sampling(logs, now.template), now.sampling), accepted)


def _ask_inputs(
    view: "BranchedConversation", template: "Template", now: "Maker", chosen: "Callable[[Maker], None]"
) -> None:
    from assistant.tui.dialogs.inputs import InputsScreen

    def filled_in(values: dict[str, str] | None) -> None:
        if values is not None:
            chosen(replace(now, template=template.name, inputs=values))

    if template.inputs:
        view.app.push_screen(InputsScreen(template, now.inputs), filled_in)
    else:
        filled_in({})
