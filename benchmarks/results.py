"""A row of `results.json`, and how rows are kept."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

PATH = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Row:
    """One figure. `ratio` is `value / peer_value`, both from the same run."""

    name: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None

    def as_json(self) -> dict[str, object]:
        ratio = None if not self.peer_value else round(self.value / self.peer_value, 4)
        return {**asdict(self), "ratio": ratio}


def merge(rows: list[Row], measured: str) -> None:
    """Put `rows` into results.json, in place of what `measured` (a part's name) said before."""
    new, before = {row.name for row in rows}, json.loads(PATH.read_text()) if PATH.exists() else []
    kept = [row for row in before if row["name"].split("/")[0] != measured and row["name"] not in new]
    merged = sorted([*kept, *(row.as_json() for row in rows)], key=lambda row: str(row["name"]))
    PATH.write_text(json.dumps(merged, indent=1) + "\n")
