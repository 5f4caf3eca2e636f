"""`python -m assistant.server`: the engine process, started by the first client that needs it."""

import argparse
import json
import os
import stat
import sys
from pathlib import Path

from assistant.errors import AssistantError
from assistant.paths import Paths
from assistant.server import log
from assistant.settings import EngineSettings
from assistant.wire.address import ANOTHER_RUNS

LONGEST_LOG_BYTES = 1_000_000


def main() -> int:
    """0 when nobody used the engine any more, 1 where it can't be one, 3 where there is one already."""
    parser = argparse.ArgumentParser(prog="python -m assistant.server", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--settings", type=json.loads, default={}, help="[engine] of config.toml, as JSON")
    arguments = parser.parse_args()
    os.umask(0o077)
    _shorten_log()
    log.start()
    from assistant.server.process import run

    try:
        paths = Paths(arguments.config, arguments.data).create()
        return 0 if run(paths, EngineSettings(**arguments.settings)) else ANOTHER_RUNS
    except AssistantError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _shorten_log() -> None:
    """Empty the log, which stderr is, where it has grown long."""
    file = os.fstat(sys.stderr.fileno())
    if stat.S_ISREG(file.st_mode) and file.st_size > LONGEST_LOG_BYTES:
        os.ftruncate(sys.stderr.fileno(), 0)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)
