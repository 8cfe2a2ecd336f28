"""Every benchmark runs to its end, with sizes that say nothing about speed. None writes results.json."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks import soak
from benchmarks.__main__ import PARTS, module

SMALL = {
    "bundle": {},
    "import": {"RUNS": 2},
    "install": {},
    "codec": {"RUNS": 10},
    "publish": {"EVENTS": 300},
    "kernel": {"NODES": 20, "BATCHES": 3},
    "overhead": {"ROUNDS": 1, "LOOPS": 2},
    "layout": {"_SIZES": (10, 20), "_ADDED_TO": (20,), "_RUNS": 1},
    "frame": {"_SIZES": (10,), "_HUGE": 20, "_RATE": 100, "_SECONDS": 1, "_IDLE_SECONDS": 1},
    "latency": {"RATES": (20,), "SECONDS": 2},
    "fanout": {"COUNTS": (1, 2), "SOCKETIO_COUNT": 2, "CPU_COUNT": 3, "RATE": 100, "WARM_SECONDS": 0.1, "SECONDS": 0.5},
    "client": {"IDLE": 5, "RATE": 100, "SECONDS": 1.0, "_WARM": 2, "_WARM_SECONDS": 0.2, "_SETTLE_SECONDS": 0.1},
    "resync": {"NODES": 300, "EDGES": 300, "TAIL": 3, "ROUNDS": 1},
    "decision": {"DECISIONS": 5, "_WARM": 1, "_A_CONNECTION": 4},
    "sqlite": {"EVENTS": 1000},
    "reconnect": {"CLIENTS": 5, "EVENTS": 10},
}

# Sockets that a benchmark drops are not closed in good order.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize("part", PARTS)
def test_a_benchmark_runs_to_its_end(part, monkeypatch):
    measured = module(part)
    for name, value in SMALL[part].items():
        monkeypatch.setattr(measured, name, value)
    # A thread of its own: Playwright's fixtures keep an event loop in this one.
    with ThreadPoolExecutor(1) as thread:
        rows = thread.submit(measured.measure).result()
    assert rows
    # `results.merge` replaces a part's rows by this.
    assert {row.name.split("/")[0] for row in rows} == {part}
    assert all(isinstance(row.value, int | float) for row in rows)


def test_the_soak_test_runs_to_its_end(monkeypatch):
    for name, value in {"CLIENTS": 3, "PROXIES": 2, "RATE": 50, "KILL_SECONDS": 1.0}.items():
        monkeypatch.setattr(soak, name, value)
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(soak.main, 2.0).result() == 0
