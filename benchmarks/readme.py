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
    "fanout/100/events_per_s": "events delivered to 100 viewers (`websockets` broadcast, one a frame: {peer})",
    "fanout/100/vs_socketio": "… (python-socketio: {peer})",
    "fanout/1000/events_per_cpu_s": "events to 1,000 viewers, a CPU second of the server (`websockets`: {peer})",
    "client/idle_kib": "what an idle viewer costs the server (bare `websockets`: {peer})",
    "client/stalled_mib": "… one that reads nothing of 1,000 events/s",
    "resync/10000/tail_ms": "back in step in a room of 10,000 nodes: 100 events were missed",
    "resync/10000/ms": "… all of it",
    "decision/ack_p99_ms": "from a decision to its acknowledgement, on disk, 99th percentile",
    "reconnect/1000/p99_s": "1,000 viewers back after the server restarted, 99th percentile",
    "layout/1000/refined_ms": "layout of 1,000 nodes ({name}, the fastest of dagre, ELK, d3-dag and dot: {peer})",
    "layout/2000/refined_ms": "… of 2,000 ({name}: {peer})",
    "layout/5000/crossings_vs_dot": "… crossings at 5,000, against dot's",
    "layout/10000/first_ms": "… of 10,000: first picture",
    "layout/10000/refined_ms": "… refined",
    "layout/10000/add_node_ms": "… with one more node",
    "layout/10000/add_node_moved_px": "… by how far that moves the others, median",
    "frame/5000/median_ms": "a frame while 10,000 nodes a second change, of 5,000 ({name}: {peer})",
    "frame/10000/median_ms": "… of 10,000 ({name}: {peer})",
    "frame/10000/p95_ms": "… 95th percentile",
    "frame/10000/busy_ms": "… of which the page's main thread is busy ({name}: {peer})",
    "frame/50000/fps": "… of 50,000",
    "frame/idle_percent": "what a run of 10,000 nodes costs that has ended and is looked at",
    "codec/decode_us": "decoding an event (`json`: {peer})",
    "codec/encode_us": "encoding an event (`json`: {peer})",
    "import/publisher_ms": "`import dagwidget.publisher`, over bare Python",
    "install/server_packages": "packages that a server or a worker installs ({name}: {peer})",
    "imports/over_anywidget_ms": "`import dagwidget.widget`, over `import anywidget`",
    "bundle/gzip_kb": "the front end up to its first picture, gzip",
    "bundle/all_gzip_kb": "… all of it: timeline, replay, forms and panels follow at once",
}


def write() -> None:
    """Put the newest figures into the README."""
    results = {row["name"]: row for row in json.loads(PATH.read_text())}
    lines = ["| what | figure |", "| --- | --- |"]
    for name, what in ROWS.items():
        row = results.get(name)
        if row is not None:
            peer = _figure(row["peer_value"], row["unit"]) if row["peer_value"] is not None else ""
            lines.append(f"| {what.format(peer=peer, name=row['peer'])} | {_figure(row['value'], row['unit'])} |")
    text = README.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    README.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after)


def _figure(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}"
