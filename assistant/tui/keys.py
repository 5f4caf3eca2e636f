"""Every key of the program's own screens. `[keys]` of config.toml gives a binding other keys by its id.

Only keys that terminals really deliver: no Ctrl+I, J, M, H or [, which are Tab, newline, Enter, Backspace and Escape.
Single letters act where a message or a row has the focus; in a text field they are text.
"""

from collections.abc import Iterable, Mapping

from textual.binding import Binding, BindingType

from assistant.errors import SettingsError
from assistant.tui.rooms import ROOMS

SECTIONS: dict[str, list[BindingType]] = {}
"""For the help screen, in reading order."""


def _section(title: str, *rows: BindingType) -> list[BindingType]:
    """Keys that belong together, listed under `title` in the help."""
    SECTIONS[title] = list(rows)
    return SECTIONS[title]


APP = _section(
    "Everywhere",
    Binding("ctrl+p", "command_palette", "commands", id="app.palette", priority=True),
    Binding("f1", "help", "help", id="app.help"),
    Binding("ctrl+q,f10", "quit", "quit", show=False, id="app.quit", priority=True),
)
CHAT = _section(
    "Chat",
    Binding("escape", "stop", "stop", id="chat.stop"),
    Binding("escape", "to_composer", "back to typing", show=False, id="chat.type"),
    Binding("ctrl+n", "new", "new conversation", show=False, id="chat.new"),
    Binding("ctrl+r", "new_private", "new private conversation", show=False, id="chat.private"),
    Binding("ctrl+o", "choose_model", "choose the model", show=False, id="chat.model"),
    Binding("alt+a", "choose_adapter", "choose the adapter", show=False, id="chat.adapter"),
    Binding("ctrl+t", "choose_template", "choose the template", show=False, id="chat.template"),
    Binding("ctrl+g", "sampling", "sampling", show=False, id="chat.sampling"),
    Binding("ctrl+l", "to_list", "go to the conversations", show=False, id="chat.list"),
    Binding("ctrl+b", "toggle_list", "show or hide the conversations", show=False, id="chat.toggle_list"),
    Binding("f2", "rename", "rename the conversation", show=False, id="chat.rename"),
    Binding("f3", "search", "search the conversations", show=False, id="chat.search"),
    Binding("f9", "branches", "branches", tooltip="the branches as a tree", show=False, id="chat.branches"),
    *(
        Binding(
            one.key, f"room({one.name!r})", one.about, show=False, id=f"chat.{one.name}", priority=one.needs_priority
        )
        for one in ROOMS.values()
    ),
)
MESSAGE = _section(
    "A message",
    Binding("escape", "leave_edit", "leave the edit", id="chat.leave_edit"),
    Binding("m", "continue_reply", "continue", tooltip="continue the reply", id="chat.continue"),
    Binding("r,f5", "regenerate", "regenerate", tooltip="regenerate the reply", id="chat.regenerate"),
    Binding("e", "edit", "edit", tooltip="edit the message, as another version", id="chat.edit"),
    Binding("e", "correct", "correct", tooltip="correct the reply, as another version", id="chat.correct"),
    Binding("l", "teach", "learn", tooltip="teach the correction now", id="chat.teach"),
    Binding("plus", "rate(1)", "good", tooltip="rate good (again to clear)", id="chat.good"),
    Binding("minus", "rate(-1)", "bad", tooltip="rate bad (again to clear)", id="chat.bad"),
    Binding("k", "decide('keep')", "keep", tooltip="keep for training (again to clear)", id="chat.keep"),
    Binding("t", "tag", "tag", tooltip="tag (again to remove)", id="chat.tag"),
    Binding("z", "undo", "undo", tooltip="undo the last judgement", id="chat.undo"),
    Binding("v", "compare", "compare", tooltip="compare with another version, blind", id="chat.compare"),
    Binding("s", "decide('skip')", "skip", tooltip="skip in training (again to clear)", id="chat.skip"),
    Binding("n", "note", "note", tooltip="write a note", id="chat.note"),
    Binding("Z", "redo", "redo", tooltip="redo", show=False, id="chat.redo"),
    Binding("left", "sibling(-1)", "previous", tooltip="previous version", id="chat.previous_sibling"),
    Binding("right", "sibling(1)", "next", tooltip="next version", id="chat.next_sibling"),
    Binding("y", "copy", "copy", tooltip="copy the message", id="chat.copy"),
    Binding("c", "copy_code", "copy code", tooltip="copy a code block", id="chat.copy_code"),
    Binding("p", "tokens", "tokens", tooltip="tokens and their probabilities", show=False, id="chat.tokens"),
    Binding(
        "V",
        "compare_makers",
        "compare makers",
        tooltip="compare two models, adapters, templates or samplings, blind",
        show=False,
        id="chat.compare_makers",
    ),
    Binding("f", "fork", "fork", tooltip="fork a conversation at the message", show=False, id="chat.fork"),
    Binding("space", "fold", "fold", tooltip="fold or unfold the reasoning", show=False, id="chat.fold"),
)
LIST = _section(
    "Conversations",
    Binding("up", "move(-1)", "up", show=False, id="list.up"),
    Binding("down", "move(1)", "down", show=False, id="list.down"),
    Binding("pageup", "page(-1)", "page up", show=False, id="list.page_up"),
    Binding("pagedown", "page(1)", "page down", show=False, id="list.page_down"),
    Binding("home", "to_start", "newest", show=False, id="list.start"),
    Binding("end", "to_end", "oldest", show=False, id="list.end"),
    Binding("enter", "open", "open", id="list.open"),
    Binding("n", "new", "new", id="list.new"),
    Binding("r", "rename", "rename", id="list.rename"),
    Binding("p", "pin", "pin", id="list.pin"),
    Binding("d,delete", "delete", "delete", id="list.delete"),
    Binding("u", "undo", "undo delete", show=False, id="list.undo"),
    Binding("slash", "search", "search", show=False, id="list.search"),
)
COMPARE = _section(
    "Two replies",
    Binding("a", "vote(0)", "better", tooltip="A is better", id="compare.a"),
    Binding("b", "vote(1)", "better", tooltip="B is better", id="compare.b"),
    Binding("equals_sign", "tie", "neither", tooltip="neither is better", id="compare.tie"),
    Binding("s", "skip", "skip", tooltip="show the makers without a vote", id="compare.skip"),
    Binding("escape,enter", "leave", "back", id="compare.leave"),
)
BRANCHES = _section(
    "Branches",
    Binding("enter", "open", "open", tooltip="open the path through the message", id="branches.open"),
    Binding("left", "sibling(-1)", "previous", tooltip="previous version", id="branches.previous_sibling"),
    Binding("right", "sibling(1)", "next", tooltip="next version", id="branches.next_sibling"),
    Binding("f", "fork", "fork", tooltip="fork a conversation at the message", id="branches.fork"),
    Binding("escape", "leave", "back", id="branches.leave"),
)
LOG = _section(
    "The log",
    Binding("escape", "unmark", "unmark", tooltip="unmark all rows", id="log.unmark"),
    Binding("escape,f8", "leave", "back", id="log.leave"),
    Binding("plus", "rate(1)", "good", tooltip="rate good (again to clear)", id="log.good"),
    Binding("minus", "rate(-1)", "bad", tooltip="rate bad (again to clear)", id="log.bad"),
    Binding("k", "decide('keep')", "keep", tooltip="keep for training (again to clear)", id="log.keep"),
    Binding("e", "correct", "correct", tooltip="correct the reply, as another version", id="log.correct"),
    Binding("l", "teach", "learn", tooltip="teach the correction now", id="log.teach"),
    Binding("q", "queue", "queue", tooltip="start or end the queue of unjudged replies", id="log.queue"),
    Binding("t", "tag", "tag", tooltip="tag (again to remove)", id="log.tag"),
    Binding("z", "undo", "undo", tooltip="undo the last judgement", id="log.undo"),
    Binding("v", "compare", "compare", tooltip="compare with the version beside it, blind", id="log.compare"),
    Binding("s", "decide('skip')", "skip", tooltip="skip in training (again to clear)", id="log.skip"),
    Binding("n", "note", "note", tooltip="write a note", id="log.note"),
    Binding("Z", "redo", "redo", tooltip="redo", show=False, id="log.redo"),
    Binding("slash", "search", "search", show=False, id="log.search"),
    Binding("m", "meaning", "also match by meaning", show=False, id="log.meaning"),
    Binding("f", "filter", "filter", show=False, id="log.filter"),
    Binding("o", "sort", "sort by a column", show=False, id="log.sort"),
    Binding("r", "reverse", "reverse the order", show=False, id="log.reverse"),
    Binding("left", "version(-1)", "previous version beside it", show=False, id="log.previous"),
    Binding("right", "version(1)", "next version beside it", show=False, id="log.next"),
    Binding("space", "mark", "mark", tooltip="mark the row, and go on to the next", id="log.mark"),
    Binding("a", "mark_all", "all", tooltip="mark all rows found", id="log.mark_all"),
    Binding("d,space", "page_detail", "scroll the exchange", show=False, id="log.read_on"),
    Binding("p", "tokens", "probabilities of the reply's tokens", show=False, id="log.tokens"),
    Binding("f7", "train", "train on the filtered replies", show=False, id="log.train"),
)
EXCHANGES = _section(
    "Rows of the log",
    Binding("up", "move(-1)", "up", show=False, id="log.up"),
    Binding("down", "move(1)", "down", show=False, id="log.down"),
    Binding("pageup", "page(-1)", "page up", show=False, id="log.page_up"),
    Binding("pagedown", "page(1)", "page down", show=False, id="log.page_down"),
    Binding("home", "to_start", "first", show=False, id="log.start"),
    Binding("end", "to_end", "last", show=False, id="log.end"),
    Binding("enter", "open", "open", tooltip="open it in its conversation", id="log.open"),
)
TRAIN = _section(
    "Training",
    Binding("escape", "stop_planning", "stop", tooltip="stop making the plan", id="train.stop"),
    Binding("escape,f7", "leave", "back", id="train.leave"),
    Binding("p", "promote", "promote", tooltip="use the run that is proved better", id="train.promote"),
    Binding("s", "start", "start", tooltip="train on the data, then prove the result", id="train.start"),
    Binding("p", "plan", "plan", tooltip="freeze the data and estimate the training", id="train.plan"),
    Binding("d", "data", "data", tooltip="choose the data", id="train.data"),
    Binding("m", "method", "method", tooltip="choose the method", id="train.method"),
    Binding("t", "time", "time", tooltip="choose how long it may take", id="train.time"),
    Binding("b", "start_from", "from", tooltip="continue from the adapter in use, or from the base", id="train.from"),
    Binding("o", "model", "model", tooltip="choose the model that is trained", show=False, id="train.model"),
    Binding("z", "roll_back", "roll back", tooltip="use the previous adapter again", id="train.roll_back"),
)
TRAINING = _section(
    "One training",
    Binding("escape", "leave", "back", id="training.leave"),
    Binding("f7", "leave", "back", show=False, id="training.leave_too"),
    Binding("space", "pause", "pause", id="training.pause"),
    Binding("space", "go_on", "go on", id="training.go_on"),
    Binding("s", "stop", "stop", tooltip="stop at a checkpoint", id="training.stop"),
    Binding("r", "resume", "resume", tooltip="go on from the last checkpoint", id="training.resume"),
    Binding("e", "evaluate", "prove", tooltip="compare it with the base on the held-out part", id="training.prove"),
    Binding("e", "stop_evaluation", "stop the proof", id="training.stop_proof"),
    Binding("p", "promote", "promote", tooltip="use it for new replies", id="training.promote"),
    Binding("o", "report", "report", tooltip="open the report in the browser", id="training.report"),
    Binding("d", "discard", "discard", tooltip="delete its adapter", id="training.discard"),
    Binding("x", "samples", "samples", tooltip="let both answer held-out prompts", id="training.samples"),
    Binding("v", "try_it", "side by side", tooltip="try base and retrained side by side, blind", id="training.try"),
)
TEACH = _section(
    "Teaching",
    Binding("enter", "keep", "keep", tooltip="use what was taught for new replies", id="teach.keep"),
    Binding("escape", "drop", "drop", tooltip="stop it, or delete what was taught", id="teach.drop"),
    Binding("b", "hide", "background", tooltip="go on chatting while it learns", id="teach.hide"),
)
PROMPTS = _section(
    "Prompts",
    Binding("escape", "stop", "stop", tooltip="stop the run or the test", id="prompts.stop"),
    Binding("escape", "leave_edit", "leave the edit", id="prompts.leave_edit"),
    Binding("escape", "leave", "back", id="prompts.leave"),
    Binding("f6", "leave", "back", show=False, id="prompts.leave_too", priority=True),
    Binding("ctrl+g", "save", "save", tooltip="save the template", id="prompts.save"),
    Binding("enter,r", "try_it", "run", tooltip="fill in the inputs and run it", id="prompts.run"),
    Binding("t", "test", "test", tooltip="test it on a labelled set", id="prompts.test"),
    Binding("e", "edit", "edit", tooltip="edit it, or a copy of a built-in template", id="prompts.edit"),
    Binding("u", "use", "use", tooltip="use it in the open conversation", id="prompts.use"),
    Binding("v", "show('versions')", "versions", tooltip="earlier versions of the text", id="prompts.versions"),
    Binding("p", "show('preview')", "preview", tooltip="the messages and their tokens", id="prompts.preview"),
    Binding("a", "show('answer')", "answer", tooltip="the last answer", show=False, id="prompts.answer"),
    Binding("T", "show('tests')", "tests", tooltip="the tests so far", show=False, id="prompts.tests"),
    Binding("slash", "search", "search", show=False, id="prompts.search"),
    Binding("n", "new", "new", tooltip="a new template", show=False, id="prompts.new"),
    Binding("c", "duplicate", "duplicate", tooltip="duplicate it as one of your own", show=False, id="prompts.copy"),
    Binding("d,delete", "delete", "delete", tooltip="delete the template", show=False, id="prompts.delete"),
    Binding("b", "bring_back", "bring back", tooltip="bring back the text that is shown", id="prompts.bring_back"),
    Binding("left", "version(-1)", "newer", tooltip="newer text", show=False, id="prompts.newer"),
    Binding("right", "version(1)", "older", tooltip="older text", show=False, id="prompts.older"),
    Binding("space", "page", "scroll the page below", show=False, id="prompts.read_on"),
)
MODELS = _section(
    "Models",
    Binding("escape", "stop_pull", "stop the pull", id="models.stop"),
    Binding("escape", "leave", "back", id="models.leave"),
    Binding("enter", "use", "use the model, pulled first if needed", show=False, id="models.use"),
    Binding("a", "add", "add", tooltip="add a folder, a file or a server", id="models.add"),
    Binding("p", "promote", "promote", tooltip="use the adapter for new replies", id="models.promote"),
    Binding("z", "roll_back", "roll back", tooltip="use the previous adapter again", id="models.roll_back"),
    Binding("d,delete", "remove", "remove", tooltip="remove the model", id="models.remove"),
)
TOKEN_TEXT: list[BindingType] = [
    Binding("left", "move(-1)", "previous", tooltip="previous token", id="tokens.previous"),
    Binding("right", "move(1)", "next", tooltip="next token", id="tokens.next"),
    Binding("up", "line(-1)", "up", show=False, id="tokens.up"),
    Binding("down", "line(1)", "down", show=False, id="tokens.down"),
    Binding("pageup", "page(-1)", "page up", show=False, id="tokens.page_up"),
    Binding("pagedown", "page(1)", "page down", show=False, id="tokens.page_down"),
    Binding("home", "to_start", "first token", show=False, id="tokens.start"),
    Binding("end", "to_end", "last token", show=False, id="tokens.end"),
]
TOKENS: list[BindingType] = [Binding("escape", "leave", "back", id="tokens.leave")]
SECTIONS["Tokens"] = [*TOKEN_TEXT, *TOKENS]
DIALOG: list[BindingType] = [Binding("escape", "dismiss_none", "cancel", id="dialog.cancel")]
FORM = _section("Dialogs", *DIALOG, Binding("ctrl+g", "accept", "accept", id="dialog.accept"))


def of_widgets() -> dict[str, list[BindingType]]:
    """The keys that widgets define themselves, by section."""
    from assistant.tui.chat.branch_tree import BranchTree
    from assistant.tui.chat.composer import Composer
    from assistant.tui.widgets.transcript import Transcript

    return {
        "Typing": list(Composer.BINDINGS),
        "Messages": list(Transcript.BINDINGS),
        "In the tree": list(BranchTree.BINDINGS),
    }


def bindings(rows: Iterable[BindingType]) -> list[Binding]:
    """The rows that are full bindings, which ours all are."""
    return [row for row in rows if isinstance(row, Binding)]


def check(remapped: Mapping[str, str]) -> None:
    """Raise `SettingsError` naming unknown binding ids of `[keys]`, and keys that no keyboard has."""
    if not remapped:
        return
    sections = [*SECTIONS.values(), *of_widgets().values()]
    known = {binding.id for section in sections for binding in bindings(section) if binding.id}
    for name, keys in remapped.items():
        if name not in known:
            raise SettingsError(
                f"[keys] names {name!r}, but there is no such binding. Known: {', '.join(sorted(known))}."
            )
        for key in keys.split(","):
            if not _is_key(key.strip()):
                raise SettingsError(
                    f'[keys] gives {name} the key {key!r}, which is none. Examples: "r", "f5", "ctrl+r".'
                )


def title(binding: Binding) -> str:
    """What a binding does, in full."""
    return binding.tooltip or binding.description[:1].lower() + binding.description[1:]


def shown(remapped: Mapping[str, str], binding_id: str, default: str) -> str:
    """The last key of a binding as it is written in a sentence: `F5`."""
    return remapped.get(binding_id, default).split(",")[-1].strip().upper()


def _is_key(key: str) -> bool:
    from textual.keys import Keys, _character_to_key

    names = {name.value for name in Keys}
    *modifiers, last = key.split("+") if key != "+" else ["plus"]
    if any(modifier not in ("ctrl", "shift", "alt", "super") for modifier in modifiers):
        return False
    return len(last) == 1 or last in names or any(_character_to_key(chr(code)) == last for code in range(33, 127))
