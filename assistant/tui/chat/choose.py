"""Choose what the replies of a conversation are made with: model, template, sampling."""

from typing import TYPE_CHECKING

from assistant.safe_text import printable
from assistant.tui.background import in_background
from assistant.tui.dialogs.pick import Choice, PickScreen

if TYPE_CHECKING:
    from assistant.engine.generate.sampling import Sampling
    from assistant.tui.chat.conversation import ConversationView
    from assistant.tui.logs import Logs
    from prompts.template import Template

MORE_MODELS, IN_USE = " more", " in use"
"""No name of a model or an adapter begins with a space."""


def choose_model(view: "ConversationView", logs: "Logs") -> None:
    """Let the reader pick one of the models that are here, or go to the models screen."""

    def chosen(name: str | None) -> None:
        if name == MORE_MODELS:
            view.post_message(view.ModelWanted())
        elif name is not None:
            in_background(view, lambda: logs.choose_model(name))
            view.opened.configure(model=name)

    here = [Choice(name, name) for name in logs.models()]
    choices = [*here, Choice(MORE_MODELS, "More models …", "pull one, add a server or a folder")]
    view.app.push_screen(PickScreen("Model of this conversation", choices, current=view.opened.setup.model), chosen)


async def choose_adapter(view: "ConversationView", logs: "Logs") -> None:
    """Let the reader pick what the model speaks with in this conversation: an adapter, the base, or what is in use."""
    from assistant.tui.models.adapter_rows import adapter_choices

    def chosen(value: str | None) -> None:
        if value is not None:
            view.opened.pick_adapter(None if value == IN_USE else value)

    setup = view.opened.setup
    current = IN_USE if setup.adapter is None else setup.adapter
    names = await logs.adapters(setup.model)
    in_use, trained = await logs.saved.worker.ask(
        lambda db: (logs.saved.speaker_name(setup.model, None), adapter_choices(db, setup.model, names))
    )
    choices = [
        Choice(IN_USE, "The adapter in use", f"now {in_use or 'base'}"),
        Choice("", "base", "the model alone"),
        *trained,
    ]
    view.app.push_screen(PickScreen("Adapter for the next replies", choices, current=current), chosen)


def choose_template(view: "ConversationView", logs: "Logs") -> None:
    """Let the reader pick a chat template, then fill in its inputs where it has some."""

    def chosen(name: str | None) -> None:
        if name is not None:
            use_template(view, templates[name])

    for problem in logs.library.problems():
        view.notify(printable(str(problem)), severity="warning", markup=False)
    templates = {template.name: template for template in logs.library.templates() if template.kind == "chat"}
    choices = [Choice(name, name, template.description) for name, template in templates.items()]
    heading = "Template of this conversation"
    view.app.push_screen(PickScreen(heading, choices, current=view.opened.setup.template), chosen)


def use_template(view: "ConversationView", template: "Template") -> None:
    """Make the replies of a conversation with it, once its inputs are filled in where it has some."""
    from assistant.tui.dialogs.inputs import inputs_form

    def filled_in(values: dict[str, str] | None) -> None:
        if values is not None:
            view.opened.configure(template=template.name, inputs=values)

    if template.inputs:
        view.app.push_screen(inputs_form(template, view.opened.setup.inputs), filled_in)
    else:
        filled_in({})


def set_sampling(view: "ConversationView", logs: "Logs") -> None:
    """Let the reader change the sampling. Raises `PromptError` or `SamplingError` where its defaults are broken."""
    from assistant.tui.dialogs.sampling import sampling_form

    def accepted(own: dict[str, object] | None) -> None:
        if own is not None:
            view.opened.configure(sampling=own)

    setup = view.opened.setup
    view.app.push_screen(sampling_form(inherited_sampling(logs, setup.template), setup.sampling), accepted)


def inherited_sampling(logs: "Logs", template: str) -> "Sampling":
    """What a conversation under this template has where it has no value of its own. Raises as `set_sampling`."""
    from assistant.engine.generate.sampling import Sampling

    return Sampling().replace(logs.settings.sampling).replace(logs.library.find(template).sampling)
