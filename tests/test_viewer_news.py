"""What a viewer is told beside the log: the run list, whole at first, then what changed, at most once a second."""

from __future__ import annotations

from dagwidget import protocol as p
from dagwidget.server.run_list import RunList

from .test_session import NOW, Room, ViewerSession, connected, heard, send, start_run


def summary(run_id: str, **fields) -> p.RunSummary:
    return p.RunSummary(run_id=run_id, status="running", started_at=NOW, **fields)


def listed(session: ViewerSession, now: int) -> list[list[str]]:
    """The runs of each message about the run list that goes out now."""
    return [[run.run_id for run in told.runs] for told in heard(session, now) if isinstance(told, p.Runs)]


def test_the_run_list_comes_whole_and_then_what_changed_at_most_once_a_second():
    room, runs = Room("dag"), RunList()
    start_run(room)
    runs.put(summary("run-1"))
    session = connected(ViewerSession, room, runs=runs)
    send(session, p.Hello(protocol=1, token="may-view", features=["runs"]))
    assert listed(session, NOW) == [["run-1"]]
    runs.put(summary("run-2"))
    assert listed(session, NOW + 999) == []
    runs.put(summary("run-3"))
    assert sorted(*listed(session, NOW + 1000)) == ["run-2", "run-3"]
    # What has not changed is not told again, however long ago it was told.
    assert listed(session, NOW + 60_000) == []
    runs.put(summary("run-2", gates=1))
    assert listed(session, NOW + 60_000) == [["run-2"]]
