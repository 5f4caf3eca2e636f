"""A report as a table."""

from assistant.safe_text import cell_width
from assistant.tui.training import proof
from tests.finetune.prove.test_report import REPORT


def lines(report: object, width: int = 100) -> list[str]:
    return proof.shown(report, width).plain.split("\n")  # type: ignore[arg-type]


def test_each_measure_is_a_line_with_its_interval_and_what_that_means() -> None:
    heading, perplexity, general, votes, canaries = lines(REPORT)
    assert heading.split() == ["base", "retrained", "difference", "(95", "%)"]
    assert perplexity.endswith(" better") and "-43 % (-46 % … -40 %)" in perplexity
    assert general.endswith("kept") and "+0.5 % (-0.2 % … +0.9 %)" in general
    assert "31 %" in votes and "69 %" in votes and "of 35 blind pairs" in votes
    assert "given away" in canaries and "0 of 12" in canaries and canaries.endswith("none leaked")
    assert heading.index("base") == perplexity.index("37.9")


def test_what_is_not_good_is_said() -> None:
    few = {**REPORT["measures"][0], "verdict": "too few"}
    forgot = {**REPORT["measures"][1], "difference": 0.02}
    told = {"probes": 12, "leaked": ["a secret"]}
    report = {"measures": [few, forgot], "memorised": told, "reasons": ["It forgets."]}
    _, perplexity, general, canaries, _, reason = lines(report)
    assert reason == "It forgets."
    assert perplexity.endswith("too few to tell") and general.endswith("forgotten") and canaries.endswith("leaked")
    assert "1 of 12" in canaries
    assert proof.verdict(report) == "perplexity -43 %, too few to tell"
    assert proof.verdict(REPORT) == "perplexity -43 %"


def test_an_improvement_is_a_line() -> None:
    assert proof.better("mine-3", REPORT) == "mine-3 is better (-43 %)"
    votes = {**REPORT["measures"][2], "main": True}
    assert proof.better("mine-3", {"measures": [votes]}) == "mine-3 is better (+19 points)"


def test_a_name_in_chinese_keeps_the_columns() -> None:
    named = {**REPORT["measures"][0], "name": "困惑度"}
    _, chinese, english = lines({"measures": [named, REPORT["measures"][1]]})
    assert cell_width(chinese[: chinese.index("37.9")]) == cell_width(english[: english.index("18.2")])


def test_nothing_is_wider_than_there_is_room() -> None:
    assert all(cell_width(line) <= 40 for line in lines(REPORT, 40))
