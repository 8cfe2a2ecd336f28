"""LangGraph for real: real graphs, a real server, a person who answers."""

import asyncio
import operator
from typing import Annotated, TypedDict

import pytest

pytest.importorskip("langgraph")

from langchain_core.callbacks import adispatch_custom_event
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt

import dagwidget
from dagwidget import DagwidgetError, RunCancelled
from tests.person import Person
from tests.serving import serving


class State(TypedDict, total=False):
    xs: Annotated[list, operator.add]
    n: int


@pytest.fixture(scope="module")
def server():
    with serving() as server:
        yield server


@pytest.fixture
def dag_id(request):
    return request.node.name


@pytest.fixture
def person(server, dag_id):
    with Person(server, dag_id) as person:
        yield person


@pytest.fixture
def run(server, dag_id):
    async def run(graph, given, **options):
        return await dagwidget.engines.langgraph.run(
            graph, given, dag_id=dag_id, url=server.url, token=server.token, **options
        )

    return run


async def ended(person):
    """What the server holds once the run has ended."""
    await asyncio.to_thread(person.wait, "execution_complete")
    return person.state()


def graph_of(*nodes, edges, state=State, conditional=(), **compiling):
    builder = StateGraph(state)
    for node in nodes:
        builder.add_node(node.__name__, node)
    for source, target in edges:
        builder.add_edge(source, target)
    for source, route, targets in conditional:
        builder.add_conditional_edges(source, route, targets)
    return builder.compile(**compiling)


def fake_model(*texts, model_name="gpt-4o"):
    usage = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    answers = (AIMessage(text, usage_metadata=usage, response_metadata={"model_name": model_name}) for text in texts)
    return GenericFakeChatModel(messages=answers)


def a(state):
    return {"xs": ["a"]}


def b(state):
    return {"xs": ["b"]}


def ask(state):
    return {"xs": [interrupt("Go on?")]}


async def test_a_graph_runs_to_its_output_and_is_seen(run, person):
    output = await run(graph_of(a, b, edges=[(START, "a"), ("a", "b"), ("b", END)]), {"n": 1})
    assert output == {"xs": ["a", "b"], "n": 1}
    state = await ended(person)
    assert (state["status"], state["results"]) == ("completed", {"xs": ["a", "b"], "n": 1})
    assert {name: (node["status"], node["output"]) for name, node in state["nodes"].items()} == {
        "a": ("completed", {"xs": ["a"]}),
        "b": ("completed", {"xs": ["b"]}),
    }
    assert state["edges"] == {"b": {"a": {"active": False, "taken": True}}}
    assert state["capabilities"] == {"pause": "none", "cancel": "native", "gate": "none"}


async def test_a_loop_takes_only_the_edges_that_it_went_along(run, person):
    def again(state):
        return {"n": state.get("n", 0) + 1}

    graph = graph_of(
        a,
        again,
        b,
        edges=[(START, "a"), ("a", "again")],
        conditional=[("again", lambda state: "again" if state["n"] < 3 else "b", ["again", "b", "a"])],
    )
    await run(graph, {})
    state = await ended(person)
    assert state["nodes"]["again"]["attempt"] == 3
    taken = {
        (source, target) for target, sources in state["edges"].items() for source, e in sources.items() if e["taken"]
    }
    assert taken == {("a", "again"), ("again", "again"), ("again", "b")}
    assert state["edges"]["b"]["again"]["conditional"] is True
    assert not state["edges"]["a"]["again"]["taken"]


async def test_what_is_sent_many_times_is_shown_as_instances(run, person):
    def work(state):
        if state["n"] == 2:
            raise RuntimeError("bad input")
        return {"xs": [state["n"]]}

    graph = graph_of(
        a,
        work,
        edges=[(START, "a")],
        conditional=[("a", lambda _: [Send("work", {"n": i}) for i in range(4)], ["work"])],
    )
    with pytest.raises(RuntimeError, match="bad input"):
        await run(graph, {})
    state = await ended(person)
    node = state["nodes"]["work"]
    assert set(node["instances"]) == {"1", "2", "3", "4"}
    assert node["counts"]["failed"] == 1
    assert state["edges"]["work"]["a"]["taken"]


async def test_an_error_is_told_once_with_the_node_that_it_came_from(run, person):
    def bad(state):
        raise ValueError("no such column")

    with pytest.raises(ValueError, match="no such column"):
        await run(graph_of(a, bad, edges=[(START, "a"), ("a", "bad")]), {})
    state = await ended(person)
    assert state["status"] == "failed"
    assert state["nodes"]["bad"]["error"].startswith("ValueError: no such column")
    assert "in bad" in state["nodes"]["bad"]["error"]
    assert [(error["message"], error["node_id"]) for error in state["errors"]] == [("no such column", "bad")]


async def test_tokens_and_their_price_are_counted_by_node(run, person):
    model = fake_model("one", "two")

    async def think(state):
        await model.ainvoke("x")
        await model.ainvoke("y")
        return {}

    await run(graph_of(think, edges=[(START, "think")]), {"n": 1}, budget=1.0)
    state = await ended(person)
    price = 2 * (1000 * 2.5 + 100 * 10) / 1e6
    assert state["cost"] == {
        "spent": pytest.approx(price),
        "budget": 1.0,
        "remaining": pytest.approx(1 - price),
        "tokens": 2200,
        "by_node": {"think": pytest.approx(price)},
    }
    metrics = state["nodes"]["think"]["metrics"]
    assert (metrics["tokens_in"], metrics["tokens_out"], metrics["model"]) == (2000, 200, "gpt-4o")
    assert metrics["cost"] == pytest.approx(price)


async def test_the_tokens_of_an_unknown_model_have_no_price(run, person):
    model = fake_model("one", model_name="a model of my own")

    async def think(state):
        await model.ainvoke("x")
        return {}

    await run(graph_of(think, edges=[(START, "think")]), {"n": 1})
    cost = (await ended(person))["cost"]
    assert (cost["spent"], cost["tokens"], cost["unpriced"]) == (0, 1100, 1100)


async def test_a_node_tells_how_far_it_has_come(run, person):
    async def writer(state):
        get_stream_writer()({"progress": 0.5, "message": "half"})
        get_stream_writer()("a line")
        return {}

    async def dispatcher(state):
        await adispatch_custom_event("progress", {"progress": 0.7})
        return {}

    await run(graph_of(writer, dispatcher, edges=[(START, "writer"), (START, "dispatcher")]), {"n": 1})
    nodes = (await ended(person))["nodes"]
    assert nodes["dispatcher"]["progress"] == 0.7
    # Two ran at once, so what a stream writer says is nobody's; alone, it would be the node's.
    assert "progress" not in nodes["writer"]


async def test_a_node_that_runs_alone_is_whom_a_stream_writer_speaks_for(run, person):
    async def writer(state):
        get_stream_writer()({"progress": 0.5, "message": "half"})
        get_stream_writer()({"progress": 0.6, "node": "writer"})
        get_stream_writer()("a line")
        return {}

    await run(graph_of(writer, edges=[(START, "writer")]), {"n": 1})
    node = (await ended(person))["nodes"]["writer"]
    assert (node["progress"], node["logs"]) == (0.6, ["a line"])


# --- Gates


async def test_an_interrupt_is_a_gate_and_its_decision_resumes_the_graph(run, person):
    graph = graph_of(ask, b, edges=[(START, "ask"), ("ask", "b")], checkpointer=InMemorySaver())
    answering = asyncio.create_task(asyncio.to_thread(person.decide, "ask", "modify", value="please do"))
    assert await run(graph, {}) == {"xs": ["please do", "b"]}
    assert (await answering)["ok"]
    state = await ended(person)
    assert state["nodes"]["ask"]["status"] == "completed"
    assert [(each["decision"], each["value"]) for each in state["decisions"]] == [("modify", "please do")]
    assert state["gates"] == {}
    assert state["capabilities"]["pause"] == "native"


async def test_a_graph_that_could_not_go_on_from_an_answer_asks_nobody(run, person):
    with pytest.raises(DagwidgetError, match=r"'ask' calls interrupt.*compile the graph with one"):
        await run(graph_of(ask, b, edges=[(START, "ask"), ("ask", "b")]), {})
    state = await ended(person)
    assert (state["gates"], state["decisions"], state["status"]) == ({}, [], "failed")


@pytest.mark.parametrize(("graph", "says"), [(None, "got NoneType"), (StateGraph(State), "StateGraph: call its comp")])
async def test_what_is_no_compiled_graph_is_refused(run, graph, says):
    with pytest.raises(TypeError, match=says):
        await run(graph, {})


async def test_several_gates_are_open_at_once_and_each_is_answered_by_its_own_decision(run, person):
    def first(state):
        return {"xs": [interrupt("one?"), interrupt("two?")]}

    def second(state):
        return {"xs": [interrupt("three?")]}

    graph = graph_of(
        a, first, second, edges=[(START, "first"), (START, "second"), (START, "a")], checkpointer=InMemorySaver()
    )

    def answer():
        gates = {}
        while len(gates) < 2:
            gate = person.wait("human_gate_waiting")
            gates[gate["presentation"]["title"]] = gate
        # The last that was asked is answered first.
        person.ask("human_decision", node_id="second", decision="modify", value="3")
        person.ask("human_decision", node_id="first", gate_id=gates["one?"]["gate_id"], decision="modify", value="1")
        while gate["presentation"]["title"] != "two?":
            gate = person.wait("human_gate_waiting")
        return person.ask("human_decision", node_id="first", gate_id=gate["gate_id"], decision="modify", value="2")

    answering = asyncio.create_task(asyncio.to_thread(answer))
    output = await run(graph, {})
    assert sorted(output["xs"]) == ["1", "2", "3", "a"]
    assert (await answering)["ok"]
    state = await ended(person)
    assert {name: node["status"] for name, node in state["nodes"].items()} == dict.fromkeys(
        ("a", "first", "second"), "completed"
    )
    assert len(state["decisions"]) == 3


async def test_a_sibling_that_had_completed_stays_so_while_the_other_is_answered(run, person):
    graph = graph_of(a, ask, edges=[(START, "a"), (START, "ask")], checkpointer=InMemorySaver())
    answering = asyncio.create_task(asyncio.to_thread(person.decide, "ask"))
    await run(graph, {})
    await answering
    state = await ended(person)
    assert {name: node["status"] for name, node in state["nodes"].items()} == {"a": "completed", "ask": "completed"}


async def test_a_gate_in_a_subgraph_belongs_to_its_node(run, person):
    inner = graph_of(b, ask, edges=[(START, "b"), ("b", "ask")])
    builder = StateGraph(State)
    builder.add_node("a", a)
    builder.add_node("sub", inner)
    builder.add_edge(START, "a")
    builder.add_edge("a", "sub")
    graph = builder.compile(checkpointer=InMemorySaver())
    answering = asyncio.create_task(asyncio.to_thread(person.decide, "sub:ask", "modify", value="yes"))
    output = await run(graph, {})
    assert output["xs"][-1] == "yes"
    await answering
    state = await ended(person)
    assert {name: node["status"] for name, node in state["nodes"].items()} == dict.fromkeys(
        ("a", "sub:b", "sub:ask"), "completed"
    )
    assert (state["nodes"]["sub:ask"]["group"], state["nodes"]["sub:ask"]["label"]) == ("sub", "ask")
    assert state["edges"]["sub:b"]["a"]["taken"]


async def test_an_answer_that_does_not_fit_is_asked_for_again(run, person):
    request = {"action_requests": [{"name": "x", "args": {}}, {"name": "y", "args": {}}], "review_configs": []}

    def approve(state):
        return {"xs": [interrupt(request)["decisions"]]}

    def answer():
        gate = person.wait("human_gate_waiting")
        person.ask("human_decision", node_id="approve", gate_id=gate["gate_id"], decision="modify", value=[{}])
        error = person.wait("error", code="invalid_answer")
        return error, person.decide("approve")

    graph = graph_of(approve, edges=[(START, "approve")], checkpointer=InMemorySaver())
    answering = asyncio.create_task(asyncio.to_thread(answer))
    output = await run(graph, {})
    error, ack = await answering
    assert ack["ok"]
    assert "the value must have 2 tool calls, got 1" in error["message"]
    assert output["xs"] == [[{"type": "approve"}, {"type": "approve"}]]


async def test_a_breakpoint_is_a_gate_too(run, person):
    graph = graph_of(a, b, edges=[(START, "a"), ("a", "b")], checkpointer=InMemorySaver(), interrupt_before=["b"])
    answering = asyncio.create_task(asyncio.to_thread(person.decide, "b"))
    assert await run(graph, {}) == {"xs": ["a", "b"]}
    assert (await answering)["ok"]


async def test_the_answer_may_be_made_by_a_function_of_ones_own(run, person):
    graph = graph_of(ask, edges=[(START, "ask")], checkpointer=InMemorySaver())
    answering = asyncio.create_task(asyncio.to_thread(person.decide, "ask", feedback="fine"))
    output = await run(graph, {}, answer=lambda value, decision: (value, decision.decision, decision.feedback))
    assert output["xs"] == [("Go on?", "approve", "fine")]
    await answering


class Model(GenericFakeChatModel):
    """A chat model that takes tools, and calls what its messages say."""

    def bind_tools(self, tools, **_):
        return self


def agent(mode, *, allowed=True):
    """A LangChain agent that wants to send two e-mails, and may not do so alone."""
    agents = pytest.importorskip("langchain.agents")
    middleware = pytest.importorskip("langchain.agents.middleware")
    tools = pytest.importorskip("langchain_core.tools")

    @tools.tool
    def send(to: str) -> str:
        """Send an e-mail."""
        return f"sent to {to}"

    calls = [{"name": "send", "args": {"to": to}, "id": to} for to in ("ana", "bob")]
    model = Model(messages=iter([AIMessage("", tool_calls=calls), AIMessage("done")]))
    human = middleware.HumanInTheLoopMiddleware(interrupt_on={"send": allowed}, interrupt_mode=mode)
    return agents.create_agent(model, [send], middleware=[human], checkpointer=InMemorySaver())


def tool_results(output):
    return {message.tool_call_id: message.text for message in output["messages"] if message.type == "tool"}


async def test_langchains_tool_approvals_are_recognised_all_at_once(run, person):
    node = "HumanInTheLoopMiddleware.after_model"
    edits = [{"to": "ana"}, {"to": "cyd"}]
    answering = asyncio.create_task(asyncio.to_thread(person.decide, node, "modify", value=edits))
    output = await run(agent("batched"), {"messages": [("user", "write to them")]})
    assert (await answering)["ok"]
    results = tool_results(output)
    assert results["ana"].endswith("sent to ana")
    assert results["bob"].endswith("sent to cyd")


async def test_langchains_tool_approvals_are_recognised_each_on_its_own(run, person):
    def answer():
        gates = [person.wait("human_gate_waiting"), person.wait("human_gate_waiting")]
        by_name = {gate["presentation"]["data"]["args"]["to"]: gate["gate_id"] for gate in gates}
        ask = "human_decision"
        person.ask(ask, node_id="tools", gate_id=by_name["ana"], decision="modify", value={"args": {"to": 7}})
        person.wait("error", code="invalid_answer")
        again = person.wait("human_gate_waiting", gate_id=by_name["ana"] + "+")
        person.ask(ask, node_id="tools", gate_id=again["gate_id"], decision="modify", value={"to": "cyd"})
        person.ask(ask, node_id="tools", gate_id=by_name["bob"], decision="reject", feedback="he is away")
        return gates

    answering = asyncio.create_task(asyncio.to_thread(answer))
    output = await run(
        agent("per_call", allowed={"allowed_decisions": ["edit", "reject"]}), {"messages": [("user", "x")]}
    )
    gates = await answering
    assert [gate["presentation"]["allowed"] for gate in gates] == [["reject", "modify"]] * 2
    results = tool_results(output)
    assert results["ana"].endswith("sent to cyd")
    assert "he is away" in results["bob"]
    state = await ended(person)
    assert state["nodes"]["tools"]["counts"] == {"completed": 2}


# --- Control


class Steps:
    """A graph of steps that wait to be let go, one by one."""

    def __init__(self, *names):
        self.entered = {name: asyncio.Event() for name in names}
        self.go = {name: asyncio.Event() for name in names}
        self.cancelled = []
        builder = StateGraph(State)
        for name in names:
            builder.add_node(name, self._step(name))
        for source, target in zip((START, *names), names, strict=False):
            builder.add_edge(source, target)
        self.graph = builder.compile(checkpointer=InMemorySaver())

    def _step(self, name):
        async def step(state):
            self.entered[name].set()
            try:
                await self.go[name].wait()
            except asyncio.CancelledError:
                self.cancelled.append(name)
                raise
            return {"xs": [name]}

        return step


@pytest.mark.clock
async def test_a_pause_takes_effect_between_supersteps(run, person):
    steps = []
    finish = asyncio.Event()

    async def step(state):
        steps.append("begun")
        await asyncio.sleep(0.001)
        steps.append("done")
        return {"n": 1}

    graph = graph_of(
        step,
        edges=[(START, "step")],
        conditional=[("step", lambda _: END if finish.is_set() else "step", ["step", END])],
        checkpointer=InMemorySaver(),
    )
    running = asyncio.create_task(run(graph, {}, config={"recursion_limit": 100_000}))
    await asyncio.to_thread(person.wait, "node_state", node_id="step", status="running")
    assert (await asyncio.to_thread(person.ask, "pause_execution"))["ok"]
    while person.state()["status"] != "paused":
        await asyncio.sleep(0.01)
    so_far = len(steps)
    assert steps[-1] == "done"
    await asyncio.sleep(0.05)
    assert len(steps) == so_far
    assert (await asyncio.to_thread(person.ask, "resume_execution"))["ok"]
    while len(steps) == so_far:
        await asyncio.sleep(0.01)
    finish.set()
    assert await running == {"n": 1, "xs": []}
    assert (await ended(person))["nodes"]["step"]["status"] == "completed"


@pytest.mark.clock
async def test_a_pause_may_be_taken_back_before_it_takes_effect(run, person):
    steps = Steps("one", "two")
    running = asyncio.create_task(run(steps.graph, {}))
    await steps.entered["one"].wait()
    await asyncio.to_thread(person.wait, "node_state", node_id="one", status="running")
    assert (await asyncio.to_thread(person.ask, "pause_execution"))["ok"]
    assert (await asyncio.to_thread(person.ask, "resume_execution"))["ok"]
    while person.state()["status"] != "running":
        await asyncio.sleep(0.01)
    for go in steps.go.values():
        go.set()
    assert await running == {"xs": ["one", "two"]}


async def test_cancelling_reaches_the_node_that_runs(run, person):
    steps = Steps("one")
    running = asyncio.create_task(run(steps.graph, {}))
    await steps.entered["one"].wait()
    await asyncio.to_thread(person.wait, "node_state", node_id="one", status="running")
    assert (await asyncio.to_thread(person.ask, "cancel_execution"))["ok"]
    with pytest.raises(dagwidget.RunCancelled):
        await running
    assert steps.cancelled == ["one"]
    state = await ended(person)
    assert (state["status"], state["nodes"]["one"]["status"]) == ("cancelled", "cancelled")


async def test_cancelling_at_a_gate_ends_the_run(run, person):
    graph = graph_of(ask, edges=[(START, "ask")], checkpointer=InMemorySaver())
    running = asyncio.create_task(run(graph, {}))
    await asyncio.to_thread(person.wait, "human_gate_waiting")
    assert (await asyncio.to_thread(person.ask, "cancel_execution"))["ok"]
    with pytest.raises(dagwidget.RunCancelled):
        await running
    assert (await ended(person))["status"] == "cancelled"


async def test_a_run_whose_task_is_cancelled_is_shown_as_cancelled(run, person):
    steps = Steps("one")
    running = asyncio.create_task(run(steps.graph, {}))
    await steps.entered["one"].wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await ended(person))["status"] == "cancelled"


async def test_a_node_may_jump_to_one_that_no_edge_names(run, person):
    def jump(state) -> Command:
        return Command(goto="b", update={"xs": ["jump"]})

    builder = StateGraph(State)
    builder.add_node("jump", jump)
    builder.add_node("b", b)
    builder.add_edge(START, "jump")
    assert await run(builder.compile(), {}) == {"xs": ["jump", "b"]}
    assert (await ended(person))["nodes"]["b"]["status"] == "completed"


async def test_an_agent_that_loops_for_ever_stops_at_its_budget(run, person):
    model = fake_model(*["again"] * 1000)
    thoughts = []

    async def think(state):
        thoughts.append((await model.ainvoke("x")).text)
        return {}

    # A call costs 0.0035 USD.
    graph = graph_of(
        think,
        edges=[(START, "think")],
        conditional=[("think", lambda _: "think", ["think", END])],
        checkpointer=InMemorySaver(),
    )
    config = {"configurable": {"thread_id": "1"}, "recursion_limit": 1000}
    running = asyncio.create_task(run(graph, {"n": 1}, budget=0.01, on_budget="gate", config=config))
    gate = await asyncio.to_thread(person.wait, "human_gate_waiting")
    answer = {"node_id": gate["node_id"], "decision": "reject"}
    assert (await asyncio.to_thread(lambda: person.ask("human_decision", **answer)))["ok"]
    with pytest.raises(RunCancelled):
        await running
    state = await ended(person)
    assert (state["status"], len(thoughts)) == ("cancelled", 3)
