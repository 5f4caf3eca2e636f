"""`python -m assistant.server`: the engine process, started by the first client that needs it."""

import argparse
import faulthandler
import json
import logging
import os
import stat
import sys
import traceback
from pathlib import Path
from typing import Any

from assistant.errors import AssistantError
from assistant.paths import Paths
from assistant.settings import EngineSettings
from assistant.wire.address import ANOTHER_RUNS

LONGEST_LOG_BYTES = 1_000_000


class Discreet(logging.Formatter):
    """Where an exception came from and its kind, without its message: that may hold what was said."""

    def formatException(self, ei: Any) -> str:  # noqa: N802
        kind, _, trace = ei
        return "".join([*traceback.format_tb(trace), kind.__name__])


def main() -> int:
    """0 when nobody used the engine any more, 1 where it can't be one, 3 where there is one already."""
    parser = argparse.ArgumentParser(prog="python -m assistant.server", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--settings", type=json.loads, default={}, help="[engine] of config.toml, as JSON")
    arguments = parser.parse_args()
    os.umask(0o077)
    _start_log()
    from assistant.server.process import run

    try:
        paths = Paths(arguments.config, arguments.data).create()
        return 0 if run(paths, EngineSettings(**arguments.settings)) else ANOTHER_RUNS
    except AssistantError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _start_log() -> None:
    """Log to stderr, which is the engine's log file; empty it where it has grown long."""
    file = os.fstat(sys.stderr.fileno())
    if stat.S_ISREG(file.st_mode) and file.st_size > LONGEST_LOG_BYTES:
        os.ftruncate(sys.stderr.fileno(), 0)
    faulthandler.enable()
    lines = logging.StreamHandler()
    lines.setFormatter(Discreet("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it logs every broken-off answer as an error


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)
