"""The log that a program before the first release wrote."""

import gzip
import json
from pathlib import Path
from typing import Any

_DATA = Path(__file__).parents[3] / "data"
EXPECTED: dict[str, Any] = json.loads((_DATA / "log_before_first_release.json").read_text(encoding="utf-8"))


def earlier_log(file: Path) -> Path:
    """Write it to `file`."""
    file.write_bytes(gzip.decompress((_DATA / "log_before_first_release.db.gz").read_bytes()))
    return file
