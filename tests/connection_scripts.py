"""The scripts of `connections.py` that are written by hand, and the words that they are made of."""

from __future__ import annotations

from typing import Any

Step = dict[str, Any]
Script = list[Step]

# --- The server's part


def frame(*messages: Step) -> Step:
    """One message, or several in one frame."""
    return {"do": "frame", "frame": messages[0] if len(messages) == 1 else [*messages]}


def welcome(epoch: str = "e", features: tuple[str, ...] = ("runs", "engine", "lost"), **more: Any) -> Step:
    return {
        "type": "welcome",
        "protocol": 1,
        "dag_id": "d",
        "epoch": epoch,
        "head": 0,
        "role": "operate",
        "heartbeat_ms": 15000,
        "window": 1048576,
        "limits": {},
        "features": [*features],
        **more,
    }


def line(seq: int | None = None, node: str = "a") -> Step:
    event: Step = {"type": "node_log", "node_id": node, "lines": [f"line {seq}"]}
    return event if seq is None else {**event, "seq": seq}


def gate(seq: int | None = None, gate_id: str = "g") -> Step:
    event: Step = {"type": "human_gate_waiting", "node_id": "review", "gate_id": gate_id, "presentation": {}}
    return event if seq is None else {**event, "seq": seq}


def resolved(seq: int, gate_id: str = "g") -> Step:
    return {
        "type": "human_gate_resolved",
        "node_id": "review",
        "gate_id": gate_id,
        "decision": "reject",
        "by": "ben",
        "at": 1,
        "source": "widget",
        "seq": seq,
    }


def sync(*events: Step, seq: int, reset: bool = True, epoch: str = "e") -> list[Step]:
    """A whole catch-up: each message in a frame of its own."""
    opening = {"type": "sync", "epoch": epoch, "seq": seq, "reset": reset}
    return [frame(each) for each in (opening, *events, {"type": "synced", "seq": seq})]


def bye(code: int, *, retry: bool, after_ms: int | None = None) -> Step:
    message = {"type": "bye", "code": code, "reason": "because", "retry": retry}
    return frame(message if after_ms is None else {**message, "after_ms": after_ms})


def wait(seconds: float) -> Step:
    return {"do": "wait", "seconds": seconds}


def close(code: int, reason: str | None = None) -> Step:
    return {"do": "close", "code": code} if reason is None else {"do": "close", "code": code, "reason": reason}


def send(command_id: str = "c", **fields: Any) -> Step:
    return {"do": "send", "command": {"type": "pause_execution", "id": command_id, **fields}}


def decide(command_id: str = "c", **fields: Any) -> Step:
    decision = {"type": "human_decision", "id": command_id, "node_id": "review", "decision": "approve"}
    return {"do": "send", "command": {**decision, **fields}}


START, OPEN, REFUSE, PROBE, STOP = ({"do": name} for name in ("start", "open", "refuse", "probe", "stop"))
LIVE = [START, OPEN, frame(welcome()), *sync(line(1), line(2), seq=2)]
AGAIN = [wait(31), OPEN]
# A server that takes no offer, and shows in 5 s that it knows no `hello`.
PLAIN = [START, REFUSE, OPEN, frame(line())]

SCRIPTS: dict[str, Script] = {
    # Plain is never guessed
    "a server that refuses the offer is asked again at once without it": [START, REFUSE, OPEN, frame(line()), wait(5)],
    "a server that refuses both is tried again later, with the offer": [START, REFUSE, REFUSE, wait(1), OPEN],
    "a reset in the first handshake leaves our own server what it is": [
        START,
        REFUSE,
        OPEN,
        frame(welcome()),
        *sync(line(1), seq=1),
        send(),
        frame({"type": "command_ack", "id": "c", "ok": False, "code": "forbidden"}),
    ],
    "our own server, whose plain catch-up had begun": [
        START,
        send(),
        REFUSE,
        OPEN,
        frame(line(1)),
        frame(line(7, "b")),
        frame(welcome()),
        frame(line(8, "b")),
        *sync(line(9), seq=9, reset=False),
        frame(welcome()),
        *sync(line(1), line(2), seq=2),
        frame({"type": "command_ack", "id": "c", "ok": False, "code": "not_running"}),
        close(1006),
        *AGAIN,
    ],
    "a restart of our own server, whose plain catch-up had begun, keeps what waits": [
        *LIVE,
        close(1006),
        decide("d"),
        wait(1),
        REFUSE,
        OPEN,
        frame(line(1)),
        frame(welcome()),
        frame(welcome()),
        *sync(line(1), line(2), gate(3), seq=3),
        frame({"type": "command_ack", "id": "d", "ok": True}),
    ],
    "a server that takes the offer unread is known by its first event, without the offer": [
        START,
        OPEN,
        frame(line(1)),
        OPEN,
        frame(line(1)),
        frame(line(1)),
    ],
    "a server that takes the offer unread and says nothing": [
        START,
        OPEN,
        wait(4.9),
        wait(0.1),
        OPEN,
        wait(4.9),
        wait(0.1),
    ],
    "a welcome that comes when the silence was taken for an answer": [
        START,
        OPEN,
        wait(5),
        OPEN,
        wait(5),
        frame(welcome()),
        frame(welcome()),
        *sync(line(1), seq=1),
    ],
    "a server that says nothing is not plain where it has spoken v1": [
        *LIVE,
        close(1006),
        *AGAIN,
        wait(5),
        wait(2),
        REFUSE,
        OPEN,
        wait(5),
    ],
    "another server in its place, a plain one, begins with nothing": [
        *LIVE,
        frame({"type": "engine", "state": "gone"}),
        send("sent"),
        close(1006),
        send("queued"),
        *AGAIN,
        frame(line()),
        OPEN,
        frame(line(None, "b")),
        wait(5),
        send("new"),
    ],
    "after a plain server each attempt decides anew": [
        *PLAIN,
        close(1001),
        wait(1),
        OPEN,
        frame(welcome()),
        *sync(line(1), seq=1),
        close(1006),
        *AGAIN,
    ],
    "a plain server numbers its events as it likes": [*PLAIN, frame(line(7), line(3)), frame(line(3)), wait(30)],
    "a plain server gives no answer": [*PLAIN, send("early"), wait(5), send("late"), decide("no such gate")],
    "a plain server's answer is taken all the same": [
        *PLAIN,
        wait(5),
        frame({"type": "command_ack", "id": "x", "ok": True}),
    ],
    "what is overtaken on a plain server is not sent": [START, decide(), REFUSE, OPEN, frame(line()), wait(5)],
    "a bye before the welcome is no plain server": [
        START,
        send(),
        OPEN,
        bye(4404, retry=True),
        *AGAIN,
        bye(4401, retry=False),
    ],
    "a plain server that greets in its own words": [
        START,
        REFUSE,
        OPEN,
        frame({"type": "welcome", "text": "hello you"}),
        frame({"type": "ping"}),
        frame(line()),
        {"do": "frame", "frame": "hello?"},
        frame({"no": "type"}),
        frame(line()),
    ],
    "unknown and malformed events move the cursor": [
        *LIVE,
        frame({"type": "weather", "seq": 3}, {"type": "node_state", "node_id": "a", "status": "asleep", "seq": 4}),
        frame({"type": "weather"}, {"type": "engine", "state": "asleep"}),
        frame({**line(5), "lines": ["one", 2, "three"]}),
    ],
    "an empty frame says nothing": [START, REFUSE, OPEN, {"do": "frame", "frame": []}, frame(welcome())],
    "a frame that is no message": [*LIVE, {"do": "frame", "frame": 3}, *AGAIN],
    # Codes
    **{
        f"close code {code} is retried": [*LIVE, close(code, "why"), wait(1), OPEN]
        for code in (
            1000,
            1001,
            1005,
            1006,
            1011,
            1012,
            1013,
            1014,
            3999,
            4000,
            4006,
            4400,
            4401,
            4403,
            4409,
            4410,
            4999,
        )
    },
    **{f"close code {code} before the welcome is retried": [START, OPEN, close(code)] for code in (1000, 1001, 4401)},
    **{
        f"a bye with {code} decides by its retry: {retry}": [*LIVE, bye(code, retry=retry), wait(31)]
        for code, retry in (
            (1000, True),
            (1000, False),
            (1001, False),
            (4000, True),
            (4401, False),
            (4401, True),
            (4410, False),
        )
    },
    "a bye may ask for more time": [*LIVE, bye(4000, retry=True, after_ms=12000), wait(12), wait(1)],
    # Time
    "a socket that does not open": [START, wait(4.9), wait(0.1), wait(1), wait(5)],
    "the delays grow until a connection has lasted 5 s": [
        START,
        *[step for seconds in (1, 2, 4, 8, 16, 30, 30) for step in (REFUSE, REFUSE, wait(seconds))],
        OPEN,
        frame(welcome()),
        *sync(seq=0),
        wait(4.9),
        close(1006),
        wait(30),
        OPEN,
        frame(welcome()),
        *sync(seq=0, reset=False),
        wait(5),
        close(1006),
    ],
    "no welcome in 5 s, after one in an earlier connection": [*LIVE, close(1006), *AGAIN, wait(5)],
    "frames from before a hello give its answer more time": [
        *LIVE,
        PROBE,
        wait(4),
        frame(line(3)),
        wait(4),
        frame(line(4)),
        wait(4),
        frame(welcome()),
        *sync(line(3), line(4), seq=4, reset=False),
    ],
    "25 s of silence": [*LIVE, wait(20), frame({"type": "ping", "head": 2}), wait(24.9), wait(0.1)],
    "silence while catching up": [START, OPEN, frame(welcome()), wait(25)],
    "a plain server may be silent": [*PLAIN, wait(300), PROBE, wait(30)],
    "probing": [*LIVE, close(1006), PROBE, OPEN, frame(welcome()), *sync(seq=2, reset=False), PROBE, wait(5)],
    # Catching up
    "the tail after a cut": [
        *LIVE,
        close(1006),
        *AGAIN,
        frame(welcome()),
        *sync(line(2), line(3), seq=3, reset=False),
        wait(2),
    ],
    "a tail with a hole": [
        *LIVE,
        close(1006),
        *AGAIN,
        frame(welcome()),
        *sync(line(4), seq=4, reset=False),
        frame(welcome()),
        *sync(line(4), seq=4),
    ],
    "a tail of another run": [
        *LIVE,
        close(1006),
        *AGAIN,
        frame(welcome("f")),
        *sync(line(3), seq=3, reset=False, epoch="f"),
    ],
    "a gap": [
        *LIVE,
        frame(line(3), line(5)),
        frame(line(4)),
        frame(welcome()),
        *sync(line(4), line(5), seq=5, reset=False),
    ],
    "twice the same": [*LIVE, frame(line(2)), frame(line(3), line(3)), frame(line(1))],
    "another run by itself": [
        *LIVE,
        frame({"type": "engine", "state": "connected"}),
        *sync(line(1), seq=1, epoch="f"),
        close(1006),
        *AGAIN,
    ],
    "the log of the cursor": [
        START,
        OPEN,
        frame(welcome(log="l1")),
        *sync(line(1), seq=1),
        close(1006),
        *AGAIN,
        frame(welcome(log="l2")),
        *sync(line(2), seq=2),
        PROBE,
        frame(welcome(log="l2")),
        *sync(line(1), seq=1, epoch="f"),
        PROBE,
    ],
    "a cut before the state is whole": [
        *LIVE,
        frame({"type": "sync", "epoch": "f", "seq": 9, "reset": True}),
        frame(line(1)),
        close(1006),
        *AGAIN,
    ],
    "no run yet": [
        START,
        OPEN,
        frame(welcome("")),
        *sync(seq=0, epoch=""),
        close(1006),
        *AGAIN,
        frame(welcome("")),
        *sync(seq=0, epoch=""),
        *sync(line(1), seq=1),
    ],
    "features that the server lacks": [
        *LIVE,
        frame(
            {"type": "engine", "state": "gone"},
            {
                "type": "runs",
                "total": 1,
                "live": 1,
                "waiting": 0,
                "runs": [{"run_id": "r", "status": "running", "started_at": 1}],
            },
        ),
        close(1006),
        *AGAIN,
        frame(welcome(features=())),
    ],
    "a ping, right and wrong": [*LIVE, frame({"type": "ping", "head": 2}), wait(2), frame({"type": "ping", "head": 3})],
    # Acknowledgements
    "nothing new is not acknowledged": [*LIVE, frame({"type": "ping", "head": 2}), frame(line(2)), wait(2)],
    "after a second": [*LIVE, frame(line(3)), wait(0.6), frame(line(4)), wait(0.4), wait(5)],
    "at the 64th frame": [*LIVE, *(frame(line(seq)) for seq in range(3, 70))],
    # The outbox
    "a command waits for the state": [
        START,
        send(),
        OPEN,
        frame(welcome()),
        *sync(seq=0),
        frame({"type": "command_ack", "id": "c", "ok": True}),
    ],
    "a command without an answer is sent again with the same id": [
        *LIVE,
        send(),
        send(),
        close(1006),
        *AGAIN,
        frame(welcome()),
        *sync(seq=2, reset=False),
    ],
    "a decision that was overtaken": [
        *LIVE,
        frame(gate(3)),
        close(1006),
        decide(),
        *AGAIN,
        frame(welcome()),
        *sync(resolved(4), seq=4, reset=False),
    ],
    "a decision that was sent is sent again though its gate has closed": [
        *LIVE,
        frame(gate(3)),
        decide(),
        close(1006),
        *AGAIN,
        frame(welcome()),
        *sync(resolved(4), seq=4, reset=False),
    ],
    "a decision for another run": [
        *LIVE,
        close(1006),
        decide(run_id="f", gate_id="x"),
        *AGAIN,
        frame(welcome()),
        *sync(seq=2, reset=False),
    ],
    "too large": [START, OPEN, frame(welcome(limits={"frame_bytes": 200})), *sync(seq=0), decide(feedback="x" * 200)],
    "stopped with a command that was sent and one that was not": [
        *LIVE,
        send("sent"),
        close(1006),
        send("queued"),
        STOP,
        send("late"),
    ],
    "stopped by a bye": [*LIVE, send("sent"), bye(4403, retry=False), send("late"), PROBE, wait(60)],
    # Which run
    "a run that is watched": [
        *LIVE,
        {"do": "watch", "run": "f"},
        frame(welcome("f")),
        *sync(line(1), seq=1, epoch="f"),
        close(1006),
        *AGAIN,
    ],
    "a run that is chosen while the server answers": [
        *LIVE,
        PROBE,
        {"do": "watch", "run": "f"},
        frame(welcome()),
        *sync(seq=2, reset=False),
        frame(welcome("f")),
        *sync(line(1), seq=1, epoch="f"),
    ],
    "a bye for the run before": [*LIVE, PROBE, {"do": "watch", "run": "f"}, bye(4410, retry=False), *AGAIN],
    "a run that begins here": [
        *LIVE,
        {"do": "begin", "run": "f"},
        frame(welcome("")),
        *sync(seq=0, epoch=""),
        *sync(line(1), seq=1, epoch="f"),
        close(1006),
        *AGAIN,
    ],
}
