"""Several files, folders, zips and packed files; and files of which only the beginning is there."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from assistant.errors import ImportRefused
from assistant.store.database import check
from assistant.store.files.imports.importer import Progress, import_file, import_files
from tests.assistant.store.files import samples
from tests.assistant.store.files.conftest import Take
from tests.assistant.store.files.databases.samples import database
from tests.assistant.store.files.exports.stored import stored
from tests.assistant.store.files.programs.samples import AI_STUDIO, LM_STUDIO, THREAD


def row(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": f"{text}!"}]}


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def chats(*titles: str) -> list[dict[str, Any]]:
    return [{**samples.CHATGPT[0], "title": title, "conversation_id": title, "mapping": samples.CHATGPT[0]["mapping"]
             | samples.chatgpt_node("x", None, "user", title)} for title in titles]  # fmt: skip


def export(folder: Path) -> Path:
    write(folder / "conversations-000.json", chats("A", "B"))
    write(folder / "conversations-001.json", chats("C", "D"))
    write(folder / "message_feedback.json", [{"id": "n6", "rating": "thumbs_up"}])
    write(folder / "user.json", {"id": "u"})
    write(folder / "chat.html", "x")
    write(folder / "a.png", "x")
    write(folder / "b.png", "x")
    return folder


def test_a_folder_that_an_export_was_unpacked_to(memory: Database, tmp_path: Path) -> None:
    report = import_file(memory, export(tmp_path / "e"))
    assert (report.conversations, report.files, report.format) == (4, 2, "chatgpt")
    left = {what: number for what, number in report.left.items() if what.endswith("files left out")}
    assert left == {"'.html' files left out": 1, "'.json' files left out": 1, "'.png' files left out": 2}
    assert stored(memory).judged == {"For ships.": (1,)}


def test_several_files_and_a_zip_of_them(memory: Database, tmp_path: Path) -> None:
    files = sorted(export(tmp_path / "e").glob("conversations*"))
    assert import_files(memory, files).conversations == 4
    archive = tmp_path / "e.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in (tmp_path / "e").iterdir():
            packed.write(file, f"export/{file.name}")
    report = import_files(memory, [archive, *files])
    assert (report.conversations, report.doubles, report.file) == (0, 8, "3 files")
    assert report.named_doubles[-1] == "conversations-001.json, D"


def test_a_folder_of_many_programs(memory: Database, tmp_path: Path) -> None:
    folder = tmp_path / "all"
    write(folder / "a" / "one.conversation.json", LM_STUDIO[0])
    write(folder / "b" / "Fjord talk", AI_STUDIO[0])
    write(folder / "threads" / "t1" / "messages.jsonl", "\n".join(map(json.dumps, THREAD)))
    assistants = [{"model": {"id": "llama"}, "instructions": "Be brief.", "id": "jan"}]
    write(
        folder / "threads" / "t1" / "thread.json",
        {"id": "t1", "object": "thread", "title": "Fjords", "assistants": assistants, "created": 1760000000},
    )
    database(folder, "ollama")
    write(folder / "notes.json", {"todo": []})
    write(folder / ".hidden.json", row("no"))
    (folder / "rows.jsonl.gz").write_bytes(gzip.compress(json.dumps(row("packed")).encode()))
    with zipfile.ZipFile(folder / "more.zip", "w") as packed:
        packed.writestr("x/rows.json", json.dumps([row("zipped")]))
    report = import_file(memory, folder)
    assert report.format == "openai, ollama, lm-studio, ai-studio, threads"
    assert [(one.name, one.reason.partition(":")[0]) for one in report.named_left_out] == [
        ("notes.json", "it is JSON and holds no conversation")
    ]
    found = [stored(memory, number) for number in range(1, memory["conversations"].count + 1)]
    assert {one.title for one in found} == {"Fjords", "Fjord talk", "Hi", "packed", "zipped"}
    assert [(one.title, one.system) for one in found if one.source == "threads"] == [("Fjords", "Be brief.")]
    assert check(memory) == []


def test_a_folder_without_anything_to_read(memory: Database, tmp_path: Path) -> None:
    write(tmp_path / "e" / "photo.png", "x")
    with pytest.raises(ImportRefused, match=r"It holds 'photo\.png'"):
        import_file(memory, tmp_path / "e")
    write(tmp_path / "e" / "x.json", {"a": 1})
    write(tmp_path / "e" / "y.json", "")
    with pytest.raises(ImportRefused, match=r"x\.json: it is JSON and holds no conversation.* \(and 1 more like it\)"):
        import_file(memory, tmp_path / "e")


def test_a_damaged_file_among_several_takes_nothing_in(memory: Database, tmp_path: Path) -> None:
    write(tmp_path / "e" / "a.jsonl", "\n".join(json.dumps(row(str(n))) for n in range(600)))
    write(tmp_path / "e" / "b.json", json.dumps([row("x"), row("y")])[:-9])
    with pytest.raises(ImportRefused, match=r"b\.json breaks off in line 1; whole conversations before it: 1"):
        import_file(memory, tmp_path / "e")
    assert memory["conversations"].count == 0
    report = import_file(memory, tmp_path / "e", salvage=True)
    assert report.conversations == 601


def test_progress_goes_over_all_files(memory: Database, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "e" / f"{name}.jsonl", "\n".join(json.dumps(row(f"{name}{n}" * 3000)) for n in range(200)))
    seen: list[Progress] = []
    import_file(memory, tmp_path / "e", progress=seen.append)
    shares = [one.share for one in seen]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.5 < shares[-2] <= shares[-1] == 1.0


# -- files that break off ---------------------------------------------------------------------------------------------

WHOLE = [row(str(number)) for number in range(5)]


@pytest.mark.parametrize(
    ("text", "whole", "line"),
    ids=["list", "list without its end", "list with lines", "lines", "list with a broken item"],
    argvalues=[
        (json.dumps(WHOLE)[:-20], 4, 1),
        (json.dumps(WHOLE)[:-1], 5, 1),
        (json.dumps(WHOLE, indent=1)[:-30], 4, 58),
        ("\n".join(map(json.dumps, WHOLE))[:-20], 4, 5),
        ("[" + json.dumps(WHOLE[0]) + ", {nope}, " + json.dumps(WHOLE[1]) + ", {", 2, 1),
    ],
)
def test_what_is_whole_is_salvaged(memory: Database, take: Take, text: str, whole: int, line: int) -> None:
    with pytest.raises(ImportRefused, match=f"line {line}; whole conversations before it: {whole:,}.*--salvage"):
        take(text)
    assert memory["conversations"].count == 0
    told_ = take(text, salvage=True, dry_run=True)
    done = take(text, salvage=True)
    assert told_.conversations == done.conversations == whole
    assert done.broke_off[0].endswith(f"breaks off in line {line}; whole conversations before it: {whole:,}")


def test_nothing_whole_is_told(take: Take) -> None:
    with pytest.raises(ImportRefused, match="Nothing whole comes before"):
        take('[{"messages": [', salvage=True)


def test_a_packed_file_that_breaks_off(memory: Database, take: Take) -> None:
    rows = [row(f"{number} {number * 7919}") for number in range(2000)]
    packed = gzip.compress("\n".join(map(json.dumps, rows)).encode())[:-300]
    with pytest.raises(ImportRefused, match=r"damaged or not whole.*--salvage"):
        take(packed)
    report = take(packed, salvage=True)
    assert 1000 < report.conversations < 2000
    assert report.broke_off[-1].endswith("its compressed data ends too early")
    assert memory["conversations"].count == report.conversations


def test_parquet_is_read_where_pyarrow_is(memory: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([*WHOLE, {"messages": None}]), file)
    report = import_file(memory, file)
    assert (report.conversations, report.left_out) == (5, 1)
    assert stored(memory).said == [(None, "user", "0"), (0, "assistant", "0!")]
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(ImportRefused, match="can't be read as Parquet"):
        import_file(memory, file)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportRefused, match="needs pyarrow"):
        import_file(memory, file)
