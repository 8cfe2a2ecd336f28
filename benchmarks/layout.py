"""The layout in a worker of headless Chromium, and the same graphs laid out by dagre, ELK, d3-dag and dot."""

from __future__ import annotations

from typing import Any, Final

from . import browser
from .results import Row

_SIZES: Final = (100, 1000, 2000, 5000, 10_000, 20_000)
# What runs look like most stands for its size; the others carry their names.
_SHAPES: Final = ("pipeline", "random", "mapreduce", "chain", "agents")
_PEERS: Final = {"dagre": "@dagrejs/dagre", "elk": "elkjs", "d3-dag": "d3-dag", "dot": "@hpcc-js/wasm-graphviz"}
_RUNS: Final = 7
# A peer that takes longer at one size is not asked for a larger one.
_SECONDS: Final = 15
_DOT_UP_TO: Final = 10_000
_DOT_OTHERS_UP_TO: Final = 2000
_ADDED_TO: Final = (1000, 10_000)


def measure() -> list[Row]:
    versions = browser.versions(*_PEERS.values())
    elk = {"/elk-worker.js": browser.HERE / "node_modules" / "elkjs" / "lib" / "elk-worker.min.js"}
    rows: list[Row] = []
    with browser.page("layout.js", "layout.worker.js", files=elk) as page:

        def ask(seconds: float = 120, **task: Any) -> dict[str, Any]:
            answer: dict[str, Any] = page.evaluate("([task, seconds]) => measure(task, seconds)", [task, seconds])
            if "error" in answer:
                raise RuntimeError(f"{task}: {answer['error']}")
            return answer

        names = {peer: f"{peer} {versions[package]}" for peer, package in _PEERS.items()}
        names["dot"] += f" (Graphviz {ask(task='versions')['dot']})"
        print(", ".join(names.values()), flush=True)
        times = _peers(ask)
        for stage in ("first", "refined"):
            for shape in _SHAPES:
                ask(task="time", layouter=stage, shape=shape, n=_SIZES[1], runs=_RUNS)
        for n in _SIZES:
            for shape in _SHAPES:
                place = f"layout/{n}" if shape == "pipeline" else f"layout/{n}/{shape}"
                for stage in ("first", "refined"):
                    ms = ask(task="time", layouter=stage, shape=shape, n=n, runs=_RUNS)["ms"]
                    known = times.get((shape, n), {}) if stage == "refined" else {}
                    best = min(known, key=lambda peer: known[peer], default=None)
                    rows.append(
                        Row(f"{place}/{stage}_ms", round(ms, 2), "ms", best and names[best], best and known[best])
                    )
                if n <= (_DOT_UP_TO if shape == "pipeline" else _DOT_OTHERS_UP_TO):
                    found = ask(task="crossings", shape=shape, n=n)
                    rows.append(Row(f"{place}/crossings", found["ours"], "crossings", names["dot"], found["dot"]))
                    if found["dot"]:
                        ratio = round(found["ours"] / found["dot"], 3)
                        rows.append(Row(f"{place}/crossings_vs_dot", ratio, "ratio", names["dot"], 1))
            for peer, ms in times.get(("pipeline", n), {}).items():
                rows.append(Row(f"layout/{n}/{peer}_ms", ms, "ms"))
        for n in _ADDED_TO:
            added = ask(task="add", shape="pipeline", n=n, runs=_RUNS)
            rows.append(Row(f"layout/{n}/add_node_ms", round(added["ms"], 2), "ms"))
            rows.append(Row(f"layout/{n}/add_node_moved_px", round(max(added["moved"], added["refined"]), 2), "px"))
    return rows


def _peers(ask: Any) -> dict[tuple[str, int], dict[str, float]]:
    """What the peers take, by shape and size: all sizes of the pipeline, and one size of the others."""
    times: dict[tuple[str, int], dict[str, float]] = {}
    for peer in _PEERS:
        slow = False
        for shape in _SHAPES:
            for n in _SIZES if shape == "pipeline" else _SIZES[1:2]:
                if slow and n > _SIZES[1]:
                    continue
                try:
                    answer = ask(_SECONDS, task="time", layouter=peer, shape=shape, n=n, runs=1)
                    slow, said = "late" in answer, f"more than {_SECONDS} s"
                    if not slow:
                        times.setdefault((shape, n), {})[peer] = round(answer["ms"], 1)
                        said = f"{times[shape, n][peer]} ms"
                except RuntimeError as error:
                    # Not ours to mend: dagre overflows the stack on a chain of 1,000 nodes.
                    said = str(error)
                print(f"  {peer} {shape} {n}: {said}", flush=True)
                if slow:
                    break
    return times
