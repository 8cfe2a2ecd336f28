"""The widget's connection in a real browser: cut, plain servers, plain clients."""

import json
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

import dagwidget
from tests.proxy import CutProxy
from tests.serving import serving

from .lab import notebook

PLAIN_SERVER = Path(__file__).parents[2] / "js" / "tests" / "plain-server.mjs"
SLOW = 30_000

WIDGET = """
import dagwidget
w = dagwidget.DAGStreamWidget({dag_id!r}, url={url!r}, token={token!r})
seqs = []
w.on_event(lambda event: seqs.append(event.seq))
w
"""


@pytest.fixture
def proxy_to():
    proxies = []

    def start(url: str) -> tuple[CutProxy, str]:
        proxy = CutProxy(urlsplit(url).port)
        proxies.append(proxy)
        return proxy, f"ws://127.0.0.1:{proxy.port}"

    yield start
    for proxy in proxies:
        proxy.close()


def test_a_cut_is_seen_as_reconnecting_and_nothing_is_missing_or_twice(lab, browser, tmp_path, proxy_to):
    with serving() as server:
        proxy, url = proxy_to(server.url)
        cell = WIDGET.format(dag_id="cut", url=url, token=server.token)
        ending = (
            "results = await w.complete(timeout=60)\n[results, seqs == list(range(seqs[0], seqs[-1] + 1)), seqs[-1]]"
        )
        book_path = notebook(tmp_path / "cut.ipynb", cell, ending)
        with (
            dagwidget.start_run("cut", nodes=["a", "b"], edges=[("a", "b")], url=server.url, token=server.token) as run,
            lab.open(browser, book_path) as book,
        ):
            book.run(0)
            widget = book.page.locator(".dagwidget")
            expect(widget.get_by_text("live", exact=True)).to_be_visible(timeout=SLOW)
            with run.node("a") as node:
                for i in range(50):
                    node.log(f"line {i}")
                run.flush(10)
                proxy.cut()
                expect(widget.get_by_text("reconnecting")).to_be_visible(timeout=SLOW)
                for i in range(50, 100):
                    node.log(f"line {i}")
                run.flush(10)
            proxy.open()
            expect(widget.get_by_text("live", exact=True)).to_be_visible(timeout=SLOW)
            with run.node("b"):
                pass
            run.complete({"lines": 100})
            book.start(1)
            said = book.wait_for_text(1, "lines")
            assert "True" in said
            assert book.problems == []


def test_the_widget_follows_a_whole_run_on_a_plain_server(lab, browser, tmp_path):
    plain = subprocess.Popen(["node", str(PLAIN_SERVER)], stdout=subprocess.PIPE, text=True)
    try:
        port = int(plain.stdout.readline().strip().rsplit(":", 1)[-1].split()[-1])
        cell = WIDGET.format(dag_id="plain", url=f"ws://127.0.0.1:{port}", token=None)
        book_path = notebook(
            tmp_path / "plain.ipynb", cell, "results = await w.complete(timeout=60)\nresults, w.status"
        )
        with lab.open(browser, book_path) as book:
            book.run(0)
            widget = book.page.locator(".dagwidget")
            expect(widget.get_by_role("button", name="Approve", exact=True)).to_be_visible(timeout=SLOW)
            expect(widget.get_by_text("no resume on this server")).to_be_visible()
            widget.get_by_role("button", name="Approve", exact=True).click()
            book.start(1)
            book.wait_for_text(1, "completed")
            assert book.problems == []
    finally:
        plain.kill()
        plain.communicate()


# A client that knows the seven events and nothing else: no subprotocol, no hello, no seq.
PLAIN_CLIENT = """
(url) => new Promise((resolve, reject) => {
  const KNOWN = [
    "node_state", "edge_active", "dag_mutated", "cost_update", "execution_complete", "human_gate_waiting", "error",
  ];
  const seen = [];
  const socket = new WebSocket(url);
  socket.onerror = () => reject(new Error("socket error"));
  socket.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (Array.isArray(event)) return reject(new Error("a plain client was sent a batch"));
    if (event.type === "command_ack") return;
    if (!KNOWN.includes(event.type)) return reject(new Error("a plain client was sent " + event.type));
    seen.push(event);
    if (event.type === "human_gate_waiting") {
      const { node_id } = event;
      socket.send(JSON.stringify({ type: "human_decision", id: crypto.randomUUID(), node_id, decision: "approve" }));
    }
    if (event.type === "execution_complete") resolve(seen);
  };
})
"""


def test_a_plain_client_follows_a_whole_run_and_decides_its_gate(browser, tmp_path):
    (tmp_path / "page.html").write_text("<title>plain</title>")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with serving(auth=False) as server, ThreadingHTTPServer(("127.0.0.1", 0), handler) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        decided = []

        def engine() -> None:
            with dagwidget.start_run(
                "plain", nodes=["a", "ask"], edges=[("a", "ask")], budget=1.0, url=server.url
            ) as run:
                with run.node("a") as node:
                    node.cost(0.25)
                    node.output(rows=3)
                decided.append(run.gate("ask", title="Go on?").result(timeout=30))
                run.complete({"ok": True})

        thread = threading.Thread(target=engine)
        page = browser.new_page()
        try:
            thread.start()
            page.goto(f"http://127.0.0.1:{pages.server_port}/page.html")
            events = page.evaluate(PLAIN_CLIENT, f"{server.url}/api/dags/plain/stream")
        finally:
            thread.join()
            page.close()
            pages.shutdown()
        assert decided[0].decision == "approve"
        assert {"dag_mutated", "node_state", "cost_update", "human_gate_waiting"} <= {event["type"] for event in events}
        states = [(event["node_id"], event["status"]) for event in events if event["type"] == "node_state"]
        assert ("a", "completed") in states
        assert json.dumps(events[-1]["results"]) == '{"ok": true}'


def test_a_kernel_that_was_restarted_finds_the_run_where_it_is(lab, browser, tmp_path):
    with serving() as server:
        cell = WIDGET.format(dag_id="restart", url=server.url, token=server.token)
        ending = (
            "await w.wait_for('review', timeout=60)\nawait w.decide('review', 'approve')\nawait w.complete(timeout=60)"
        )
        book_path = notebook(tmp_path / "restart.ipynb", cell, ending)
        with (
            dagwidget.start_run("restart", nodes=["a", "review"], url=server.url, token=server.token) as run,
            lab.open(browser, book_path) as book,
        ):
            book.run(0)
            widget = book.page.locator(".dagwidget")
            expect(widget.get_by_text("live", exact=True)).to_be_visible(timeout=SLOW)
            book.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
            with run.node("a") as node:
                node.output("while there was no kernel")
            decision = run.gate("review", title="Ship it?")
            book.run(0)
            expect(widget.get_by_text("Ship it?").first).to_be_visible(timeout=SLOW)
            book.start(1)
            assert decision.result(60).decision == "approve"
            run.complete({"shipped": True})
            assert "shipped" in book.wait_for_text(1, "shipped")
            assert book.problems == []
