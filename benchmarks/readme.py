"""Writes the README's table of figures from results.json, so that the two are always equal."""

from __future__ import annotations

import json
from pathlib import Path

from .results import PATH

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- figures: written by make bench -->\n", "<!-- end of figures -->\n"

ROWS = {
    "latency/jupyterlab/100/p50_ms": "publish to pixel in JupyterLab, 100 events/s, median",
    "latency/jupyterlab/100/p99_ms": "publish to pixel, 100 events/s, 99th percentile",
    "latency/jupyterlab/1000/p50_ms": "publish to pixel, 1,000 events/s, median",
    "latency/jupyterlab/1000/p99_ms": "publish to pixel, 1,000 events/s, 99th percentile",
    "publish/us": "publish one event, time in the engine's thread",
    "overhead/langgraph/percent": "overhead on a LangGraph run of 20 ms nodes, over plain `astream`",
    "fanout/100/events_per_s": "fan-out to 100 viewers (`websockets` broadcast, one event a frame: {peer})",
    "fanout/100/vs_socketio": "fan-out to 100 viewers (python-socketio: {peer})",
    "fanout/1000/events_per_cpu_s": "fan-out to 1,000 viewers, per CPU second of the server (`websockets`: {peer})",
    "client/idle_kib": "server memory of an idle viewer (bare `websockets`: {peer})",
    "client/stalled_mib": "server memory of a viewer that reads nothing of 1,000 events/s",
    "resync/10000/tail_ms": "resume in a room of 10,000 nodes after 100 missed events",
    "resync/10000/ms": "load the whole state of a room of 10,000 nodes",
    "decision/ack_p99_ms": "decision to acknowledgement, written to disk, 99th percentile",
    "reconnect/1000/p99_s": "reconnect of 1,000 viewers after a server restart, 99th percentile",
    "kernel/50000/batch_ms": "CPU of the kernel for a batch of 5 events, 50,000 nodes ({name}: {peer})",
    "layout/1000/refined_ms": "layout of 1,000 nodes ({name}, the fastest of dagre, ELK, d3-dag and dot: {peer})",
    "layout/2000/refined_ms": "layout of 2,000 nodes ({name}: {peer})",
    "layout/5000/crossings_vs_dot": "edge crossings of a layout of 5,000 nodes, relative to dot",
    "layout/10000/first_ms": "layout of 10,000 nodes, first picture",
    "layout/10000/refined_ms": "layout of 10,000 nodes, refined",
    "layout/10000/add_node_ms": "layout of 10,000 nodes after one more was added",
    "layout/10000/add_node_moved_px": "distance that the added node moves the others, median",
    "frame/5000/median_ms": "frame time, 5,000 nodes, 10,000 changes/s, median ({name}: {peer})",
    "frame/10000/median_ms": "frame time, 10,000 nodes, median ({name}: {peer})",
    "frame/10000/p95_ms": "frame time, 10,000 nodes, 95th percentile",
    "frame/10000/busy_ms": "main thread per frame, 10,000 nodes ({name}: {peer})",
    "frame/50000/fps": "frame rate, 50,000 nodes",
    "frame/idle_percent": "CPU of a displayed, ended run of 10,000 nodes",
    "codec/decode_us": "decode one event (`json`: {peer})",
    "codec/encode_us": "encode one event (`json`: {peer})",
    "import/over_anywidget_ms": "`import dagwidget.widget`, in addition to `import anywidget`",
    "import/publisher_ms": "`import dagwidget.publisher`, in addition to bare Python",
    "install/server_packages": "packages that a server or a worker installs ({name}: {peer})",
    "bundle/gzip_kb": "front end up to the first picture, gzip",
    "bundle/all_gzip_kb": "front end in total, gzip; timeline, replay, forms and panels load after the first picture",
}


def write() -> None:
    """Put the newest figures into the README."""
    results = {row["name"]: row for row in json.loads(PATH.read_text())}
    lines = ["| measurement | figure |", "| --- | --- |"]
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
