"""The programs that the numbers of a training depend on."""

import platform
from importlib.metadata import version

from assistant import __version__


def made_with() -> dict[str, str]:
    """Name -> version."""
    others = {name: version(name) for name in ("torch", "transformers", "peft", "accelerate")}
    return {"assistant": __version__, **others, "python": platform.python_version()}
