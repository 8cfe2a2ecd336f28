"""Every example in a docstring runs, and every public function has one.

How to write one: a Google style section at the end of the docstring, as a person would type it in a notebook.

    Example:
        >>> gate = run.gate("review", title="Ship it?")
        >>> decision = await gate
        >>> decision.decision
        'approve'

- Lines start with `>>>`, or `...` where they continue; then comes the output, in which `...` stands for anything.
- `await`, `async with` and `async for` work at the top level, as they do in a notebook.
- The DAG is `"my-dag"`. A server of the example's own runs, and `DAGWIDGET_URL` and `DAGWIDGET_TOKEN` name it.
- A name that the example uses without making it comes from `NAMES` below (`run`, `node`, `client`, `w` …): add what you
  need there, as an async context manager.
- A person approves each gate of `"my-dag"`, unless the example contains `.decide(`: then it decides by itself.

Examples run whether the function is public or not. Public functions are those in the `__all__` of a package, and the
public methods of the classes there. `UNFINISHED` names the packages that still lack examples: take yours out.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import importlib
import inspect
import io
import pkgutil
import sys
import threading
import traceback
import types
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import dagwidget
from dagwidget import protocol as p
from dagwidget.client.state_machine import Batch
from dagwidget.server.storage.sqlite import SqliteJournal

from .front_end import DrawingPage
from .serving import Served, serving

UNFINISHED = {
    "dagwidget.server",
    "dagwidget.state",
}

# They are commands, not functions to call.
COMMANDS = {"dagwidget.cli", "dagwidget.demo"}

ROOT = Path(dagwidget.__file__).parent
# Far longer than anything takes.
PATIENCE = 20.0


# --- What examples may use without making it


Names = dict[str, Any]


class Scene:
    """The names of one example, each made when it is first asked for."""

    def __init__(self, server: Served, *, approved: bool) -> None:
        self.server = server
        self.approved = approved
        self.names: Names = {"dagwidget": dagwidget}
        self._stack = AsyncExitStack()

    async def get(self, name: str) -> Any:
        if name not in self.names:
            self.names[name] = await self._stack.enter_async_context(NAMES[name](self))
        return self.names[name]

    async def __aenter__(self) -> Scene:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        for value in self.names.values():
            if isinstance(value, dagwidget.DAGStreamWidget):
                value.close()
            if isinstance(value, dagwidget.Run):
                value.complete()
        # Nothing is left that would look for a server once this one is gone.
        for name in ("simulation-my-dag", "dagwidget-my-dag"):
            for thread in [thread for thread in threading.enumerate() if thread.name == name]:
                await asyncio.to_thread(thread.join, PATIENCE)
                assert not thread.is_alive(), f"{name} goes on after the example"


@asynccontextmanager
async def a_run(_scene: Scene) -> AsyncIterator[dagwidget.Run]:
    """A run that is under way."""
    run = dagwidget.start_run("my-dag", ["extract", "train", "review"], [("extract", "train"), ("train", "review")])
    assert run.flush(PATIENCE)
    yield run


@asynccontextmanager
async def a_node(scene: Scene) -> AsyncIterator[Any]:
    """A node that is running."""
    with (await scene.get("run")).node("train") as node:
        yield node


@asynccontextmanager
async def a_client(scene: Scene) -> AsyncIterator[dagwidget.StreamClient]:
    """A client that is connected, with a run to follow that has asked at `review`; where a person approves, it has."""
    run = await scene.get("run")
    run.gate("review", title="Ship it?")
    assert run.flush(PATIENCE)
    async with dagwidget.connect("my-dag") as client:
        await client.synced(PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while scene.approved and client.state.gates:
                await asyncio.sleep(0.01)
        yield client


@asynccontextmanager
async def a_widget(scene: Scene) -> AsyncIterator[dagwidget.DAGStreamWidget]:
    """A widget that is displayed, with a run to follow that is known to it."""
    run = await scene.get("run")
    widget = dagwidget.DAGStreamWidget("my-dag")
    DrawingPage(widget)
    await widget._client.wait(lambda: widget.run_id == run.run_id and bool(widget.runs), PATIENCE, "the run")
    yield widget
    widget.close()


NAMES: dict[str, Callable[[Scene], contextlib.AbstractAsyncContextManager[Any]]] = {
    "client": a_client,
    "node": a_node,
    "run": a_run,
    "w": a_widget,
}


@contextlib.contextmanager
def a_person_who_approves() -> Iterator[None]:
    with dagwidget.connect("my-dag") as person:

        def approve(batch: Batch) -> None:
            for event in batch.events:
                if isinstance(event, p.HumanGateWaiting):
                    person.decide(event.node_id, "approve", gate_id=event.gate_id)

        person.on_batch(approve)
        yield


# --- Finding them


class Documented(NamedTuple):
    """A docstring with an example."""

    name: str
    file: str
    line: int
    text: str


def docstrings() -> Iterator[Documented]:
    for path in sorted(ROOT.rglob("*.py")):
        file = path.relative_to(ROOT.parent).as_posix()
        yield from _docstrings_in(ast.parse(path.read_text(encoding="utf-8")), file, "")


def _docstrings_in(node: ast.AST, file: str, inside: str) -> Iterator[Documented]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, documented):
        inside = f"{inside}{'.' if inside else ''}{getattr(node, 'name', '')}"
        text = ast.get_docstring(node)
        if text is not None:
            yield Documented(inside, file, node.body[0].lineno, text)
    for child in ast.iter_child_nodes(node):
        yield from _docstrings_in(child, file, inside)


ALL = [*docstrings()]
EXAMPLES = [each for each in ALL if ">>>" in each.text]


def packages() -> Iterator[types.ModuleType]:
    for module in pkgutil.walk_packages(dagwidget.__path__, "dagwidget."):
        if module.ispkg and module.name not in COMMANDS:
            package = importlib.import_module(module.name)
            if hasattr(package, "__all__"):
                yield package
    yield dagwidget


def public_functions() -> Iterator[Any]:
    """Each public function, and each public method of a public class."""
    for package in packages():
        for name in package.__all__:
            value = getattr(package, name)
            members = inspect.getmembers_static(value) if inspect.isclass(value) else [(name, value)]
            for attribute, member in members:
                ours = inspect.isfunction(member) and member.__module__.startswith("dagwidget.")
                if ours and not attribute.startswith("_"):
                    yield member


PUBLIC = {f"{each.__module__}.{each.__qualname__}": each for each in public_functions()}


# --- Running them


async def run_example(documented: Documented, scene: Scene) -> None:
    parts = doctest.DocTestParser().get_examples(documented.text, documented.name)
    tree = ast.parse("".join(part.source for part in parts))
    named = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    made = {name.id for name in named if isinstance(name.ctx, ast.Store)}
    for name in sorted({name.id for name in named} - made):
        if name in NAMES:
            await scene.get(name)
    for part in parts:
        line = documented.line + part.lineno
        got = await _output_of(part.source, f"{documented.file}, line {line}", scene.names)
        want = part.want if part.exc_msg is None else part.exc_msg
        if not doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS):
            pytest.fail(f"{documented.file}:{line}: {part.source.strip()}\nprints\n{got}\nnot\n{want}", pytrace=False)


async def _output_of(source: str, place: str, names: Names) -> str:
    """What a statement prints; the last line of the traceback where it raises."""
    code = compile(source, f"<{place}>", "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "displayhook", lambda value: None if value is None else print(repr(value)))
        try:
            coroutine = types.FunctionType(code, names)()
            if inspect.iscoroutine(coroutine):
                await coroutine
        except (Exception, dagwidget.RunCancelled) as error:
            return traceback.format_exception_only(error)[-1]
    return printed.getvalue()


@pytest.mark.parametrize("documented", EXAMPLES, ids=[f"{each.file}:{each.name}" for each in EXAMPLES])
async def test_an_example_runs(documented, monkeypatch, tmp_path):
    journal = SqliteJournal(tmp_path / "runs.sqlite3")
    with contextlib.closing(journal), serving(journal=journal) as server, contextlib.ExitStack() as stack:
        monkeypatch.setenv("DAGWIDGET_URL", server.url)
        monkeypatch.setenv("DAGWIDGET_TOKEN", server.token)
        approved = ".decide(" not in documented.text
        if approved:
            stack.enter_context(a_person_who_approves())
        async with Scene(server, approved=approved) as scene:
            await run_example(documented, scene)


def test_there_are_examples():
    assert EXAMPLES


def test_an_example_section_holds_an_example():
    sections = [each for each in ALL if {"Example:", "Examples:"} & set(each.text.splitlines())]
    assert [f"{each.file}:{each.line}" for each in sections if ">>>" not in each.text] == []


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_function_has_an_example(name):
    if not any(name.startswith(f"{package}.") for package in UNFINISHED):
        assert ">>>" in (PUBLIC[name].__doc__ or ""), f"add an `Example:` to the docstring of {name}: see {__file__}"
