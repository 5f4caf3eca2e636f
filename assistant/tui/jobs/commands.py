"""Short commands of `finetune`, waited for: count replies, freeze a dataset, plan a training, promote an adapter."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from assistant.errors import TrainingError
from assistant.paths import Paths
from assistant.tui.jobs.job import command, environment, reason, result
from finetune.progress import Planned, Progress, from_line

LONGEST_LINE_BYTES = 16_000_000

Say = Callable[[Progress], None]


def _quiet(_: Progress) -> None:
    """Progress that nobody shows."""


async def run(paths: Paths, arguments: Sequence[str], say: Say = _quiet) -> dict[str, Any]:
    """The JSON object that the command printed last; its progress goes to `say`.

    Raises `TrainingError` with the command's own sentence where it failed.
    """
    told = result("\n".join([line async for line in _lines(paths, arguments, say)]))
    if told is None:
        raise TrainingError(f"`finetune {arguments[0]}` ended well, but printed no result.")
    return told


async def plan(paths: Paths, arguments: Sequence[str], say: Say = _quiet) -> Planned:
    """What a training would take. Raises as `run`."""
    planned: list[Planned] = []

    def heard(progress: Progress) -> None:
        if isinstance(progress, Planned):
            planned.append(progress)
        say(progress)

    async for _ in _lines(paths, [*arguments, "--plan"], heard):
        pass
    if not planned:
        raise TrainingError("`finetune train --plan` ended well, but printed no plan.")
    return planned[-1]


async def _lines(paths: Paths, arguments: Sequence[str], say: Say) -> AsyncIterator[str]:
    """The lines of output that aren't progress. The process is stopped where nobody waits for it any more."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command([*arguments, "--json"]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(paths),
            cwd=paths.data,
            limit=LONGEST_LINE_BYTES,
        )
    except OSError as error:
        raise TrainingError(f"`finetune {arguments[0]}` can't be started: {error}.") from error
    assert process.stdout is not None and process.stderr is not None
    errors = asyncio.ensure_future(process.stderr.read())
    try:
        async for line in process.stdout:
            text = line.decode(errors="replace")
            if (progress := from_line(text)) is None:
                yield text
            else:
                say(progress)
        await process.wait()
    except (asyncio.CancelledError, GeneratorExit):
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        raise
    finally:
        said = (await errors).decode(errors="replace")
    if process.returncode:
        raise TrainingError(reason(said, process.returncode))
