from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from dagwidget import protocol as p
from dagwidget.state import FINAL, DagState, Execution, compact, reduce

from . import strategies
from .strategies import logs

WORST_FIRST = ["failed", "waiting", "running", "pending", "cancelled", "completed", "skipped"]
begun = st.lists(strategies.events, max_size=20).map(
    lambda log: [p.ExecutionState(status="running"), p.NodeState(node_id="a", status="running"), *log]
)
ends = st.sampled_from(sorted(p.TERMINAL))
live = st.sampled_from(["pending", "running", "waiting"])

Named = tuple[str, str | None, Execution]


def executions(state: DagState) -> list[Named]:
    """Each execution that is known, with the names that an event gives it."""
    own = [(node.id, None, node) for node in state.nodes.values() if node.instances is None]
    instances = [
        (n.id, name, execution) for n in state.nodes.values() for name, execution in (n.instances or {}).items()
    ]
    return [*own, *instances]


def without(state: DagState, *fields: str) -> dict:
    return {name: value for name, value in state.to_dict().items() if name not in ("seq", *fields)}


def node_states(**fields) -> st.SearchStrategy[p.NodeState]:
    """Node states with these fields, and any others."""
    return st.builds(
        p.NodeState,
        **{
            "output": strategies.maybe_values,
            "metrics": st.none() | st.just({"x": 1}),
            "error": strategies.texts,
            "progress": st.none() | st.just(0.5),
            "native": strategies.texts,
            "reason": strategies.texts,
            "message": strategies.texts,
            "started_at": strategies.moments,
            "ended_at": strategies.moments,
            "ts": strategies.moments,
            **{
                name: value if isinstance(value, st.SearchStrategy) else st.just(value)
                for name, value in fields.items()
            },
        },
    )


@settings(max_examples=1000)
@given(logs)
def test_compacted_state_reduces_to_the_same_state(log):
    state = reduce(log, DagState(epoch="e"))
    again = reduce(compact(state), DagState(epoch="e", seq=state.seq))
    assert again.to_dict() == state.to_dict()
    assert [[*(node.instances or ())] for node in again.nodes.values()] == [
        [*(node.instances or ())] for node in state.nodes.values()
    ]


@settings(max_examples=300)
@given(logs)
def test_compacted_state_survives_the_wire(log):
    state = reduce(log, DagState(epoch="e"))
    events = p.decode_server(p.encode(compact(state)))
    assert reduce(events, DagState(epoch="e", seq=state.seq)).to_dict() == state.to_dict()


@settings(max_examples=300)
@given(logs)
def test_a_node_with_instances_has_the_worst_active_status_and_counts_each(log):
    for node in reduce(log).nodes.values():
        if node.instances is not None:
            assert node.counts == Counter(execution.status for execution in node.instances.values())
            assert node.status == min(node.counts, key=WORST_FIRST.index)


@settings(max_examples=300)
@given(begun, st.data())
def test_a_late_word_that_names_an_ended_attempt_changes_nothing(log, data):
    log.append(data.draw(node_states(node_id="a", status=ends, attempt=9, instance=st.sampled_from([None, "i1"]))))
    state = reduce(log)
    ended = [
        each for each in executions(state) if each[2].status in p.TERMINAL and each[2].attempt and not each[2].inferred
    ]
    if not ended:
        return
    node_id, instance, execution = data.draw(st.sampled_from(ended))
    late = data.draw(node_states(node_id=node_id, instance=instance, status=live, attempt=execution.attempt))
    assert reduce([*log, late]).to_dict() == state.to_dict()


# --- What the room infers


@settings(max_examples=300)
@given(begun, st.data())
def test_an_inferred_end_changes_nothing_but_the_end_of_an_open_execution(log, data):
    known = executions(reduce(log))
    node_id, instance, execution = data.draw(st.sampled_from([*known, ("new", None, None), ("a", "new", None)]))
    event = data.draw(
        node_states(
            node_id=node_id,
            instance=instance,
            status=strategies.statuses,
            attempt=st.sampled_from([None, 1, 2, execution and execution.attempt]),
            inferred=True,
        )
    )
    before, after = reduce(log), reduce([*log, event])
    is_open = execution is not None and execution.status not in p.TERMINAL
    if not is_open or event.status not in p.TERMINAL or event.attempt not in (None, execution.attempt):
        assert after.to_dict() == before.to_dict()
        return
    assert without(after, "nodes", "edges", "gates") == without(before, "nodes", "edges", "gates")
    assert {**after.nodes, node_id: None} == {**before.nodes, node_id: None}
    (ended,) = [each for *names, each in executions(after) if names == [node_id, instance]]
    assert (ended.status, ended.inferred) == (event.status, True)
    for name in ("output", "output_bytes", "output_cut", "metrics", "error", "progress", "attempt", "started_at"):
        assert getattr(ended, name) == getattr(execution, name)
    # Said twice, and by another word, it is the same.
    again = data.draw(node_states(node_id=node_id, instance=instance, status=ends, inferred=True))
    assert reduce([*log, event, event, again]).to_dict() == after.to_dict()


@settings(max_examples=300)
@given(begun, st.data())
def test_after_a_later_word_of_the_engine_it_is_as_if_nothing_had_been_inferred(log, data):
    is_open = [each for each in executions(reduce(log)) if each[2].status not in p.TERMINAL]
    if not is_open:
        return
    node_id, instance, execution = data.draw(st.sampled_from(is_open))
    names = {"node_id": node_id, "instance": instance}
    inferred = data.draw(node_states(**names, status=ends, inferred=True))
    word = data.draw(
        node_states(**names, status=strategies.statuses, attempt=st.sampled_from([None, execution.attempt]))
    )
    end = data.draw(st.sampled_from([[], [p.ExecutionComplete(results=1)]]))
    assert reduce([*log, inferred, *end, word]).nodes == reduce([*log, *end, word]).nodes


run_words = st.one_of(
    st.builds(p.ExecutionComplete, results=strategies.maybe_values, reason=strategies.texts, inferred=st.just(True)),
    st.builds(p.ExecutionState, status=st.sampled_from(["running", "lost", "cancelling"]), inferred=st.just(True)),
    st.just(p.ExecutionState(status="lost")),
)


@given(begun, st.lists(run_words, max_size=3))
def test_what_is_inferred_of_a_run_changes_nothing_that_its_engine_ended(log, words):
    end = p.ExecutionComplete(results=1, status="failed", reason="why", ts=7)
    assert reduce([*log, end, *words]).to_dict() == reduce([*log, end]).to_dict()
    # The other way round, the engine's own end replaces what was inferred.
    fields = ("status", "results", "reason", "ended_at", "inferred")
    late, own = reduce([*log, *words, end]), reduce([*log, end])
    assert [getattr(late, name) for name in fields] == [getattr(own, name) for name in fields]


@given(begun, node_states(node_id="late", status=strategies.statuses))
def test_a_node_that_starts_after_the_end_never_reopens_the_run(log, word):
    ended = reduce([*log, p.ExecutionComplete(results=1, ts=7)])
    after = reduce([*log, p.ExecutionComplete(results=1, ts=7), word])
    assert after.status in FINAL
    assert without(after, "nodes") == without(ended, "nodes")


@given(begun)
def test_a_lost_run_keeps_its_nodes_gates_and_flows(log):
    before, after = reduce(log), reduce([*log, p.ExecutionState(status="lost", inferred=True)])
    assert without(after, "status", "asked_at") == without(before, "status", "asked_at")
    assert after.status == (before.status if before.status in FINAL else "lost")
