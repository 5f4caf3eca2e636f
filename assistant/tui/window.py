"""What the screens of one window share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assistant.paths import Paths
from assistant.settings import Settings
from assistant.tui.clock import Now

if TYPE_CHECKING:
    from assistant.engine.hardware.machine import Machine
    from assistant.store.search.filter import Filter
    from assistant.tui.chat.screen import ChatScreen
    from assistant.tui.logs import Logs


@dataclass(slots=True)
class Window:
    """The chat, and what the other screens are made with."""

    paths: Paths
    settings: Settings
    now: Now
    chat: "ChatScreen"
    machine: "Machine | None" = None
    """What models must fit; None: this machine."""
    open_logs: "Logs | None" = None
    """None until the logs are open."""
    shown_filter: "tuple[str, Filter] | None" = None
    """The filter of the Log screen, as typed and as parsed, once that screen was shown."""

    @property
    def logs(self) -> "Logs":
        """The logs. Only for what is offered after they are open."""
        assert self.open_logs is not None
        return self.open_logs
