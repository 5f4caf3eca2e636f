"""The program on the screen. Its first frame needs nothing but Textual; log, client and templates follow it."""

import asyncio
import gc
import importlib
from collections.abc import Iterable
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from assistant import __version__
from assistant.errors import DatabaseDamaged, StoreError
from assistant.paths import Paths
from assistant.safe_text import printable
from assistant.settings import Settings
from assistant.tui import keys, theme
from assistant.tui.chat.screen import ChatScreen
from assistant.tui.clock import Now, local_now
from assistant.tui.told_errors import TellsErrors

if TYPE_CHECKING:
    from assistant.client import Endpoint
    from assistant.engine.machine import Machine
    from assistant.tui.jobs.teaching import Teaching
    from assistant.tui.judging.teach import TeachWanted
    from assistant.tui.log.screen import LogScreen
    from assistant.tui.logs import Logs
    from assistant.tui.models.screen import Taken
    from assistant.tui.prompts.screen import PromptsScreen
    from assistant.tui.train.screen import TrainScreen
    from prompts.template import Template

LOOK_EVERY_S = 1.0
"""At a teaching in the background."""


class AssistantApp(TellsErrors, App[None]):
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
        self._paths = paths
        self._settings = settings
        self._engine = engine
        self._machine = machine
        self._version = version
        self._now = now
        self._logs: Logs | None = None
        self._log_screen: LogScreen | None = None
        self._train_screen: TrainScreen | None = None
        self._prompts_screen: PromptsScreen | None = None
        self._teaching: Teaching | None = None
        self._quit_asked = False
        """Quit was asked for while the log was still being opened."""
        self.register_theme(theme.DARK)
        self.register_theme(theme.LIGHT)
        self.theme = settings.theme if settings.theme in self.available_themes else theme.default()
        self.set_keymap(settings.keys)
        self.chat = ChatScreen(settings, now=now)

    def get_default_screen(self) -> Screen[None]:
        return self.chat

    def get_key_display(self, binding: Binding) -> str:
        return super().get_key_display(binding).lower()

    # --- after the first frame

    def on_mount(self) -> None:
        self.chat.call_after_refresh(self.run_worker, self._open(), exclusive=True)

    async def _open(self) -> None:
        """Open the logs, and bring the screen to life."""
        fresh = not any(self._paths.models.iterdir())
        if fresh:
            self.open_models(first_run=True)
        await asyncio.to_thread(_import_rooms)
        logs = await self._opened_logs()
        if logs is None:
            self.exit()
            return
        from assistant.meaning_index import keep_up

        self._logs = logs
        self._take_remembered_theme()
        self.chat.attach(logs)
        self.run_worker(keep_up(logs.saved.db, logs.client, self._paths, self._settings.meaning_model), group="meaning")
        gc.collect()
        gc.freeze()  # what is imported by now stays: a full collection over it would stop the screen for 20-36 ms
        if self._quit_asked:
            await self.action_quit()
        elif not fresh and not logs.models():
            self.open_models(first_run=True)

    async def _opened_logs(self) -> "Logs | None":
        """The logs, or None where the reader chose to quit rather than to mend them."""
        from assistant.tui.logs import check_log, open_logs
        from assistant.tui.recovery import RecoveryScreen

        while True:
            try:
                logs = open_logs(self._paths, self._settings, self._engine)
                try:
                    await asyncio.to_thread(check_log, self._paths)
                except StoreError:
                    await logs.close()
                    raise
                return logs
            except StoreError as error:
                way = await self.push_screen_wait(RecoveryScreen(error))
                if way == "quit":
                    return None
                if isinstance(error, DatabaseDamaged):
                    await self._mend(way == "recover")

    async def _mend(self, recover: bool) -> None:
        """Keep the damaged log aside, and copy what can be read of it into a new one."""
        from assistant.store import recovery

        aside = recovery.set_aside(self._paths.database)
        told = f"The damaged log is kept as {aside.name}."
        if recover:
            try:
                found = await asyncio.to_thread(recovery.recover, aside, self._paths.database)
            except StoreError as error:
                self.notify(f"{error} {told}", severity="error", markup=False, timeout=20)
                return
            told = f"Recovered {found.conversations:,} conversations with {found.messages:,} messages. {told}"
        self.notify(told, markup=False, timeout=20)

    def _take_remembered_theme(self) -> None:
        from assistant.store import conversations

        assert self._logs is not None
        name = conversations.recall(self._logs.saved.db, "theme")
        if not self._settings.theme and name in self.available_themes:
            self.theme = name
        if self._settings.theme and self._settings.theme not in self.available_themes:
            known = ", ".join(sorted(self.available_themes))
            self.notify(f"config.toml: there is no theme {self._settings.theme!r}. Known: {known}.", severity="warning")
        self.theme_changed_signal.subscribe(self, lambda theme: self._remember_theme(theme.name))

    def _remember_theme(self, name: str) -> None:
        from assistant.store import conversations

        if self._logs is not None:
            conversations.remember(self._logs.saved.db, "theme", name)

    # --- screens

    def on_chat_screen_models_wanted(self) -> None:
        self.open_models()

    def open_models(self, *, first_run: bool = False) -> None:
        """Show the models. A model that is chosen there becomes that of the open conversation."""
        from assistant.tui.models.screen import ModelsScreen

        registry = self._logs.saved.db if self._logs is not None else None
        screen = ModelsScreen(self._paths, first_run=first_run, machine=self._machine, registry=registry)
        self.push_screen(screen, self._model_chosen)

    def _model_chosen(self, taken: "Taken | None") -> None:
        from assistant.store import conversations

        if taken is not None and self._logs is not None:
            conversations.remember(self._logs.saved.db, "model", taken.model)
            self.chat.view.configure(model=taken.model)
            if taken.adapter is not None:
                self.chat.view.pick_adapter(taken.adapter)
        self.chat.refresh_all()

    def on_chat_screen_log_wanted(self) -> None:
        from assistant.tui.log.meaning import Meaning
        from assistant.tui.log.screen import LogScreen

        assert self._logs is not None, "the chat has logs when it wants to show them"
        if self._log_screen is None:
            meaning = Meaning(self._logs.client, self._paths, self._settings.meaning_model)
            self._log_screen = LogScreen(self._paths.database, meaning, now=self._now)
            self.install_screen(self._log_screen, "log")  # it keeps its place until the end
        self.push_screen(self._log_screen, self._exchange_chosen)

    def on_chat_screen_train_wanted(self) -> None:
        self.push_screen(self._train())

    def on_log_screen_train_wanted(self, event: "LogScreen.TrainWanted") -> None:
        train = self._train()
        train.take_filter(event.typed, event.filter_)
        train.learn_from_log()
        self.push_screen(train)

    def _train(self) -> "TrainScreen":
        from assistant.tui.train.screen import TrainScreen

        assert self._logs is not None, "the chat has logs when it wants to train"
        if self._train_screen is None:
            self._train_screen = TrainScreen(self._logs, self.chat.replies, now=self._now)
            self.install_screen(self._train_screen, "train")  # it keeps what is chosen until the end
        if self._log_screen is not None:
            self._train_screen.take_filter(*self._log_screen.shown_filter)
        return self._train_screen

    def on_teach_wanted(self, event: "TeachWanted") -> None:
        """Teach these corrections; where something that was taught is undecided yet, show that first."""
        from assistant.tui.jobs.teaching import Teaching, is_undecided
        from assistant.tui.judging.teach import TeachScreen

        assert self._logs is not None, "what is corrected is in a log"
        if self._teaching is None:
            self._teaching = Teaching.of(self._paths)
        self._teaching.watch.look()
        waiting = self._teaching.watch.running or is_undecided(self._logs.saved.db, self._teaching.outcome)
        self.push_screen(TeachScreen(self._teaching, [] if waiting else event.ids), self._taught)

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
        ended = "It is learned. Press l on the correction to see it, and to keep or drop it."
        self.notify(printable(watch.failure) if watch.failure else ended, markup=False, timeout=10)

    def on_log_screen_tokens_wanted(self, event: "LogScreen.TokensWanted") -> None:
        from assistant.tui.judging.tokens import TokensScreen

        if self._logs is not None:
            self.push_screen(TokensScreen(self._logs.saved.db, self._logs.client, self._paths, event.message_id))

    def _exchange_chosen(self, chosen: tuple[int, int] | None) -> None:
        if chosen is not None:
            self.chat.open_at(*chosen)

    def on_chat_screen_prompts_wanted(self) -> None:
        from assistant.tui.prompts.screen import PromptsScreen

        assert self._logs is not None, "the chat has logs when it wants to show templates"
        if self._prompts_screen is None:
            current = self.chat.view.current_setup.template
            self._prompts_screen = PromptsScreen(self._logs, now=self._now, current=current)
            self.install_screen(self._prompts_screen, "prompts")  # what is being written or tested goes on
        self.push_screen(self._prompts_screen, self._template_chosen)

    def _template_chosen(self, template: "Template | None") -> None:
        from assistant.tui.chat.choose import use_template

        if template is not None:
            use_template(self.chat.view, template)

    def action_help(self) -> None:
        from assistant.tui.help import HelpScreen

        self.push_screen(HelpScreen(self._version, str(self._paths.config_file), self._settings.keys))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every action of the screen that makes sense now, then those of the program."""
        yield from _commands(screen)
        yield SystemCommand("theme", "Choose the colours", self.action_change_theme)
        yield SystemCommand("help", "Every key", self.action_help)
        yield SystemCommand("quit", "Everything is kept", self.action_quit)

    async def action_quit(self) -> None:
        if self._logs is None and self.chat.view.composer.text and not self._quit_asked:
            self._quit_asked = True  # what was typed is kept as soon as there is a log to keep it in
            return
        logs, self._logs = self._logs, None
        for screen in (self._log_screen, self._train_screen):
            if screen is not None:
                await screen.close()
        if self._prompts_screen is not None:
            self._prompts_screen.close()
        if logs is not None:
            self.workers.cancel_group(self, "meaning")
            await self.chat.keep_all()
            await logs.close()
        self.exit()


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
