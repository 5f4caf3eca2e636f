"""What the engine process writes to stderr: trouble of its own, and nothing of what was said."""

import faulthandler
import logging
import traceback
from typing import Any


class Discreet(logging.Formatter):
    """Where an exception came from and its kind, without its message: that may hold what was said."""

    def formatException(self, ei: Any) -> str:  # noqa: N802
        kind, _, trace = ei
        return "".join([*traceback.format_tb(trace), kind.__name__])


def start() -> None:
    """Log warnings and errors of this process to stderr."""
    faulthandler.enable()
    lines = logging.StreamHandler()
    lines.setFormatter(Discreet("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it logs every broken-off answer as an error
