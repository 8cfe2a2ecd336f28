"""Writes the README's table of figures from results.json, so that the two can't differ."""

from __future__ import annotations

import json
from pathlib import Path

from .results import PATH

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- figures: written by make bench -->\n", "<!-- end of figures -->\n"

ROWS = {
    "latency/jupyterlab/100/p50_ms": "from publish to pixel in JupyterLab at 100 events/s, median",
    "latency/jupyterlab/100/p99_ms": "… 99th percentile",
    "latency/jupyterlab/1000/p50_ms": "… at 1,000 events/s, median",
    "latency/jupyterlab/1000/p99_ms": "… 99th percentile",
    "publish/us": "publishing an event, in the engine's thread",
    "overhead/langgraph/percent": "what watching adds to a LangGraph run of 20 ms nodes, over plain `astream`",
    "layout/1000/refined_ms": "layout of 1,000 nodes",
    "layout/10000/first_ms": "layout of 10,000 nodes: first picture",
    "layout/10000/refined_ms": "… refined",
    "codec/decode_us": "decoding an event (`json`: {peer})",
    "codec/encode_us": "encoding an event (`json`: {peer})",
    "imports/over_anywidget_ms": "`import dagwidget`, over `import anywidget`",
    "bundle/gzip_kb": "the whole front end, gzip",
}


def write() -> None:
    """Put the newest figures into the README."""
    results = {row["name"]: row for row in json.loads(PATH.read_text())}
    lines = ["| what | figure |", "| --- | --- |"]
    for name, what in ROWS.items():
        row = results.get(name)
        if row is not None:
            peer = f"{row['peer_value']:.3g} {row['unit']}" if row["peer_value"] is not None else ""
            lines.append(f"| {what.format(peer=peer)} | {row['value']:.3g} {row['unit']} |")
    text = README.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    README.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after)
