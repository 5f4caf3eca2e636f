"""Short commands of `finetune`, waited for: freeze a dataset, plan a training, promote what it made."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from assistant.errors import TrainingError
from assistant.paths import Paths
from assistant.tui.training.job import command, environment, reason, result
from finetune.progress import Planned, from_line


async def run(paths: Paths, arguments: Sequence[str]) -> dict[str, Any]:
    """The JSON object that the command printed. Raises `TrainingError` with its own sentence where it failed."""
    told = result(await _output(paths, arguments))
    if told is None:
        raise TrainingError(f"`finetune {arguments[0]}` ended well, but told no result.")
    return told


async def plan(paths: Paths, arguments: Sequence[str]) -> Planned:
    """What a training would take. Raises as `run`."""
    said = await _output(paths, [*arguments, "--plan"])
    told = next((one for one in map(from_line, said.splitlines()) if isinstance(one, Planned)), None)
    if told is None:
        raise TrainingError("`finetune train --plan` ended well, but told no plan.")
    return told


async def _output(paths: Paths, arguments: Sequence[str]) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *command([*arguments, "--json"]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(paths),
            cwd=paths.data,
        )
    except OSError as error:
        raise TrainingError(f"`finetune {arguments[0]}` can't be started: {error}.") from error
    try:
        output, errors = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        raise
    if process.returncode:
        raise TrainingError(reason(errors.decode(errors="replace"), process.returncode))
    return output.decode(errors="replace")
