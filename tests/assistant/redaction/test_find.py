"""What is found and what is left, on a small labelled set in English and Chinese (and a few lines of others)."""

import re
from collections import Counter
from pathlib import Path

import pytest

from assistant.redaction import KINDS, Hit, find, replaced

MARKED = re.compile(r"\{\{(\w+)\|(.*?)\}\}")


def labelled() -> list[tuple[str, list[tuple[str, str]]]]:
    """Each line's text, and the (kind, value) pairs that stand in it, in order."""
    lines = (Path(__file__).parent / "labelled.txt").read_text(encoding="utf-8").replace("¦", "").splitlines()
    said = [line for line in lines if line and not line.startswith("# ") and not line.startswith("takes")]
    return [(MARKED.sub(r"\2", line), MARKED.findall(line)) for line in said if not line.startswith("#")]


def test_precision_and_recall() -> None:
    right, found, there = Counter[str](), Counter[str](), Counter[str]()
    wrong = []
    for text, expected in labelled():
        hits = [(hit.kind, hit.text) for hit in find(text)]
        found.update(kind for kind, _ in hits)
        there.update(kind for kind, _ in expected)
        right.update(kind for kind, _ in (Counter(hits) & Counter(expected)).elements())
        if hits != expected:
            wrong.append(
                f"{text}\n    extra {Counter(hits) - Counter(expected)}, missed {Counter(expected) - Counter(hits)}"
            )
    told = "\n".join([*wrong, *(f"{kind:<8} {right[kind]} of {there[kind]}, {found[kind]} found" for kind in there)])
    assert set(there) == set(KINDS) - {"word"}
    assert right.total() / found.total() >= 0.97, told
    assert right.total() / there.total() >= 0.97, told


def test_words_of_ones_own() -> None:
    text = "Ann met 王小明 and ANN in the Annual 小明 meeting; Zoë Ann-Marie"
    hits = find(text, words=["Ann", "小明", "zoë", " ", ""])
    assert [hit.text for hit in hits] == ["Ann", "小明", "ANN", "小明", "Zoë", "Ann"]
    assert {hit.identity for hit in hits} == {"ann", "小明", "zoë"}


def test_other_spellings_are_the_same_value() -> None:
    for one, other in (
        ("A.B@Example.org", "a.b@example.org"),
        ("+49 30 901820", "tel. 030 901820"),
        ("4111 1111 1111 1111", "4111-1111-1111-1111"),
        ("GB82 WEST 1234 5698 7654 32", "GB82WEST12345698765432"),
    ):
        (first,), (second,) = find(one), find(other)
        assert first.identity == second.identity and first.kind == second.kind


def test_kinds_are_chosen() -> None:
    text = "a@b.org 4111 1111 1111 1111"
    assert [hit.kind for hit in find(text)] == ["email", "card"]
    assert [hit.kind for hit in find(text, kinds=["card"])] == ["card"]


def test_a_private_key_is_one_secret_also_where_it_is_cut() -> None:
    key = "-----BEGIN RSA PRIVATE" + " KEY-----\nMIIEow13800138000\n"
    for text in (key + "-----END RSA PRIVATE" + " KEY-----", key):
        assert [(hit.kind, hit.text) for hit in find(text)] == [("secret", text)]


def test_what_is_replaced_is_found_no_more() -> None:
    for text, _ in labelled():
        clean = replaced(text, find(text), lambda hit: f"[{hit.kind.upper()}_1]")
        assert find(clean) == []


@pytest.mark.parametrize(
    "text",
    ["", "@", "a@", "1" * 20_000, "a@" * 20_000, "1 " * 20_000, "中" * 20_000, "A " * 20_000, "a." * 20_000],
    ids=range(9),
)
def test_odd_texts_end(text: str) -> None:
    hits = find(text)
    assert all(isinstance(hit, Hit) and text[hit.start : hit.end] == hit.text for hit in hits)
