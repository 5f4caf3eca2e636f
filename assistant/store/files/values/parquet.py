"""The rows of a Parquet file, where pyarrow is installed: it isn't needed for anything else."""

from collections.abc import Iterator
from typing import Any

from assistant.errors import ImportRefused
from assistant.store.files.values.source import Source, explained

_ROWS = 500
"""Rows that are in memory at once."""


def rows(source: Source) -> Iterator[tuple[str, Any]]:
    """(place, row) for each row. Raises `ImportRefused` without pyarrow, and for a damaged file."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ImportRefused(
            f"{source.label} is a Parquet file, which needs pyarrow: `pip install pyarrow`, or write it as JSON Lines."
        ) from error
    number = 0
    with explained(source.path), source.open() as file:
        try:
            for batch in parquet.ParquetFile(file).iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
        except pyarrow.ArrowException as error:
            raise ImportRefused(f"{source.label} can't be read as Parquet: {error}. Nothing was imported.") from error
