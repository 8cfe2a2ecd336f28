"""The engine of a schedule, as a process of its own: `python -m tests.chaos.publisher URL DAG RUN`.

It does what it reads, a JSON object a line, and answers with one each: `say` so many numbered events, `ask` at a gate,
`end` the run once it has heard of the decisions at these gates. `engine` is its other end.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import dagwidget

NODES = 12
_FLUSH_SECONDS = 90.0


def main(url: str, dag_id: str, run_id: str) -> None:
    run = dagwidget.start_run(dag_id, [f"n{i}" for i in range(NODES)], run_id=run_id, url=url)
    said = 0
    gates = {}
    # `time.sleep` fails where libfaketime gives the time.
    never = threading.Event()
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        match order["do"]:
            case "say":
                for _ in range(order["count"]):
                    run.update(f"n{said % NODES}", "running", message=str(said))
                    said += 1
                    # An engine works between two events.
                    never.wait(0.001)
                _answer(said=said)
            case "ask":
                gate = order["gate"]
                seconds = order["seconds"]
                gates[gate] = run.gate(gate, gate_id=gate, timeout=seconds, on_timeout="approve" if seconds else None)
                _answer(asked=gate)
            case "end":
                made = {gate: gates[gate].result(_FLUSH_SECONDS).decision for gate in order["gates"]}
                run.complete({"said": said})
                flushed = run.flush(_FLUSH_SECONDS)
                run.close()
                _answer(made=made, flushed=flushed, refused=run.refused)
                return


def _answer(**what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
