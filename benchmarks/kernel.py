"""What a batch of events costs the kernel of a widget whose run has many nodes: CPU time, from socket to traits.

The peer is the usual way: a `traitlets.Dict` that is replaced by a changed copy.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import traitlets

import dagwidget

from .results import Row
from .server import stream_server

NODES = 50_000
EVENTS = 5
BATCHES = 100
_PATIENCE = 120.0


def measure() -> list[Row]:
    with stream_server() as url:
        command = [sys.executable, "-m", "benchmarks.kernel", url, str(NODES), str(EVENTS)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as engine:
            assert engine.stdin is not None
            assert engine.stdout is not None
            assert engine.stdout.readline() == "ready\n"
            widget = dagwidget.DAGStreamWidget("kernel", url=url)
            try:
                ours = _batches(widget, engine)
            finally:
                widget.close()
                engine.stdin.close()
    return [Row(f"kernel/{NODES}/batch_ms", round(ours, 3), "ms", "copied traitlets.Dict", round(_copy_dict(), 3))]


def _batches(widget: dagwidget.DAGStreamWidget, engine: subprocess.Popen[str]) -> float:
    """Milliseconds of CPU a batch."""
    assert engine.stdin is not None
    deadline = time.monotonic() + _PATIENCE
    while len(widget.nodes) < NODES:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the widget has {len(widget.nodes)} of {NODES} nodes")
        time.sleep(0.1)
    changed = threading.Event()
    widget.observe(lambda _change: changed.set(), "nodes")
    began = time.process_time()
    for _ in range(BATCHES):
        changed.clear()
        engine.stdin.write("\n")
        engine.stdin.flush()
        if not changed.wait(_PATIENCE):
            raise TimeoutError("a batch did not arrive")
    return (time.process_time() - began) / BATCHES * 1000


def _copy_dict() -> float:
    class Holder(traitlets.HasTraits):
        nodes: Any = traitlets.Dict()

    holder = Holder(nodes={f"n{i}": {"status": "pending"} for i in range(NODES)})
    holder.observe(lambda _change: None, "nodes")
    began = time.process_time()
    for batch in range(BATCHES):
        changed = {f"n{batch * EVENTS + i}": {"status": "running", "progress": batch} for i in range(EVENTS)}
        holder.nodes = {**holder.nodes, **changed}
    return (time.process_time() - began) / BATCHES * 1000


def _publish(url: str, nodes: int, events: int) -> None:
    run = dagwidget.start_run("kernel", [f"n{i}" for i in range(nodes)], url=url)
    run.flush()
    print("ready", flush=True)
    for number, _ in enumerate(sys.stdin, start=1):
        for i in range(events):
            run.update(f"n{(number * events + i) % nodes}", "running", progress=number % 100 / 100)
    run.complete()
    run.flush()


if __name__ == "__main__":
    _publish(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
