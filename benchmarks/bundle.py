"""How large the front end is."""

from __future__ import annotations

import gzip
from pathlib import Path

from .results import Row

BUNDLE = Path(__file__).parent.parent / "dagwidget" / "static" / "widget.js"


def measure() -> list[Row]:
    return [Row("bundle/gzip_kb", round(len(gzip.compress(BUNDLE.read_bytes(), 9)) / 1024, 2), "KiB")]
