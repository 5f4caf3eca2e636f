"""The choices of the Train screen: the data, the method, the time, and every other setting."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from textual.app import App

from assistant.cli.field_docs import meanings
from assistant.cli.output import counted
from assistant.errors import TrainingRefused
from assistant.store.search import filter_words
from assistant.store.training.datasets import Dataset
from assistant.tui.clock import Now, short_time
from assistant.tui.dialogs.form import Field, FormScreen
from assistant.tui.dialogs.pick import Choice, PickScreen, matching
from assistant.tui.train.setup import IMPORTED, JUDGED_WELL, THUMBS, VOTES, Setup, Source, of_filter
from assistant.tui.training import words
from finetune.config import TrainConfig

OTHER_FILTER, OTHER_SETTINGS = " filter", " settings"
"""No name begins with a space."""
WAYS: Mapping[str, tuple[TrainConfig, str]] = {
    "lora": (TrainConfig(), "good in nearly all cases"),
    "lora-small": (TrainConfig(rank=4), "learns less, forgets less: for a few dozen examples"),
    "dora": (TrainConfig(method="dora"), "learns a little more, and takes longer"),
    "ia3": (TrainConfig(method="ia3"), "the fewest numbers that are trained"),
    "prompt": (TrainConfig(method="prompt"), "trains a prefix of the prompt, no weights"),
    "top-layers": (TrainConfig(method="top-layers"), "the model's own weights, in part"),
    "full": (TrainConfig(method="full"), "the most memory; may forget the most"),
}
"""Settings that go together, and when to take them."""
_OF_A_WAY = ("method", "rank", "layers")
MINUTES = (1, 3, 10, 30, 60, 240)
_NOT_IN_THE_FORM = ("trackers", "budget_minutes")


def choose_source(
    app: App[object],
    frozen: Sequence[tuple[Dataset, int]],
    shown_in_log: Source,
    now: Now,
    chosen: Callable[[Source], None],
) -> None:
    """Let the reader pick a dataset (each with how many examples it has), or a part of the log to make one of."""
    made = {f"dataset {one.name}": Source(words.dataset(one, size), one.name) for one, size in frozen}
    choices = [Choice("judged", "From the log", JUDGED_WELL.about)]
    if shown_in_log != JUDGED_WELL:
        choices.append(Choice("shown", "From the log, as it is filtered", shown_in_log.about))
    choices.append(Choice(OTHER_FILTER, "From the log, by a filter …", "such as #story good since:30d"))
    choices.append(Choice("imported", "From what was imported", IMPORTED.about))
    choices += [Choice("votes", "From votes", VOTES.about), Choice("thumbs", "From thumbs", THUMBS.about)]
    choices += [
        Choice(f"dataset {one.name}", one.name, f"{counted(size, 'example')}, made {short_time(one.created_ms, now())}")
        for one, size in frozen
    ]

    def picked(value: str | None) -> None:
        if value == OTHER_FILTER:
            app.push_screen(filter_form(now), lambda source: chosen(source) if source else None)
        elif value is not None:
            known = {
                "judged": JUDGED_WELL,
                "shown": shown_in_log,
                "imported": IMPORTED,
                "votes": VOTES,
                "thumbs": THUMBS,
            }
            chosen({**known, **made}[value])

    app.push_screen(PickScreen("Learn from", choices), picked)


def filter_form(now: Now) -> FormScreen[Source]:
    """The words of the Log screen's filter line."""

    def source(typed: dict[str, str]) -> Source:
        words_ = typed["filter"].strip()
        if not words_:
            raise TrainingRefused("The filter is empty. Type a word such as good, or leave with esc.")
        return of_filter(words_, filter_words.parse(words_, now()))

    return FormScreen("Learn from the filtered replies", filter_words.WORDS, [Field("filter", "filter")], source)


def choose_method(app: App[object], config: TrainConfig, chosen: Callable[[TrainConfig], None]) -> None:
    """Let the reader pick a way, or set everything."""

    def picked(value: str | None) -> None:
        if value == OTHER_SETTINGS:
            app.push_screen(settings_form(config), lambda new: chosen(new) if new else None)
        elif value is not None:
            way = WAYS[value][0]
            chosen(replace(config, **{name: getattr(way, name) for name in _OF_A_WAY}))

    choices = [Choice(name, words.how(way), why) for name, (way, why) in WAYS.items()]
    choices.append(Choice(OTHER_SETTINGS, "Everything else …", "learning rate, epochs, patience, seed and so on"))
    current = next((name for name, (way, _) in WAYS.items() if words.how(way) == words.how(config)), "")
    app.push_screen(PickScreen("Method", choices, current=current), picked)


def choose_start(app: App[object], setup: Setup, chosen: Callable[[bool], None]) -> None:
    """Let the reader choose between the adapter in use and the base. `chosen` hears whether it is the base."""
    choices = [
        Choice("adapter", setup.in_use, "keeps what it learned: a part of that data is replayed"),
        Choice("base", words.start(""), "learns from this data alone"),
    ]

    def picked(value: str | None) -> None:
        if value is not None:
            chosen(value == "base")

    app.push_screen(PickScreen("Go on from", choices, current="adapter" if setup.start else "base"), picked)


def settings_form(config: TrainConfig) -> FormScreen[TrainConfig]:
    """Every setting of a training, with what it means."""
    help_ = meanings(TrainConfig)
    known = [one for one in dataclasses.fields(TrainConfig) if one.name not in _NOT_IN_THE_FORM]
    fields = [
        Field(
            one.name,
            one.name.replace("_", " "),
            help_.get(one.name, "").replace("`", ""),
            "" if getattr(config, one.name) == one.default else _typed(getattr(config, one.name)),
            _typed(one.default) or "all",
        )
        for one in known
    ]

    def changed(typed: dict[str, str]) -> TrainConfig:
        values: dict[str, Any] = {one.name: _read(one.name, one.default, typed[one.name]) for one in known}
        return replace(config, **values)

    return FormScreen("Settings of the training", "Empty fields take the grey value.", fields, changed)


def _typed(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _read(name: str, default: object, typed: str) -> object:
    """The value that was typed. Raises `TrainingRefused` where it is of another kind."""
    text = typed.strip()
    if not text:
        return default
    if isinstance(default, bool):
        if text not in ("yes", "no"):
            raise TrainingRefused(f"{name.replace('_', ' ')} is yes or no, not {text!r}.")
        return text == "yes"
    if isinstance(default, tuple):
        return tuple(text.split())
    try:
        value: object = type(default)(text)  # type: ignore[call-arg]
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError
        return value
    except ValueError:
        raise TrainingRefused(f"{name.replace('_', ' ')} needs a number, not {text!r}.") from None


def budget_dialog(minutes: float) -> PickScreen:
    """Minutes, picked or typed; 0 for no limit."""
    offered = [Choice(f"{one}", words.budget(TrainConfig(budget_minutes=one))) for one in MINUTES]
    offered.append(Choice("0", words.budget(TrainConfig()), "all epochs"))
    placeholder = "or type a number of minutes"
    return PickScreen("Time for the training", offered, current=f"{minutes:g}", found=_times, placeholder=placeholder)


def _times(choices: Sequence[Choice], typed: str) -> Sequence[Choice]:
    """The choice of so many minutes, where a number was typed."""
    try:
        minutes = float(typed)
    except ValueError:
        return matching(choices, typed)
    if not 0 <= minutes < math.inf:
        return matching(choices, typed)
    return [Choice(f"{minutes:g}", words.budget(TrainConfig(budget_minutes=minutes)))]
