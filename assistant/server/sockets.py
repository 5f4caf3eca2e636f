"""Where the engine listens: a Unix socket that only its owner can open, or loopback and a random key."""

import hashlib
import os
import secrets
import socket
import stat
import tempfile
from pathlib import Path

from assistant import __version__
from assistant.paths import Paths
from assistant.wire.address import Address

LONGEST_BYTES = 100
"""Of a socket's path. Linux takes 107 bytes, macOS 103."""


def listen(paths: Paths) -> tuple[socket.socket, Address]:
    """A bound socket and its address. To be called by the holder of the lock: a socket left over is replaced."""
    try:
        return listen_at(_folder(paths) / "engine.sock")
    except (AttributeError, OSError):  # no Unix sockets on this system, or none on this file system
        return _loopback()


def listen_at(path: Path) -> tuple[socket.socket, Address]:
    """A Unix socket. Raises `OSError` where there can be none."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)  # its folder is private already
    except OSError:
        listener.close()
        raise
    return listener, Address(os.getpid(), __version__, socket=os.fspath(path))


def _loopback() -> tuple[socket.socket, Address]:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    return listener, Address(os.getpid(), __version__, url=url, key=secrets.token_urlsafe(32))


def _folder(paths: Paths) -> Path:
    """`paths.run`, or where that is too long for a socket a private folder of the same owner in the temporary one."""
    if len(os.fsencode(paths.run / "engine.sock")) <= LONGEST_BYTES:
        return paths.run
    name = hashlib.sha256(os.fsencode(paths.data.absolute())).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"assistant-{os.getuid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise OSError(f"{folder} is not a private folder of this user")
    return folder
