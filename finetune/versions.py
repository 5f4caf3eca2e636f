"""Versions of the packages that a training's numbers depend on."""

import platform
from importlib.metadata import version

from assistant import __version__


def made_with() -> dict[str, str]:
    """Package name -> version."""
    others = {name: version(name) for name in ("torch", "transformers", "peft", "accelerate")}
    return {"assistant": __version__, **others, "python": platform.python_version()}
