"""The report of a run: one HTML page that works offline."""

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from assistant.cli.group import run as run_command
from assistant.paths import Paths
from assistant.store.training import datasets, runs
from finetune.cli.group import top
from finetune.config import TrainConfig
from finetune.prove.report import html_page, tables, texts

MEASURES = [
    {"key": "perplexity", "name": "perplexity", "main": True, "relative": True, "lower_is_better": True,
     "base": 37.9, "adapted": 21.5, "difference": -0.433, "low": -0.46, "high": -0.4, "verdict": "better",
     "items": 212, "groups": 96},
    {"key": "forgetting", "name": "general text", "main": False, "relative": True, "lower_is_better": True,
     "base": 18.2, "adapted": 18.3, "difference": 0.005, "low": -0.002, "high": 0.009, "verdict": "unclear",
     "items": 40, "groups": 40},
    {"key": "votes", "name": "you preferred", "main": False, "relative": False, "lower_is_better": False,
     "base": 0.314, "adapted": 0.686, "difference": 0.186, "low": 0.03, "high": 0.33, "verdict": "better",
     "items": 35, "groups": 35},
]  # fmt: skip
REPORT: dict[str, Any] = {
    "model": "m",
    "adapter": "a-1",
    "base_hash": "b" * 64,
    "adapter_hash": "a" * 64,
    "dataset": {"name": "a", "kind": "supervised", "sha256": "d" * 64},
    "test": {"examples": 212, "groups": 96},
    "measures": MEASURES,
    "memorised": {"probes": 12, "canaries": 0, "leaked": []},
    "reasons": [],
    "seed": 0,
    "seconds": 12.0,
    "made_with": {"torch": "2.13"},
}


def trained(db: Database, steps: int = 84, *, name: str = "a", report: dict[str, Any] | None = REPORT) -> str:
    """Name of a run that was laid out for 120 steps."""
    dataset = datasets.add(db, name, "supervised", "d" * 64, {}, {}, [])
    config = {"settings": TrainConfig().as_json(), "shape": {"steps": 120}}
    run = runs.add(db, name, dataset.id, dataset.hash, "m", "b" * 64, config)
    for step in range(1, steps + 1):
        runs.add_point(db, run.id, step, {"loss": 3 - step / 200, "learning_rate": 1e-4, "tokens_per_s": 580.0})
        if step % 12 == 0:
            runs.add_point(db, run.id, step, {"validation_loss": 3.2 - step / 300})
    runs.set_result(db, run.id, {"seconds": 250.0, "validation_loss": 2.9, "reason": "early"}, "a" * 64)
    runs.set_state(db, run.id, "finished")
    if report:
        runs.add_evaluation(db, run.id, "a" * 64, report)
    return run.name


def made(db: Database, name: str, language: str = "en") -> str:
    return html_page.page(html_page.subject(db, name), texts.LANGUAGES[language])


def test_figures_and_plots_are_on_one_page(db: Database) -> None:
    html = made(db, trained(db))
    assert html.count("<svg") == 2 and html.count("</svg>") == 2
    for words in ("-43.3 % (-46.0 to -40.0)", "+18.6 points (+3.0 to +33.0)", "loss (nats per token)", "learning rate",
                  "tokens per second", "held out", "general text", texts.ENGLISH.good,
                  "84 of 120, stopped early: the loss no longer fell"):  # fmt: skip
        assert words in html, words
    assert "NaN" not in html and "nan" not in html


@pytest.mark.parametrize("language", sorted(texts.LANGUAGES))
def test_nothing_is_fetched_and_the_page_is_small(db: Database, language: str) -> None:
    html = made(db, trained(db), language)
    assert "src=" not in html and "@import" not in html and "url(http" not in html
    assert 'href="http' not in html and len(html) < 120_000


def test_chinese_has_every_text(db: Database) -> None:
    html = made(db, trained(db, report={**REPORT, "memorised": {"probes": 12, "canaries": 1, "leaked": [1]}}), "zh")
    english = [texts.ENGLISH.course, texts.ENGLISH.loss, "general text", "examples", "verdict", "probes", " to "]
    assert not [one for one in english if one in html]
    assert "它泄露了不应泄露的内容：12 次探测中有 1 次。" in html and "通用文本" in html
    for name in ("facts", "ends", "verdicts", "reasons"):
        assert set(getattr(texts.CHINESE, name)) == set(getattr(texts.ENGLISH, name)), name
    assert len(texts.CHINESE.columns) == len(texts.ENGLISH.columns)


def test_a_run_without_a_proof_or_without_a_step_has_a_page_too(db: Database) -> None:
    html = made(db, trained(db, report=None))
    assert "Not compared with its base yet" in html and html.count("<svg") == 1
    assert made(db, trained(db, 0, name="b", report=None)).count("<svg") == 0


def test_names_are_escaped(db: Database) -> None:
    html = made(db, trained(db, name="<b>&"))
    assert "<b>&-1" not in html and "&lt;b&gt;&amp;-1" in html


def test_a_hundred_thousand_steps_stay_quick_and_small(db: Database) -> None:
    about = html_page.subject(db, trained(db))
    points = [
        (step, {"loss": 3 + math.sin(step), "learning_rate": 1e-4, "tokens_per_s": 9.0}) for step in range(100_000)
    ]
    began_s = time.monotonic()
    html = html_page.page(html_page.Subject(about.run, about.dataset, points, None), texts.ENGLISH)
    assert time.monotonic() - began_s < 30 and len(html) < 2_000_000


def test_the_command_writes_it(db: Database, home: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = trained(db)
    assert run_command(["report", name, "--json"], top, "finetune") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["opened"] is False and Path(told["file"]) == home.runs / name / "report.html"
    assert "<svg" in Path(told["file"]).read_text(encoding="utf-8")
    assert run_command(["report", name, "--out", str(tmp_path / "zh.html"), "--language", "zh"], top, "finetune") == 0
    assert 'lang="zh"' in (tmp_path / "zh.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none-1"], "There is no run 'none-1'"),
        (["a-1", "--out", "/nowhere/at/all.html"], "can't be written to /nowhere"),
    ],
)
def test_what_can_not_be_reported_is_said(
    db: Database, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    trained(db)
    assert run_command(["report", *arguments], top, "finetune") == 1
    assert told in capsys.readouterr().err


def test_without_a_window_no_browser_is_started(
    db: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser in the terminal would draw over the screen that asked for it."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("webbrowser.open", lambda _: pytest.fail("a browser was started"))
    assert run_command(["report", trained(db), "--open"], top, "finetune") == 0
    assert "No browser could be started" in capsys.readouterr().out


def test_markdown_marks_the_main_measure() -> None:
    text = tables.markdown(REPORT)
    assert "| **perplexity** | 37.90 | 21.50 |" in text and "| general text |" in text and texts.ENGLISH.good in text


@pytest.mark.parametrize(
    ("locale", "language"), [("zh_CN.UTF-8", "zh"), ("en_GB.UTF-8", "en"), ("", "en"), ("C", "en")]
)
def test_the_language_is_that_of_the_locale(locale: str, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", locale)
    assert texts.of_environment().language == language
