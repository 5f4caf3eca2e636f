"""Filters as options of a command, there and back."""

import click
import pytest

from assistant.cli.filter_options import as_arguments, filter_options
from assistant.store.search.filter import EVERYTHING, Filter


@pytest.mark.parametrize(
    "filter_",
    [
        EVERYTHING,
        Filter(since_ms=1_793_491_200_123, until_ms=1_793_500_000_000, rating="good", decision="keep"),
        Filter(tags=("sea", "to do"), corrected=True, judged=False, adapter="", model="m", template="plain"),
        Filter(min_tokens=3, max_tokens=9, min_surprise=0.25, max_surprise=2.5, min_length=1, max_length=8),
    ],
)
def test_the_options_of_a_filter_make_it_again(filter_: Filter) -> None:
    read: list[Filter] = []

    @click.command()
    @filter_options
    def command(filter_: Filter) -> None:
        read.append(filter_)

    command.main(as_arguments(filter_), standalone_mode=False)
    assert read == [filter_]
