"""How large the front end is."""

from __future__ import annotations

import gzip
from pathlib import Path

from .results import Row

STATIC = Path(__file__).parent.parent / "dagwidget" / "widget" / "static"


def measure() -> list[Row]:
    first, details = (_packed(STATIC / name) for name in ("widget.js", "details.js"))
    return [Row("bundle/gzip_kb", first, "KiB"), Row("bundle/all_gzip_kb", round(first + details, 2), "KiB")]


def _packed(path: Path) -> float:
    return round(len(gzip.compress(path.read_bytes(), 9)) / 1024, 2)
