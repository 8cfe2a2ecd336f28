"""Several runs of one DAG, engines that go and come back, and decisions from Python, in a real JupyterLab."""

import json
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

import dagwidget
from dagwidget.protocol.limits import Limits
from tests.proxy import CutProxy
from tests.serving import serving

from .lab import notebook

SLOW = 30_000

# A page that has not reported itself for two seconds is not used: on a slow machine that may happen at any time.
DECIDE = """
import asyncio, time
async def live():
    while not any(page.phase == "live" and time.monotonic() - page.at < 1 for page in w._bridge._pages.values()):
        await asyncio.sleep(0.02)
await asyncio.wait_for(live(), 60)
sent = w.decide("review", "approve", feedback="from Python")
await sent
"""

WIDGET = """
import dagwidget
w = dagwidget.DAGStreamWidget("dag", url={url!r}, token={token!r})
w
"""


@pytest.fixture
def server():
    with serving(limits=Limits(gone_seconds=1.0)) as server:
        yield server


@pytest.fixture
def begin(server):
    """Begins a run that is at a gate."""
    runs = []

    def begin(name, url=server.url):
        run = dagwidget.start_run("dag", nodes=["review"], name=name, url=url, token=server.token)
        runs.append(run)
        return run, run.gate("review", title=f"Ship {name}?")

    yield begin
    for run in runs:
        run.close()


@pytest.fixture
def opened(lab, browser, server, tmp_path):
    """Opens a notebook with these cells after the widget's own, which is displayed."""
    books = []

    def opened(*cells):
        widget = WIDGET.format(url=server.url, token=server.token)
        book = lab.open(browser, notebook(tmp_path / "runs.ipynb", widget, *cells))
        books.append(book)
        return book.__enter__()

    yield opened
    for book in books:
        book.__exit__(None, None, None)


def line(widget, text):
    return expect(widget.locator(".dw-runs-open")).to_have_text(text, timeout=SLOW)


def shows(widget, title):
    expect(widget.get_by_role("heading", name=title)).to_be_visible(timeout=SLOW)


def test_another_of_two_live_runs_is_picked_in_one_view_and_decided_there(begin, opened):
    _, old = begin("v7")
    book = opened("w")
    book.run(0)
    one = book.page.locator(".dagwidget").first
    shows(one, "Ship v7?")
    expect(one.locator(".dw-runs")).to_be_hidden()
    _, new = begin("v8")
    line(one, "run 1 of 2 · 2 live · 1 decision waits elsewhere")
    expect(one.get_by_role("button", name="A newer run began: show v8")).to_be_visible()
    book.run(1)
    two = book.page.locator(".dagwidget").nth(1)
    shows(two, "Ship v7?")

    one.locator(".dw-runs-open").click()
    runs = one.get_by_role("listbox", name="Runs of dag")
    expect(runs.get_by_role("option")).to_have_count(3)
    expect(runs.get_by_role("option", name="Follow the newest")).to_have_attribute("aria-selected", "true")
    runs.get_by_role("option", name="v8").last.click()
    shows(one, "Ship v8?")
    line(one, "run 2 of 2 · 2 live · 1 decision waits elsewhere")
    line(two, "run 1 of 2 · 2 live · 1 decision waits elsewhere")
    shows(two, "Ship v7?")

    one.get_by_role("button", name="Approve", exact=True).click()
    assert new.result(timeout=30).decision == "approve"
    line(two, "run 1 of 2 · 2 live")
    shows(two, "Ship v7?")
    two.get_by_role("button", name="Reject", exact=True).click()
    assert old.result(timeout=30).decision == "reject"
    assert book.problems == []


def test_a_run_is_picked_with_the_keyboard_and_a_past_one_is_read_only(begin, opened):
    past, _ = begin("v6")
    past.complete({})
    begin("v7")
    book = opened()
    book.run(0)
    widget = book.page.locator(".dagwidget")
    shows(widget, "Ship v7?")
    line(widget, "run 2 of 2 · 1 live")
    widget.locator(".dw-surface").focus()
    book.page.keyboard.press("n")
    for key in ("End", "Enter"):
        book.page.keyboard.press(key)
    expect(widget.get_by_text("past run, read-only")).to_be_visible(timeout=SLOW)
    expect(widget.locator(".dw-word")).to_have_text("Completed")
    expect(widget.get_by_role("button", name="Cancel", exact=True)).to_have_attribute("aria-disabled", "true")
    expect(widget.locator(".dw-runs-open")).to_be_focused()
    for key in ("Enter", "Home", "Enter"):
        book.page.keyboard.press(key)
    shows(widget, "Ship v7?")
    assert book.problems == []


def test_a_run_that_the_kernel_begins_is_shown_at_once_and_one_of_others_is_not(begin, opened, server):
    begin("v7")
    starts = f"run = dagwidget.start_run('dag', nodes=['mine'], name='v8', url={server.url!r}, token={server.token!r})"
    book = opened(starts, "w.follow(None)\nw.run_id == run.run_id")
    book.run(0)
    widget = book.page.locator(".dagwidget")
    shows(widget, "Ship v7?")
    book.run(1)
    line(widget, "run 2 of 2 · 2 live · 1 decision waits elsewhere")
    begin("v9")
    line(widget, "run 2 of 3 · 3 live · 2 decisions wait elsewhere")
    expect(widget.get_by_role("button", name="A newer run began: show v9")).to_be_visible()
    book.run(2)
    assert "True" in book.text(2)
    assert book.problems == []


def test_an_engine_that_is_gone_is_told_of_and_goes_on_when_it_is_back(begin, opened, server):
    proxy = CutProxy(urlsplit(server.url).port)
    try:
        _, gate = begin("v7", f"ws://127.0.0.1:{proxy.port}")
        book = opened()
        book.run(0)
        widget = book.page.locator(".dagwidget")
        shows(widget, "Ship v7?")
        engine = widget.locator(".dw-engine")
        expect(engine).to_be_hidden()
        proxy.cut()
        expect(engine).to_contain_text("engine gone since", timeout=SLOW)
        for name in ("Pause", "Cancel"):
            button = widget.get_by_role("button", name=name, exact=True)
            expect(button).to_have_attribute("aria-disabled", "true")
            expect(button).to_have_attribute("title", "The engine is gone since " + engine.inner_text()[-5:] + ".")
        expect(widget.get_by_role("button", name="Give up", exact=True)).to_be_visible()
        expect(widget.get_by_text("The engine is away: your decision waits for it.")).to_be_visible()
        elapsed = widget.locator(".dw-elapsed").inner_text()
        book.page.wait_for_timeout(2_500)
        assert widget.locator(".dw-elapsed").inner_text() == elapsed
        widget.get_by_role("button", name="Approve", exact=True).click()
        expect(widget.get_by_role("heading", name="Ship v7?")).to_be_hidden(timeout=SLOW)
        proxy.open()
        assert gate.result(timeout=60).decision == "approve"
        expect(engine).to_be_hidden(timeout=SLOW)
        expect(widget.get_by_role("button", name="Pause", exact=True)).to_have_attribute("aria-disabled", "false")
        assert book.problems == []
    finally:
        proxy.close()


def test_a_person_gives_up_a_run_whose_engine_is_gone(begin, opened, server):
    proxy = CutProxy(urlsplit(server.url).port)
    try:
        begin("v7", f"ws://127.0.0.1:{proxy.port}")
        book = opened()
        book.run(0)
        widget = book.page.locator(".dagwidget")
        shows(widget, "Ship v7?")
        proxy.cut()
        widget.get_by_role("button", name="Give up", exact=True).click(timeout=SLOW)
        widget.get_by_role("button", name="Give up the run", exact=True).click()
        expect(widget.locator(".dw-word")).to_have_text("Cancelled", timeout=SLOW)
        expect(widget.locator(".dw-engine")).to_be_hidden()
        assert book.problems == []
    finally:
        proxy.close()


def test_a_decision_from_python_is_a_frame_on_the_connection_of_the_page(begin, opened):
    run, gate = begin("v7")
    book = opened(DECIDE)
    frames = []

    def listen(socket):
        if "/api/dags/dag/stream" in socket.url:
            socket.on("framesent", lambda payload: frames.append(json.loads(payload)))

    book.page.on("websocket", listen)
    book.run(0)
    shows(book.page.locator(".dagwidget"), "Ship v7?")
    book.run(1)
    answer = gate.result(timeout=30)
    assert (answer.decision, answer.feedback) == ("approve", "from Python")
    (decision,) = [frame for frame in frames if frame["type"] == "human_decision"]
    assert (decision["run_id"], decision["source"], decision["node_id"]) == (run.run_id, "python", "review")
    assert book.problems == []
