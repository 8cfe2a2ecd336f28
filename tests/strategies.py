"""Hypothesis strategies for the protocol's messages: few names, so that events meet each other."""

from hypothesis import strategies as st

from dagwidget import protocol as p
from dagwidget.state import DagState, reduce

names = st.sampled_from(["a", "b", "c", "d", "e/é", "😀"])
gate_names = st.one_of(st.none(), st.sampled_from(["g1", "g2", "a"]))
moments = st.one_of(st.none(), st.integers(1, 10_000))
texts = st.one_of(st.none(), st.sampled_from(["", "x", "two\nlines", "\u2028<b>"]))
values = st.recursive(
    st.one_of(st.booleans(), st.integers(-9, 9), st.floats(-2, 2, width=16), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=2), inner, max_size=2)),
    max_leaves=4,
)
maybe_values = st.one_of(st.none(), values)
flags = st.sampled_from([None, None, False, True])
statuses = st.sampled_from(["pending", "running", "waiting", "completed", "failed", "skipped", "cancelled"])

node_specs = st.builds(p.NodeSpec, id=names, label=texts, kind=texts, group=texts, description=texts)
edge_specs = st.builds(p.EdgeSpec, from_=names, to=names, label=texts, conditional=st.none() | st.booleans())
mutations = st.builds(
    p.Mutation,
    add_nodes=st.none() | st.lists(node_specs, max_size=3),
    update_nodes=st.none() | st.lists(node_specs, max_size=2),
    remove_nodes=st.none() | st.lists(names, max_size=2),
    add_edges=st.none() | st.lists(edge_specs, max_size=3),
    remove_edges=st.none() | st.lists(edge_specs, max_size=2),
)

approvals = st.none() | st.lists(
    st.builds(p.Approval, by=st.just("ana"), at=st.integers(1, 9), feedback=texts), max_size=2
)

events = st.one_of(
    st.builds(
        p.NodeState,
        node_id=names,
        status=statuses,
        output=maybe_values,
        metrics=st.none() | st.dictionaries(st.sampled_from(["cost", "model"]), st.integers(0, 9), max_size=2),
        error=texts,
        progress=st.none() | st.floats(0, 1, width=16),
        attempt=st.none() | st.integers(0, 3),
        instance=st.none() | st.sampled_from(["i1", "i2"]),
        native=texts,
        reason=texts,
        message=texts,
        started_at=moments,
        ended_at=moments,
        inferred=flags,
        output_bytes=st.none() | st.integers(0, 9),
        output_cut=st.sampled_from([None, True]),
        ts=moments,
    ),
    st.builds(p.EdgeActive, from_=names, to=names, active=st.none() | st.booleans(), ts=moments),
    st.builds(p.DagMutated, mutation=mutations, ts=moments),
    st.builds(
        p.CostUpdate,
        spent=st.floats(0, 9, width=16),
        budget=st.none() | st.floats(0, 9, width=16),
        remaining=st.none() | st.floats(0, 9, width=16),
        currency=texts,
        tokens=st.none() | st.integers(0, 9),
        by_node=st.none() | st.dictionaries(names, st.floats(0, 9, width=16), max_size=2),
        unpriced=st.none() | st.integers(0, 9),
        on_budget=st.sampled_from([None, "warn", "pause", "gate"]),
        ts=moments,
    ),
    st.builds(
        p.ExecutionComplete,
        results=maybe_values,
        status=st.none() | st.sampled_from(["completed", "failed", "cancelled"]),
        reason=texts,
        inferred=flags,
        ts=moments,
    ),
    st.builds(
        p.HumanGateWaiting,
        node_id=names,
        gate_id=gate_names,
        presentation=st.builds(p.Presentation, title=texts, data=maybe_values),
        instance=st.none() | st.sampled_from(["i1", "i2"]),
        approvals=approvals,
        ts=moments,
    ),
    st.builds(
        p.HumanGateResolved,
        node_id=names,
        gate_id=st.sampled_from(["g1", "g2", "a"]),
        decision=st.sampled_from(["approve", "reject", "modify"]),
        by=st.just("ana"),
        at=st.integers(1, 9),
        source=st.sampled_from(["widget", "python", "timeout"]),
        feedback=texts,
        value=maybe_values,
        approvals=approvals,
        ts=moments,
    ),
    st.builds(p.RunError, message=st.text(max_size=3), node_id=st.none() | names, detail=maybe_values, ts=moments),
    st.builds(
        p.ExecutionState,
        status=st.sampled_from(["running", "pausing", "paused", "resuming", "cancelling", "lost"]),
        capabilities=st.none() | st.builds(p.Capabilities, pause=st.sampled_from(["native", "none"])),
        inferred=flags,
        ts=moments,
    ),
    st.builds(p.NodeLog, node_id=names, lines=st.lists(st.text(max_size=2), max_size=3), ts=moments),
)


def numbered(run: list[p.Event]) -> list[p.Event]:
    for seq, event in enumerate(run, 1):
        event.seq = seq
    return run


logs = st.lists(events, max_size=30).map(numbered)
states = logs.map(lambda log: reduce(log, DagState(epoch="e")))

ids = st.text("abc/é😀", min_size=1, max_size=4)
counts = st.integers(0, 2**53 - 1)
words = st.text(max_size=4)
verdicts = st.sampled_from(["approve", "reject", "modify"])
cursors = st.builds(p.Cursor, epoch=words, seq=counts, log=texts)
features = st.none() | st.lists(words, max_size=2)
engine_states = st.sampled_from(["connected", "silent", "gone", "ended", "unobserved"])
resolved = st.builds(
    p.HumanGateResolved,
    node_id=ids,
    gate_id=ids,
    decision=verdicts,
    by=words,
    at=counts,
    source=st.sampled_from(["widget", "python", "timeout", "engine", "budget"]),
    feedback=texts,
    value=maybe_values,
    seq=st.none() | counts,
    ts=moments,
)

commands = st.one_of(
    st.builds(
        p.HumanDecision,
        id=ids,
        run_id=st.none() | ids,
        node_id=ids,
        decision=verdicts,
        gate_id=st.none() | ids,
        feedback=texts,
        value=maybe_values,
        source=st.sampled_from([None, "widget", "python"]),
    ),
    st.builds(p.PauseExecution, id=ids, run_id=st.none() | ids),
    st.builds(p.ResumeExecution, id=ids, run_id=st.none() | ids),
    st.builds(p.CancelExecution, id=ids, run_id=st.none() | ids, give_up=flags),
)
hellos = st.builds(
    p.Hello,
    protocol=counts,
    token=texts,
    last=st.none() | cursors,
    run=st.none() | ids,
    follow=flags,
    features=features,
)
pongs = st.builds(p.Pong, seq=counts)
acks = st.builds(p.Ack, seq=counts)
pings = st.builds(p.Ping, head=counts)
byes = st.builds(p.Bye, code=counts, reason=words, retry=st.booleans(), after_ms=st.none() | counts)
starts = st.builds(
    p.RunStart,
    budget=st.none() | st.floats(0, 9, width=16),
    currency=texts,
    on_budget=st.sampled_from([None, "warn", "pause", "gate"]),
    capabilities=st.none() | st.builds(p.Capabilities, cancel=st.sampled_from(["cooperative", "none"])),
    name=texts,
    tags=st.none() | st.lists(words, max_size=2),
)
summaries = st.builds(
    p.RunSummary,
    run_id=ids,
    status=st.sampled_from(["pending", "running", "paused", "lost", "completed", "failed"]),
    started_at=counts,
    name=texts,
    tags=st.none() | st.lists(words, max_size=2),
    ended_at=moments,
    gates=st.integers(0, 3),
    engine=engine_states,
    spent=st.none() | st.floats(0, 9, width=16),
    events=counts,
    bytes=counts,
)

server_messages = st.one_of(
    events,
    st.builds(
        p.Welcome,
        protocol=counts,
        dag_id=words,
        epoch=words,
        head=counts,
        role=st.sampled_from(["view", "operate", "publish"]),
        heartbeat_ms=counts,
        window=counts,
        limits=st.dictionaries(words, counts, max_size=2),
        now=moments,
        expires_at=moments,
        server=texts,
        log=texts,
        features=features,
    ),
    st.builds(p.Sync, epoch=words, seq=counts, reset=st.booleans()),
    st.builds(p.Synced, seq=counts),
    pings,
    st.builds(p.CommandAck, id=words, ok=st.booleans(), code=texts, message=texts, winner=st.none() | resolved),
    st.builds(p.Engine, state=engine_states, since=moments),
    st.builds(
        p.Runs,
        total=counts,
        live=counts,
        waiting=counts,
        runs=st.lists(summaries, max_size=2),
        removed=st.none() | st.lists(ids, max_size=2),
    ),
    byes,
)
client_messages = st.one_of(commands, hellos, pongs, acks)

cost_deltas = st.builds(
    p.CostDelta,
    amount=st.none() | st.floats(-1, 9, width=16),
    node_id=st.none() | ids,
    tokens_in=st.none() | counts,
    tokens_out=st.none() | counts,
)
output_parts = st.builds(
    p.NodeOutput, node_id=ids, text=words, part=counts, parts=st.integers(1, 9), instance=st.none() | ids
)
attaches = st.builds(
    p.Attach,
    protocol=counts,
    publisher=ids,
    token=texts,
    epoch=st.none() | ids,
    start=st.none() | starts,
    now=moments,
    acknowledged=st.none() | counts,
)
attacheds = st.builds(p.Attached, dag_id=words, epoch=words, seq=counts, heartbeat_ms=counts)
publisher_messages = st.one_of(events, cost_deltas, output_parts, attaches, pongs)
replies = st.one_of(attacheds, acks, pings, byes, resolved)
