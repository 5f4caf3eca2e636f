"""The program on the screen. Its first frame needs nothing but Textual; log, client and templates follow it."""

import asyncio
import gc
import importlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.screen import Screen

from assistant import __version__
from assistant.cli.output import counted
from assistant.errors import DatabaseDamaged, StoreError
from assistant.paths import Paths
from assistant.safe_text import printable
from assistant.settings import Settings
from assistant.tui import keys, theme
from assistant.tui.background import errors_shown, in_background
from assistant.tui.chat.screen import ChatScreen
from assistant.tui.clock import Now, local_now
from assistant.tui.rooms import ROOMS
from assistant.tui.window import Window

if TYPE_CHECKING:
    from sqlite_utils import Database
    from textual.actions import ActionParseResult

    from assistant.client import Endpoint
    from assistant.engine.hardware.machine import Machine
    from assistant.tui.jobs.teaching import Teaching
    from assistant.tui.judging.judging import Judging
    from assistant.tui.log.screen import LogScreen
    from assistant.tui.logs import Logs
    from assistant.tui.train.screen import TrainScreen

LOOK_EVERY_S = 1.0
"""At a teaching in the background."""


class AssistantApp(App[None]):
    """One window. `engine` is an engine to use in place of the data folder's own process; `machine` is what models
    must fit, this one if not given; `now` is the clock."""

    TITLE = "assistant"
    CSS_PATH: ClassVar[list[str | PurePath]] = ["app.tcss", "chat/screen.tcss"]  # none is loaded for a default screen
    BINDINGS: ClassVar[list[BindingType]] = keys.APP

    def __init__(
        self,
        paths: Paths,
        settings: Settings,
        *,
        engine: "Endpoint | None" = None,
        machine: "Machine | None" = None,
        now: Now = local_now,
        version: str = __version__,
    ) -> None:
        keys.check(settings.keys)
        super().__init__()
        self._engine = engine
        self._version = version
        self.chat = ChatScreen(settings, now=now)
        self._window = Window(paths, settings, now, self.chat, machine)
        self._rooms: dict[str, Screen[Any]] = {}
        """The screens that are kept, by their names in `ROOMS`."""
        self._teaching: Teaching | None = None
        self._quit_asked = False
        """Quit was asked for while the log was still being opened."""
        self.register_theme(theme.DARK)
        self.register_theme(theme.LIGHT)
        self.theme = settings.theme if settings.theme in self.available_themes else theme.default()
        self.set_keymap(settings.keys)

    def get_default_screen(self) -> Screen[None]:
        return self.chat

    def get_key_display(self, binding: Binding) -> str:
        return super().get_key_display(binding).lower()

    # --- after the first frame

    def on_mount(self) -> None:
        self.chat.call_after_refresh(self.run_worker, self._open(), exclusive=True)

    async def _open(self) -> None:
        """Open the logs, and bring the screen to life."""
        fresh = not any(self._window.paths.models.iterdir())
        if fresh:
            self.open_room("models")
        await asyncio.to_thread(_import_rooms)
        logs = await self._opened_logs()
        if logs is None:
            self.exit()
            return
        theme_, last = await logs.saved.worker.ask(_remembered)
        self._window.open_logs = logs
        self._take_remembered_theme(theme_)
        self.chat.attach(logs, last)
        self.run_worker(logs.embed(), group="meaning")
        gc.collect()
        gc.freeze()  # what is imported by now stays: a full collection over it would stop the screen for 20-36 ms
        if self._quit_asked:
            await self.action_quit()
        elif not fresh and not logs.models():
            self.open_room("models")

    async def _opened_logs(self) -> "Logs | None":
        """The logs, or None where the reader chose to quit rather than to mend them."""
        from assistant.tui.logs import open_logs
        from assistant.tui.recovery import RecoveryScreen

        while True:
            try:
                return await open_logs(self._window.paths, self._window.settings, self._engine)
            except StoreError as error:
                way = await self.push_screen_wait(RecoveryScreen(error))
                if way == "quit":
                    return None
                if isinstance(error, DatabaseDamaged):
                    await self._mend(way == "recover")

    async def _mend(self, recover: bool) -> None:
        """Keep the damaged log aside, and copy what can be read of it into a new one."""
        from assistant.store import recovery

        database = self._window.paths.database
        aside = recovery.set_aside(database)
        told = f"The damaged log is kept as {aside.name}."
        if recover:
            try:
                found = await asyncio.to_thread(recovery.recover, aside, database)
            except StoreError as error:
                self.notify(f"{error} {told}", severity="error", markup=False, timeout=20)
                return
            talks, rows = counted(found.conversations, "conversation"), counted(found.messages, "message")
            told = f"Recovered {talks} with {rows}. {told}"
        self.notify(told, markup=False, timeout=20)

    def _take_remembered_theme(self, name: str) -> None:
        wanted = self._window.settings.theme
        if not wanted and name in self.available_themes:
            self.theme = name
        if wanted and wanted not in self.available_themes:
            known = ", ".join(sorted(self.available_themes))
            self.notify(f"config.toml: there is no theme {wanted!r}. Known: {known}.", severity="warning")
        self.theme_changed_signal.subscribe(self, lambda theme: self._remember_theme(theme.name))

    def _remember_theme(self, name: str) -> None:
        from assistant.store import conversations

        if (logs := self._window.open_logs) is not None:
            in_background(self, lambda: logs.saved.worker.act(lambda db: conversations.remember(db, "theme", name)))

    # --- screens

    def on_chat_screen_room_wanted(self, event: ChatScreen.RoomWanted) -> None:
        self.open_room(event.name)

    def open_room(self, name: str) -> None:
        """Show a screen of `ROOMS`."""
        left = getattr(importlib.import_module(ROOMS[name].module), "left", None)
        self.push_screen(self._room(name), partial(left, self._window) if left is not None else None)

    def _room(self, name: str) -> Screen[Any]:
        if name in self._rooms:
            return self._rooms[name]
        screen: Screen[Any] = importlib.import_module(ROOMS[name].module).screen(self._window)
        if ROOMS[name].kept:
            self._rooms[name] = screen
            self.install_screen(screen, name)
        return screen

    def on_log_screen_train_wanted(self) -> None:
        cast("TrainScreen", self._room("train")).learn_from_log()
        self.open_room("train")

    def on_log_screen_tokens_wanted(self, event: "LogScreen.TokensWanted") -> None:
        from assistant.tui.judging.tokens import TokensScreen

        logs = self._window.logs
        self.push_screen(TokensScreen(logs, logs.saved, event.message_id))

    # --- teaching

    def on_judging_teach_wanted(self, event: "Judging.TeachWanted") -> None:
        """Teach these corrections; where something that was taught is undecided yet, show that first."""
        in_background(self, lambda: self._teach(event.ids))

    async def _teach(self, ids: Sequence[int]) -> None:
        from assistant.tui.jobs.teaching import Teaching, is_undecided
        from assistant.tui.judging.teach import TeachScreen

        teaching = self._teaching = self._teaching or Teaching.of(self._window.paths)
        teaching.watch.look()
        outcome = teaching.outcome
        undecided = await self._window.logs.saved.worker.ask(lambda db: is_undecided(db, outcome))
        waiting = teaching.watch.running or undecided
        self.push_screen(TeachScreen(teaching, [] if waiting else ids), self._taught)

    def _taught(self, told: str | None) -> None:
        """Say how teaching ended; `told` None: watch it on in the background."""
        if told:
            self.notify(printable(told), markup=False)
        elif told is None and self._teaching is not None:
            self.run_worker(self._teaching_ends(), group="teaching", exclusive=True)
        self.chat.refresh_all()

    async def _teaching_ends(self) -> None:
        """Say when the teaching in the background has ended."""
        assert self._teaching is not None
        watch = self._teaching.watch
        while watch.running:
            await asyncio.sleep(LOOK_EVERY_S)
            watch.look()
        ended = "Teaching has ended. Press l on the correction to see the result."
        self.notify(printable(watch.failure) if watch.failure else ended, markup=False, timeout=10)

    # --- everywhere

    def action_help(self) -> None:
        from assistant.tui.help import HelpScreen

        self.push_screen(HelpScreen(self._version, str(self._window.paths.config_file), self._window.settings.keys))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action of the screen that makes sense now, then those of the program."""
        yield from _commands(screen)
        yield SystemCommand("theme", "Choose the colours", self.action_change_theme)
        yield SystemCommand("help", "Every key", self.action_help)
        yield SystemCommand("quit", "Everything is kept", self.action_quit)

    async def run_action(
        self,
        action: "str | ActionParseResult",
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Whether the action was handled. Errors of this program that it raises become a sentence on the screen."""
        with errors_shown(self):
            return await super().run_action(action, default_namespace, namespaces)
        return True

    async def action_quit(self) -> None:
        logs = self._window.open_logs
        if logs is None and self.chat.view.composer.text and not self._quit_asked:
            self._quit_asked = True  # what was typed is kept as soon as there is a log to keep it in
            return
        self._window.open_logs = None
        for screen in self._rooms.values():
            await screen.close()  # type: ignore[attr-defined]  # as `Room.kept` says
        if logs is not None:
            self.workers.cancel_group(self, "meaning")
            await self.chat.keep_all()
            await logs.close()
        self.exit()


def _remembered(db: "Database") -> tuple[str, str]:
    """(theme, conversation that was open last), each empty where there is none."""
    from assistant.store import conversations

    return conversations.recall(db, "theme"), conversations.recall(db, "open")


AFTER_THE_FIRST_FRAME = (
    "assistant.tui.logs",
    "assistant.tui.replies",
    "assistant.tui.views",
    "assistant.tui.log.screen",
    "assistant.tui.dialogs.sampling",
    "assistant.tui.train.screen",
    "markdown_it.tree",
    "textual.highlight",
)


def _import_rooms() -> None:
    """Import what follows the first frame, in a thread so that typing isn't held up."""
    for name in AFTER_THE_FIRST_FRAME:
        importlib.import_module(name)


def _commands(screen: Screen[object]) -> Iterable[SystemCommand]:
    """The actions of our own screens that make sense now, by what they do, with their keys."""
    nodes = [screen.view, screen.side, screen] if isinstance(screen, ChatScreen) else [screen]
    for node in nodes:
        for binding in keys.bindings(type(node).BINDINGS):
            if node.check_action(binding.action.partition("(")[0], ()) is not False:
                run = partial(screen.app.run_action, binding.action, default_namespace=node)
                yield SystemCommand(keys.title(binding), f"key {screen.app.get_key_display(binding)}", run)
