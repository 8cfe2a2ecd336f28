"""Scripts of a client's connection: what happens to it, and what it then says and shows.

Both clients run `tests/vectors/connections.json`, this one in `test_connections.py` and the browser's in
`js/tests/stream/connections.test.ts`. Each step of a script has an input (`do`) and all that it changed (`then`). The
scripts of `connection_scripts.py` are written by hand, `random_scripts` adds some that nobody would have thought of.
After a change that is meant: `python -m tests.connections`, and read what changed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dagwidget import protocol as p
from dagwidget.client.outputs import Connect, Disconnect, Renew, Send
from dagwidget.client.state_machine import StateMachine

from .connection_scripts import (
    OPEN,
    PROBE,
    REFUSE,
    SCRIPTS,
    START,
    Script,
    Step,
    close,
    decide,
    frame,
    gate,
    line,
    resolved,
    send,
    wait,
    welcome,
)

VECTORS = Path(__file__).parent / "vectors" / "connections.json"


class Run:
    """One client, and what a script lets happen to it."""

    def __init__(self) -> None:
        self.now = 1000.0
        # Half of the jitter, as the browser's has with a `random` of 0.5.
        self.machine = StateMachine(lambda failures: 0.75 * min(30.0, 2.0 ** (failures - 1)))
        self.socket: str | None = None
        self.said: dict[str, list] = {}
        self.shown = self._show()

    def step(self, step: Step) -> dict[str, Any]:
        """Let something happen. Returns what has changed, and what was said."""
        self.said = {"sent": [], "offers": [], "answers": []}
        self._do(step)
        self._carry_out()
        shown, before = self._show(), self.shown
        self.shown = shown
        changed = {name: value for name, value in shown.items() if value != before[name]}
        return changed | {name: said for name, said in self.said.items() if said}

    def _do(self, step: Step) -> None:
        machine = self.machine
        match step["do"]:
            case "start":
                machine.start()
            case "open" if self.socket == "connecting":
                self.socket = "open"
                machine.opened(self.now, offered=self.offers)
            case "refuse" if self.socket == "connecting":
                self.socket = None
                machine.closed(1006, None, self.now)
            case "close" if self.socket == "open":
                self.socket = None
                machine.closed(step["code"], step.get("reason"), self.now)
            case "frame" if self.socket == "open":
                machine.receive(json.dumps(step["frame"]), self.now)
            case "wait":
                self._pass(step["seconds"])
            case "send":
                machine.send(p.decode_client(json.dumps(step["command"]))[0], self.now, hold=False)
            case "watch":
                machine.watch(step["run"], self.now)
            case "begin":
                machine.begin(step["run"])
                machine.refresh(self.now)
            case "probe":
                machine.probe(self.now)
            case "stop":
                machine.close()

    def _pass(self, seconds: float) -> None:
        until = self.now + seconds
        self._carry_out()
        while (due := self.machine.due) is not None and due <= until:
            self.now = max(self.now, due)
            self.machine.tick(self.now)
            self._carry_out()
        self.now = until

    def _carry_out(self) -> None:
        while outputs := self.machine.take_outputs():
            for output in outputs:
                match output:
                    case Connect():
                        self.socket, self.offers = "connecting", output.offer
                        self.said["offers"].append(output.offer)
                        self.machine.opening("token", self.now)
                    case Disconnect():
                        self.socket = None
                    case Send():
                        self.said["sent"].append(json.loads(output.frame))
                    case Renew():
                        self.machine.renewed("token", self.now)
                    case p.CommandAck():
                        self.said["answers"].append([output.id, output.ok, output.code])

    def _show(self) -> dict[str, Any]:
        connection, state = self.machine.connection, self.machine.state
        engine, retry_at = self.machine.engine, connection.retry_at
        shown = {
            "phase": connection.phase,
            "resumable": connection.resumable,
            "role": connection.role,
            "attempt": connection.attempt,
            "ignored": connection.ignored,
            "code": connection.code,
            # What a malformed frame is told to be differs.
            "reason": connection.reason if connection.code != 4400 else "…",
            "retry_at": None if retry_at is None else round((retry_at - 1000.0) * 1000),
            "pending": sorted(command.id for command in self.machine.pending),
            "engine": None if engine is None else engine.state,
            "runs": sorted(self.machine.runs),
            "epoch": state.epoch or None,
            "seq": state.seq,
            "lines": {node.id: node.logs for node in state.nodes.values()},
            "gates": sorted(state.gates),
        }
        return json.loads(json.dumps(shown))


def run(script: Script) -> Script:
    """The script, with all that each step changes."""
    client = Run()
    return [{**step, "then": client.step(step)} for step in script]


# --- Scripts that nobody would have thought of


def random_scripts(count: int, seed: int = 13) -> Iterator[tuple[str, Script]]:
    """Scripts of a server that says what it likes, on a network that does what it likes."""
    chance = random.Random(seed)
    for number in range(count):
        yield f"random {number}", [START, *(_random_step(chance) for _ in range(chance.randint(8, 40)))]


def _random_step(chance: random.Random) -> Step:
    kinds = (
        ["open"] * 4
        + ["frame"] * 12
        + ["greet"] * 5
        + ["wait"] * 4
        + ["refuse", "close", "send", "send", "probe", "batch"]
    )
    match chance.choice(kinds):
        case "open":
            return OPEN
        case "refuse":
            return REFUSE
        case "probe":
            return PROBE
        case "close":
            return close(chance.choice([1000, 1001, 1006, 4000, 4401]))
        case "wait":
            return wait(chance.choice([0.5, 1, 5, 5, 25, 31]))
        case "send":
            command_id = f"c{chance.randint(1, 4)}"
            return chance.choice([send(command_id), decide(command_id), decide(command_id, gate_id="g")])
        case "greet":
            return frame(_random_welcome(chance))
        case "batch":
            return frame(*(_random_message(chance) for _ in range(chance.randint(2, 5))))
        case _:
            return frame(_random_message(chance))


def _random_welcome(chance: random.Random) -> Step:
    return welcome(chance.choice("eeef"), log=chance.choice(["l1", "l1", "l2"]))


def _random_message(chance: random.Random) -> Step:
    seq, epoch = chance.randint(1, 4), chance.choice("eeef")
    return chance.choice(
        [
            line(seq),
            line(seq, "b"),
            line(),
            gate(seq),
            resolved(seq),
            {"type": "weather", "seq": seq},
            {"type": "sync", "epoch": epoch, "seq": seq, "reset": True},
            {"type": "sync", "epoch": epoch, "seq": seq, "reset": chance.random() < 0.5},
            {"type": "synced", "seq": seq},
            {"type": "synced", "seq": seq},
            {"type": "ping", "head": seq},
            {"type": "command_ack", "id": f"c{seq}", "ok": True},
            {"type": "engine", "state": "gone"},
            {"type": "bye", "code": 4000, "reason": "because", "retry": chance.random() < 0.9},
            _random_welcome(chance),
        ]
    )


def main() -> None:
    """Write the vectors."""
    scripts = SCRIPTS | dict(random_scripts(60))
    lines = [
        json.dumps({"name": name, "steps": run(script)}, ensure_ascii=False, separators=(",", ":"))
        for name, script in scripts.items()
    ]
    VECTORS.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
