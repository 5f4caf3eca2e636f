"""Make a folder, a GGUF file or a server elsewhere a model."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.app import App

from assistant.engine.models import catalogue
from assistant.engine.models.catalogue import Remote
from assistant.errors import ModelError
from assistant.paths import Paths
from assistant.tui.dialogs.form import Field, FormScreen
from assistant.tui.dialogs.pick import Choice, PickScreen


def path_form(paths: Paths) -> FormScreen[str]:
    """The result is the name of the new model, which is a folder or a file."""

    def add(typed: dict[str, str]) -> str:
        if not typed["path"].strip():
            raise ModelError("The path is empty. Type where the folder or the file is.")
        path = Path(typed["path"].strip())
        name = typed["name"].strip() or re.sub(r"[^A-Za-z0-9._-]+", "-", path.expanduser().absolute().stem).strip("-.")
        _refuse_taken(paths, name)
        return catalogue.add_path(paths, name, path).name

    fields = [
        Field("path", "path", "a Hugging Face folder or a .gguf file"),
        Field("name", "name", "empty: that of the file"),
    ]
    return FormScreen("Add a folder or a file", "The files stay where they are.", fields, add)


def server_form(paths: Paths) -> FormScreen[str]:
    """The result is the name of the new model, which a server runs."""

    def add(typed: dict[str, str]) -> str:
        name, url, model, key_env = (typed[field].strip() for field in ("name", "url", "model", "key_env"))
        _refuse_taken(paths, name)
        catalogue.add_remote(paths, Remote(name, url, model or name, key_env.removeprefix("$")))
        return name

    fields = [
        Field("name", "name", "what it is called here"),
        Field("url", "address", "such as http://127.0.0.1:8000/v1"),
        Field("model", "model", "its name there, empty: the same"),
        Field("key_env", "API key variable", "environment variable, if a key is needed"),
    ]
    about = "Any server that speaks the OpenAI API: vLLM, llama.cpp, Ollama, LM Studio."
    return FormScreen("Add a server", about, fields, add)


def _refuse_taken(paths: Paths, name: str) -> None:
    if name in catalogue.names(paths):
        raise ModelError(f"There is a model {name!r} already. Give another name.")


def add_model(app: App[Any], paths: Paths, added: Callable[[str | None], None]) -> None:
    """Ask which kind, then for the rest; `added` gets the name of the new model, or None."""

    def chosen(kind: str | None) -> None:
        if kind is not None:
            app.push_screen(path_form(paths) if kind == "path" else server_form(paths), added)

    choices = [
        Choice("path", "A folder or a GGUF file", "on this machine"),
        Choice("server", "A server", "that speaks the OpenAI API"),
    ]
    app.push_screen(PickScreen("Add a model", choices), chosen)
