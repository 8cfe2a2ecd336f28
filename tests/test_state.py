from hypothesis import given, settings

from dagwidget import protocol as p
from dagwidget.state import DagState, compact, reduce

from .strategies import logs


@settings(max_examples=1000)
@given(logs)
def test_compacted_state_reduces_to_the_same_state(log):
    state = reduce(log, DagState(epoch="e"))
    again = reduce(compact(state), DagState(epoch="e", seq=state.seq))
    assert again.to_dict() == state.to_dict()


@settings(max_examples=300)
@given(logs)
def test_compacted_state_survives_the_wire(log):
    state = reduce(log, DagState(epoch="e"))
    events = p.decode_server(p.encode(compact(state)))
    assert reduce(events, DagState(epoch="e", seq=state.seq)).to_dict() == state.to_dict()
