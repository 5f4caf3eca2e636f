"""`assistant serve`: the engine process of this data folder, in the foreground and on a port as well."""

import asyncio
import os
import socket
import sys

import click

from assistant.errors import AssistantError
from assistant.paths import Paths

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8321, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--api-key-env", metavar="VAR", help="Environment variable with the key that clients must send.")
def command(host: str, port: int, api_key_env: str | None) -> None:
    """Answer the OpenAI API on a port, until Ctrl-C.

    A model answers with what is in use for it; the models MODEL:base and MODEL:NAME are the base alone and an adapter.

    Windows of this assistant share the model that is loaded. An address other than this machine's own needs a key.
    """
    from assistant import settings
    from assistant.server import log, process

    key = _key(host, api_key_env)
    paths = Paths.from_environment().create()
    chosen = settings.load(paths.config_file).engine
    with _listen(host, port) as listener:
        log.start()
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/v1"
        while not process.run(paths, chosen, process.Port(listener, key), lambda: click.echo(f"Answering at {url}")):
            _end_idle_engine(paths)
    sys.stdout.flush()
    os._exit(0)  # a model that is still loading would hold up the interpreter's end


def _key(host: str, variable: str | None) -> str:
    if variable is not None:
        if key := os.environ.get(variable, "").strip():
            return key
        raise AssistantError(f"The environment variable {variable} is not set. Put the key there: export {variable}=…")
    if host not in LOOPBACK:
        raise AssistantError(
            f"{host} can be reached from other machines, so that a key is needed. "
            "Put one into an environment variable and name it: --api-key-env VAR"
        )
    return ""


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise AssistantError(
            f"Can't listen on {host}, port {port}: {error.strerror}. Choose another with --host and --port."
        ) from error


def _end_idle_engine(paths: Paths) -> None:
    """Make way for this process. Raises where windows of the assistant use the engine that runs."""
    from assistant.client.process import stop_idle
    from assistant.wire import address

    found = address.published(paths)
    if found is not None and not asyncio.run(stop_idle(found)):
        raise AssistantError(
            f"An engine runs already for other windows of the assistant (process {found.pid}). "
            "Close them, then start `assistant serve` again: they will share its model."
        )
