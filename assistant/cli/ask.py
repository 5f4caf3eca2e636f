"""`assistant ask`: one question, one answer."""

import asyncio
import sys
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from assistant.cli.options import adapter_option, model_name, pairs, sampling_values
from assistant.cli.output import as_json, print_json
from assistant.errors import AssistantError

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.settings import Settings
    from assistant.store.conversations import Conversation


@dataclass(frozen=True, slots=True)
class Question:
    """What the command line asked for."""

    text: str
    template: str
    values: dict[str, str]
    model: str
    adapter: str | None
    sampling: dict[str, Any]
    go_on: bool
    log: bool


@click.command("ask")
@click.argument("question", nargs=-1)
@click.option("-t", "--template", default="", help="Template to ask with; `assistant prompts list` names them.")
@click.option("-v", "--value", "values", multiple=True, callback=pairs, help="An input of the template: name=value.")
@click.option("-m", "--model", default="", help="Name or path of a model.")
@adapter_option
@click.option("-o", "--option", "sampling", multiple=True, callback=pairs, help="Sampling: temperature=0, seed=1 …")
@click.option("-c", "--continue", "go_on", is_flag=True, help="Go on with the last conversation.")
@click.option("--no-log", is_flag=True, help="Leave no trace in the log.")
@as_json
def command(
    question: tuple[str, ...],
    template: str,
    values: dict[str, str],
    model: str,
    adapter: str | None,
    sampling: dict[str, str],
    go_on: bool,
    no_log: bool,
    as_json: bool,
) -> None:
    """Ask one question and print the answer.

    What comes on standard input is put before the question:

    assistant ask "Summarise this." < notes.txt
    """
    own = sampling_values(sampling)
    asked = Question(_text(question), template, values, model, adapter, own, go_on, not no_log)
    answer = asyncio.run(_ask(asked, stream=not as_json))
    if as_json:
        print_json(answer)


def _text(words: tuple[str, ...]) -> str:
    piped = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read().decode("utf-8", "replace")
    parts = [part for part in (piped.strip(), " ".join(words).strip()) if part]
    if not parts:
        raise AssistantError('Nothing to ask. Try: assistant ask "What is a lighthouse?"')
    return "\n\n".join(parts)


async def _ask(question: Question, *, stream: bool) -> dict[str, Any]:
    """Ask, print as it comes when `stream`, and give the object that `--json` prints."""
    from assistant import settings
    from assistant.adapters.speakers import Folders, speaker_of
    from assistant.client import Client
    from assistant.dialogue.exchange import Dialogue, ReplyEnded, ReplyStarted
    from assistant.events import Finished, Loading, Token
    from assistant.paths import Paths
    from assistant.safe_text import printable
    from assistant.store import messages
    from assistant.store.database import open_database, open_memory
    from prompts.library import Library

    paths = Paths.from_environment().create()
    chosen = settings.load(paths.config_file)
    async with AsyncExitStack() as stack:
        log = open_database(paths.database) if question.log or paths.database.exists() else open_memory()
        stack.callback(log.close)
        db = log if question.log else open_memory()
        model = model_name(log, paths, chosen, question.model)
        conversation = _conversation(db, chosen, question, model)
        client = await stack.enter_async_context(Client(paths, chosen))
        dialogue = Dialogue(db, client, Library(paths.templates), chosen, registry=log)
        steps = await stack.enter_async_context(
            aclosing(dialogue.send(conversation.id, question.text, parent_id=conversation.leaf_id))
        )
        status = Status()
        stack.callback(status.end_line if stream else status.clear)
        message_id, ended, finished = 0, None, None
        async for step in steps:
            match step:
                case ReplyStarted():
                    message_id = step.message_id
                case Loading():
                    status.show(step.stage)
                case Token() if stream:
                    status.clear()
                    click.echo(printable(step.text), nl=False)
                    status.line_open = True
                case Finished():
                    finished = step
                case ReplyEnded():
                    ended = step
        if ended is not None and ended.error:
            raise AssistantError(ended.error)
        made = messages.reply_info(db, message_id).provenance
        return {
            "reply": messages.get(db, message_id).content,
            "model": made.model,
            "adapter": speaker_of(log.conn, made.adapter_hash, Folders(paths.adapters)).name,
            "adapter_hash": made.adapter_hash,
            "usage": asdict(finished.usage) if finished else None,
            "timing": asdict(finished.timing) if finished else None,
            "finish_reason": finished.reason if finished else None,
            "conversation_id": conversation.id if question.log else None,
            "message_id": message_id if question.log else None,
        }


def _conversation(db: "Database", chosen: "Settings", question: Question, model: str) -> "Conversation":
    from assistant.store import conversations

    last = conversations.latest(db) if question.go_on else None
    if question.go_on and last is None:
        raise AssistantError("There is no conversation to go on with yet. Ask without -c first.")
    if last is None:
        return conversations.create(
            db,
            model=model,
            template=question.template or chosen.template,
            inputs=question.values,
            sampling=question.sampling,
            adapter=question.adapter,
        )
    if question.adapter is not None or question.model not in ("", last.model):  # an adapter belongs to its model
        conversations.pick_adapter(db, last.id, question.adapter)
    conversations.configure(
        db,
        last.id,
        model=question.model or last.model or model,
        template=question.template or last.template,
        inputs={**last.inputs, **question.values},
        sampling={**last.sampling, **question.sampling},
    )
    return conversations.get(db, last.id)


class Status:
    """One line on a terminal's stderr that says what is being waited for, wiped when text comes."""

    def __init__(self) -> None:
        self._shown = False
        self.line_open = False
        """Whether a line of the answer waits for its end."""
        self._terminal = sys.stderr is not None and sys.stderr.isatty()

    def show(self, text: str) -> None:
        if self._terminal:
            click.echo(f"\r\x1b[K{text} …", nl=False, err=True)
            self._shown = True

    def clear(self) -> None:
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)
            self._shown = False

    def end_line(self) -> None:
        """Whatever ended the answer, what follows begins on a line of its own."""
        self.clear()
        if self.line_open:
            click.echo()
