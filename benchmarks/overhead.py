"""What watching costs a LangGraph run: `engines.langgraph.run` against plain `astream`, alternating in one process.

The graph is a small agent loop whose nodes take 20 ms each, as a quick tool call does: with nodes that do nothing at
all, a percentage would say more about LangGraph than about watching it.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

import dagwidget

from .results import Row
from .server import stream_server

ROUNDS = 9
LOOPS = 20
NODE_SECONDS = 0.02


class State(TypedDict, total=False):
    n: int


async def _think(state: State) -> State:
    await asyncio.sleep(NODE_SECONDS)
    return {"n": state.get("n", 0) + 1}


async def _act(_state: State) -> State:
    await asyncio.sleep(NODE_SECONDS)
    return {}


def _graph() -> Any:
    builder = StateGraph(State)
    builder.add_node("think", _think)
    builder.add_node("act", _act)
    builder.add_edge(START, "think")
    builder.add_conditional_edges("think", lambda state: END if state["n"] >= LOOPS else "act", ["act", END])
    builder.add_edge("act", "think")
    return builder.compile()


async def _plain(graph: Any) -> float:
    began = time.perf_counter()
    async for _ in graph.astream({"n": 0}, {"recursion_limit": 1000}):
        pass
    return time.perf_counter() - began


async def _watched(graph: Any, url: str) -> float:
    began = time.perf_counter()
    await dagwidget.engines.langgraph.run(graph, {"n": 0}, dag_id="overhead", url=url, config={"recursion_limit": 1000})
    return time.perf_counter() - began


async def _measure(url: str) -> tuple[float, float]:
    graph = _graph()
    await _plain(graph)
    await _watched(graph, url)
    pairs = [(await _plain(graph), await _watched(graph, url)) for _ in range(ROUNDS)]
    return statistics.median(plain for plain, _ in pairs), statistics.median(watched for _, watched in pairs)


def measure() -> list[Row]:
    with stream_server() as url:
        plain, watched = asyncio.run(_measure(url))
    percent = round((watched / plain - 1) * 100, 2)
    return [
        Row("overhead/langgraph/percent", percent, "%"),
        Row("overhead/langgraph/run_s", round(watched, 3), "s", "astream", round(plain, 3)),
    ]
