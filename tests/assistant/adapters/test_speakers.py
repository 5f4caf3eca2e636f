"""Who speaks for a model: in use, the base, or named; by id, by hash; and what is refused with a sentence."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from sqlite_utils import Database

from assistant.adapters.folder import CHANGED, CONFIG, HEAD, WEIGHTS, hash_of
from assistant.adapters.speakers import BASE, Folders, Speaker, Speakers, parsed, speaker, speaker_of
from assistant.errors import AdapterError, AdapterUnknown, StoreError
from assistant.paths import Paths
from assistant.store.database import open_database
from assistant.store.training import adapters

MODELS = ["tiny", "small"]


@pytest.fixture
def db(home: Paths) -> Iterator[Database]:
    db = open_database(home.database)
    yield db
    db.close()


def lora(folder: Path, value: float = 1.0) -> str:
    """An adapter of one linear; its hash."""
    folder.mkdir(exist_ok=True)
    place = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    save_file(
        {f"{place}A.weight": torch.full((2, 8), float(value)), f"{place}B.weight": torch.ones(8, 2)}, folder / WEIGHTS
    )
    table = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"]}
    (folder / CONFIG).write_text(json.dumps(table), encoding="utf-8")
    return hash_of(folder)


def register(home: Paths, db: Database, name: str, model: str = "tiny", value: float = 1.0) -> Speaker:
    hash_ = lora(home.adapters / name, value)
    adapters.add(db, hash_, name, None, model, "b" * 64, {})
    return Speaker(name, hash_)


def test_in_use_named_or_the_base(home: Paths, db: Database) -> None:
    sea, sky = register(home, db, "sea"), register(home, db, "sky", value=2)
    assert speaker(db.conn, "tiny", None) == BASE
    adapters.promote(db, sea.hash)
    adapters.promote(db, sky.hash)
    assert speaker(db.conn, "tiny", None) == sky
    assert speaker(db.conn, "small", None) == BASE
    assert [speaker(db.conn, "tiny", wanted) for wanted in ("sea", "", "base")] == [sea, BASE, BASE]
    assert speaker(db.conn, "tiny", "copied by hand") == Speaker("copied by hand")
    with pytest.raises(AdapterError, match="The adapter sea was trained on tiny, and can't speak for small"):
        speaker(db.conn, "small", "sea")
    adapters.roll_back(db, "tiny")
    assert speaker(db.conn, "tiny", None) == sea


def test_the_same_name_for_two_models(home: Paths, db: Database) -> None:
    register(home, db, "sea")
    adapters.add(db, "5" * 64, "sea", None, "small", "b" * 64, {})
    assert speaker(db.conn, "small", "sea") == Speaker("sea", "5" * 64)
    assert speaker(db.conn, "tiny", "sea").hash != "5" * 64


def test_what_is_in_use_was_deleted_and_what_was_before_it(home: Paths, db: Database) -> None:
    sea, sky = register(home, db, "sea"), register(home, db, "sky", value=2)
    adapters.promote(db, sea.hash)
    adapters.promote(db, sky.hash)
    adapters.remove(db, sky.hash)
    with pytest.raises(AdapterUnknown, match=r"in use for tiny, .* was deleted\..*`finetune rollback -m tiny`"):
        speaker(db.conn, "tiny", None)
    assert speaker(db.conn, "tiny", "") == BASE
    back = adapters.roll_back(db, "tiny")
    assert back is not None and back.name == "sea"
    adapters.promote(db, register(home, db, "sun", value=3).hash)
    adapters.remove(db, sea.hash)
    assert adapters.roll_back(db, "tiny") is None, "what was deleted is passed over"
    with pytest.raises(StoreError, match="tiny is used without an adapter: there is nothing to take back"):
        adapters.roll_back(db, "tiny")


def test_what_made_a_reply_by_hash_or_name(home: Paths, db: Database) -> None:
    sea, folders = register(home, db, "sea"), Folders(home.adapters)
    unknown = lora(home.adapters / "copied", 7)
    assert speaker_of(db.conn, "") == BASE
    assert speaker_of(db.conn, sea.hash) == speaker_of(db.conn, "sea") == sea
    assert speaker_of(db.conn, unknown, folders) == Speaker("copied", unknown)
    assert speaker_of(db.conn, "copied", folders) == Speaker("copied")
    for wanted, where in ((unknown, None), ("9" * 64, folders)):
        with pytest.raises(AdapterUnknown, match=f"The adapter {wanted[:12]} that made this reply is gone"):
            speaker_of(db.conn, wanted, where)


@pytest.mark.parametrize(
    ("id_", "model", "adapter"),
    [
        ("tiny", "tiny", None),
        ("tiny:base", "tiny", "base"),
        ("tiny:sea", "tiny", "sea"),
        ("tiny:", "tiny", ""),
        ("none:sea", "none:sea", None),
        ("odd:name", "odd:name", None),
        ("odd:name:sea", "odd:name", "sea"),
        ("/folder/with:colon", "/folder/with:colon", None),
    ],
)
def test_ids(id_: str, model: str, adapter: str | None) -> None:
    assert parsed(id_, lambda: [*MODELS, "odd:name"]) == (model, adapter)


def test_folders_that_can_speak(home: Paths, db: Database) -> None:
    sea, folders = register(home, db, "sea"), Folders(home.adapters)
    register(home, db, "other", "small", 2)
    lora(home.adapters / "base")  # whose name means another thing
    (home.adapters / "tags").mkdir()
    for name in (CONFIG, HEAD):
        (home.adapters / "tags" / name).write_text("{}")
    (home.adapters / "whole").mkdir()
    save_file({"model.norm.weight": torch.ones(4)}, home.adapters / "whole" / CHANGED)
    (home.adapters / "nothing").mkdir()
    (home.adapters / "a file").touch()
    assert folders.names() == ["other", "sea", "whole"]
    assert folders.names_for(db.conn, "tiny") == ["sea", "whole"]
    assert folders.names_for(db.conn, "small") == ["other", "whole"]
    assert Folders(home.data / "none").names() == []
    assert folders.find(BASE) is None
    assert folders.find(sea) == home.adapters / "sea"
    assert folders.find(Speaker("whole")) == home.adapters / "whole"
    for name in ("../sea", "/etc", "tags", "nothing", "", ".."):
        if name:
            with pytest.raises(AdapterUnknown, match="There are: other, sea, whole"):
                folders.find(Speaker(name))
    with pytest.raises(AdapterUnknown):
        folders.find(Speaker("../adapters/sea", sea.hash))
    assert Folders(home.adapters, paths=True).find(Speaker("/etc")) == Path("/etc")


def test_files_that_were_changed_or_are_gone(home: Paths, db: Database) -> None:
    sea, folders = register(home, db, "sea"), Folders(home.adapters)
    lora(home.adapters / "sea", 3)
    with pytest.raises(AdapterError, match=r"The adapter sea can't be used: its files were changed.*finetune rollback"):
        folders.find(sea)
    (home.adapters / "sea").rename(home.data / "elsewhere")
    with pytest.raises(AdapterError, match=r"The adapter sea can't be used: .* is gone\. Put it back"):
        folders.find(sea)


def test_a_process_that_reads_the_log_for_each_answer(home: Paths) -> None:
    speakers = Speakers(home.database, Folders(home.adapters))

    def models() -> list[str]:
        return MODELS

    assert speakers.chosen("tiny", models).speaker == BASE  # there is no log yet
    assert [one[0] for one in speakers.ids(MODELS)] == MODELS
    assert not home.database.exists()
    db = open_database(home.database)
    sea = register(home, db, "sea")
    assert speakers.chosen("tiny", models).id == "tiny"
    adapters.promote(db, sea.hash)
    assert speakers.chosen("tiny", models).id == "tiny:sea"
    assert speakers.chosen("tiny:base", models).id == speakers.chosen("tiny", models, "").id == "tiny"
    assert speakers.chosen("tiny:sea", models, "sea").speaker == sea
    assert speakers.chosen("tiny", models, "sea", "9" * 64).speaker == Speaker("sea", "9" * 64)
    with pytest.raises(AdapterError, match="'tiny:sea' names the adapter 'sea', and the field adapter 'sky'"):
        speakers.chosen("tiny:sea", models, "sky")
    assert speakers.ids(MODELS) == [
        ("tiny", "tiny", "sea"),
        ("tiny:base", "tiny", ""),
        ("tiny:sea", "tiny", "sea"),
        ("small", "small", ""),
    ]
    adapters.roll_back(db, "tiny")
    assert speakers.chosen("tiny", models).id == "tiny"
    db.close()
    home.database.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="is damaged"):
        speakers.chosen("tiny", models)
    assert speakers.chosen("tiny", models, "sea", sea.hash).speaker == sea
