"""Compare what the conversation is set to with another model, adapter, template or sampling: two replies, blind."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from assistant.tui.background import errors_shown, in_background
from assistant.tui.chat.conversation import ConversationView
from assistant.tui.dialogs.pick import Choice, PickScreen
from assistant.tui.judging.comparing import compare_blind

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.dialogue.exchange import Dialogue, Maker, Step
    from assistant.tui.logs import Log, Logs
    from prompts.template import Template


async def compare_makers(view: ConversationView, logs: "Logs", message_id: int) -> None:
    """Let the reader pick what else the reply could be made with; two are made, as set now and with that, and shown."""
    from assistant.dialogue.exchange import Maker

    opened = view.opened
    log, conversation, setup = opened.log, opened.conversation, opened.setup
    assert log is not None and conversation is not None
    adapter = (await log.worker.ask(lambda _: log.speaker(setup.model, setup.adapter))).name
    now = Maker(setup.model, setup.template, setup.inputs, setup.sampling, adapter)

    def done(better: int | None) -> None:
        async def go() -> None:
            await log.worker.act(lambda db: _open(db, log, conversation.id, better, conversation.leaf_id))
            await view.branching.open_path(better or message_id)

        if opened.conversation_id == conversation.id:
            in_background(view, go)

    def made(ids: tuple[int, int] | None) -> None:
        if ids is None:
            done(None)
        else:
            in_background(view, lambda: compare_blind(view, view.judging, *ids, done))

    def chosen(other: Maker) -> None:
        from assistant.tui.judging.make_replies import MakeScreen

        def begin(maker: Maker) -> "Callable[[Dialogue], AsyncGenerator[Step, None]]":
            return lambda dialogue: dialogue.regenerate(message_id, maker=maker)

        assert view.replies is not None
        view.app.push_screen(MakeScreen(log, conversation.id, (now, other), begin, view.replies), made)

    await _pick(view, logs, now, chosen)


def _open(db: "Database", log: "Log", conversation_id: int, better: int | None, before: int | None) -> None:
    """Open the path as it was before; the vote has opened that of the better one already."""
    from assistant.store import messages

    if better is not None:
        log.follow_branch(db, conversation_id)
    elif before is not None:
        messages.open_leaf(db, conversation_id, before)


async def _pick(view: ConversationView, logs: "Logs", now: "Maker", chosen: "Callable[[Maker], None]") -> None:
    templates = {one.name: one for one in logs.library.templates() if one.kind == "chat" and one.name != now.template}
    choices = [Choice("again", "The same again", "another seed")]
    choices += [Choice(f"model {name}", name, "another model") for name in logs.models() if name != now.model]
    if now.adapter:
        choices.append(Choice("adapter ", "base", "this model without its adapter"))
    others = [name for name in await logs.adapters(now.model) if name != now.adapter]
    choices += [Choice(f"adapter {name}", name, "an adapter of this model") for name in others]
    choices.append(Choice("sampling", "Other sampling …", "temperature, top-p, seed and so on"))
    choices += [Choice(f"template {name}", name, f"template · {one.description}") for name, one in templates.items()]

    async def take_model(name: str) -> None:
        speaker = await logs.saved.worker.ask(lambda _: logs.saved.speaker(name, None))
        chosen(replace(now, model=name, adapter=speaker.name))

    def picked(value: str | None) -> None:
        kind, _, name = (value or "").partition(" ")
        match kind:
            case "again":
                chosen(now)
            case "model":
                in_background(view, lambda: take_model(name))
            case "adapter":
                chosen(replace(now, adapter=name))
            case "sampling":
                _ask_sampling(view, logs, now, chosen)
            case "template":
                _ask_inputs(view, templates[name], now, chosen)

    view.app.push_screen(PickScreen("Compare what is set now with", choices), picked)


def _ask_sampling(view: ConversationView, logs: "Logs", now: "Maker", chosen: "Callable[[Maker], None]") -> None:
    from assistant.tui.chat.choose import inherited_sampling
    from assistant.tui.dialogs.sampling import sampling_form

    def accepted(own: dict[str, object] | None) -> None:
        if own is not None:
            chosen(replace(now, sampling=own))

    with errors_shown(view):
        form = sampling_form(inherited_sampling(logs, now.template), now.sampling)
        view.app.push_screen(form, accepted)


def _ask_inputs(view: ConversationView, template: "Template", now: "Maker", chosen: "Callable[[Maker], None]") -> None:
    from assistant.tui.dialogs.inputs import inputs_form

    def filled_in(values: dict[str, str] | None) -> None:
        if values is not None:
            chosen(replace(now, template=template.name, inputs=values))

    if template.inputs:
        view.app.push_screen(inputs_form(template, now.inputs), filled_in)
    else:
        filled_in({})
