"""An event's time is the one at which it happened at its source, whatever the room makes of the event."""

import pytest

from dagwidget import protocol as p
from dagwidget.server.room import Room

NOW = 1_000_000
EARLIER = NOW - 5000


@pytest.mark.parametrize(
    "event",
    [
        p.NodeState(node_id="a", status="running"),
        p.NodeOutput(node_id="a", text="1", part=0, parts=1),
        p.CostDelta(amount=0.5, node_id="a"),
        p.CostUpdate(spent=0.5, budget=None, remaining=None),
        p.HumanGateWaiting(node_id="a", gate_id="g", presentation=p.Presentation()),
        p.ExecutionComplete(results=None),
    ],
    ids=lambda event: type(event).__name__,
)
@pytest.mark.parametrize("ts", [EARLIER, None])
def test_what_a_room_makes_of_an_event_has_the_events_time(event, ts):
    room = Room("dag")
    room.attach(p.Attach(protocol=1, publisher="engine", epoch="run", start=p.RunStart()), NOW)
    before = room.head
    event.seq, event.ts = 1, ts
    room.publish("engine", [event], NOW)
    (data,) = room.page(before, 10).events
    (made,) = p.decode_events(data)
    assert made.ts == (ts or NOW)
