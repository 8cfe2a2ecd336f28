"""Decoding and encoding one event of some 150 bytes, validated; the peer is `json`, which validates nothing."""

from __future__ import annotations

import json
import timeit

from dagwidget import protocol as p

from .results import Row

EVENT = p.NodeState(
    node_id="train/fold-3",
    status="running",
    progress=0.42,
    message="step 42 of 100",
    metrics={"loss": 0.231, "tokens_in": 1200},
    seq=1234,
    ts=1_700_000_000_000,
)
RUNS = 20_000


def measure() -> list[Row]:
    frame = p.encode(EVENT)
    plain = json.loads(frame)

    def us(statement: object) -> float:
        return round(min(timeit.repeat(statement, number=RUNS, repeat=7)) / RUNS * 1e6, 3)  # type: ignore[arg-type]

    return [
        Row("codec/decode_us", us(lambda: p.decode_server(frame)), "µs", "json", us(lambda: json.loads(frame))),
        Row("codec/encode_us", us(lambda: p.encode(EVENT)), "µs", "json", us(lambda: json.dumps(plain))),
    ]
