"""Before a token goes to a port of this machine, the other side proves that it knows it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import dagwidget
from dagwidget import challenge, discovery
from dagwidget.discovery import Endpoint
from dagwidget.errors import ServerRefused, ServerUnreachable
from dagwidget.server.app import StreamServer
from dagwidget.server.auth.token_store import Tokens

# Far longer than anything takes: only a fault gets here.
PATIENCE = 20.0
OWN = "the-servers-own-token"


class Impostor:
    """A program that has taken a port, and remembers all that it is sent.

    Attributes:
        status: The status that it answers with.
        body: What it answers.
    """

    def __init__(self, port: int = 0) -> None:
        self.status, self.body = 404, b"nothing is here"
        self.heard: list[str] = []
        impostor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                impostor.heard.append(f"{self.path} {self.headers}")
                self.send_response(impostor.status)
                self.end_headers()
                self.wfile.write(impostor.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"ws://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def impostor() -> Iterator[Impostor]:
    impostor = Impostor()
    yield impostor
    impostor.close()


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    for name in ("DAGWIDGET_URL", "DAGWIDGET_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "runtime"


def refusal(request: urllib.request.Request) -> int:
    """The status with which a server refuses."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value:
        return caught.value.code


ANSWERS = [
    (404, b"nothing is here"),
    (200, b"hello"),
    (200, b"[]"),
    (200, b'{"proof": "guess"}'),
    (200, b'{"proof": 1}'),
    (200, b"{}"),
    (500, b""),
]


@pytest.mark.parametrize(("status", "body"), ANSWERS)
def test_another_program_is_not_taken_for_the_server(impostor, status, body):
    impostor.status, impostor.body = status, body
    with pytest.raises(ServerUnreachable, match="another program has taken the port"):
        challenge.check(impostor.url, OWN)
    assert OWN not in "".join(impostor.heard)


async def test_a_proof_of_before_proves_nothing():
    async with StreamServer(token=OWN) as server:
        asked, first = challenge.question(server.url, OWN)
        assert await asyncio.to_thread(challenge._get, asked) == (200, {"proof": first})
        _, second = challenge.question(server.url, OWN)
        assert second != first


async def test_a_server_proves_each_token_that_it_knows_and_no_other(tmp_path):
    tokens = Tokens(tmp_path / "tokens")
    _, given = tokens.create("vera", "view", now=1)
    async with StreamServer(token=OWN, tokens=tokens) as server:
        for token in (OWN, given):
            await asyncio.to_thread(challenge.check, server.url, token)
        with pytest.raises(ServerRefused, match="the token is wrong"):
            await asyncio.to_thread(challenge.check, server.url, "another")


@pytest.mark.parametrize(
    "query", ["", "?id=0&nonce=1", "?id=../../..&nonce=" + "0" * 64, "?id=????????&nonce=" + "0" * 64]
)
async def test_a_malformed_challenge_is_refused(query):
    async with StreamServer(token=OWN) as server:
        url = f"{server.url.replace('ws', 'http', 1)}{challenge.PATH}{query}"
        assert await asyncio.to_thread(refusal, urllib.request.Request(url)) == 400


async def test_a_page_that_may_connect_may_read_the_proof():
    async with StreamServer(token=OWN) as server:
        asked, expected = challenge.question(server.url, OWN)
        request = urllib.request.Request(asked, headers={"Origin": "http://localhost:8888"})
        with await asyncio.to_thread(urllib.request.urlopen, request) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:8888"
            assert json.load(answer) == {"proof": expected}
        request = urllib.request.Request(asked, headers={"Origin": "http://evil.example.org"})
        assert await asyncio.to_thread(refusal, request) == 403


@pytest.mark.parametrize(
    ("url", "needed"),
    [
        ("ws://127.0.0.1:1", True),
        ("ws://localhost:1/base", True),
        ("ws://[::1]:1", True),
        ("ws://LocalHost.:1", True),
        ("ws://127.0.0.2:1", True),
        ("ws://127.1:1", True),
        ("ws://2130706433:1", True),
        ("ws://0x7f.1:1", True),
        ("ws://0.0.0.0:1", True),
        ("ws://0:1", True),
        ("ws://[::]:1", True),
        ("ws://[0:0:0:0:0:0:0:1]:1", True),
        ("ws://[::ffff:127.0.0.1]:1", True),
        ("ws://[::ffff:0.0.0.0]:1", True),
        ("ws://10.0.0.1:1", False),
        ("ws://[::ffff:10.0.0.1]:1", False),
        ("ws://127.0.0.1.nip.io:1", False),
        ("wss://127.0.0.1:1", False),
        ("ws://dags:8899", False),
        ("wss://dags.example.org", False),
    ],
)
def test_a_server_on_this_machine_is_asked_and_elsewhere_tls_says_who_it_is(url, needed):
    assert challenge.is_needed(url) is needed


def test_what_took_the_port_and_the_pid_of_a_killed_server_is_sent_no_token(runtime, monkeypatch):
    endpoint = discovery.ensure_server()
    killed = json.loads(discovery.runtime_file().read_text())
    os.kill(killed["pid"], signal.SIGKILL)
    os.waitpid(killed["pid"], 0)
    impostor = Impostor(int(endpoint.url.rpartition(":")[2]))
    # Whoever takes the pid too, and answers as a server would.
    discovery.runtime_file().write_text(json.dumps({**killed, "pid": os.getpid()}))
    impostor.status, impostor.body = 200, json.dumps({"status": "ok", "protocol": 1, "pid": os.getpid()}).encode()
    try:
        assert discovery.find() is None
        found = discovery.ensure_server()
        assert (found.url, found.token) != endpoint
        os.kill(json.loads(discovery.runtime_file().read_text())["pid"], signal.SIGTERM)
    finally:
        impostor.close()
    assert impostor.heard
    assert endpoint.token not in "".join(impostor.heard)


async def test_neither_client_nor_publisher_nor_a_read_sends_its_token_to_another_program(impostor):
    run = dagwidget.start_run("dag", ["a"], url=impostor.url, token=OWN)
    async with dagwidget.connect("dag", url=impostor.url, token=OWN) as client:
        deadline = time.monotonic() + PATIENCE
        while not (client.connection.phase == "waiting" and run._channel._transport._failure):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert "another program has taken the port" in client.connection.reason
        assert "another program has taken the port" in run._channel._transport._failure
        with pytest.raises(ServerUnreachable, match="another program has taken the port"):
            await asyncio.to_thread(dagwidget.runs, "dag", url=impostor.url, token=OWN)
    run._channel.close()
    assert {line.split("?")[0] for line in impostor.heard} == {challenge.PATH}
    assert OWN not in "".join(impostor.heard)


async def test_who_says_that_it_does_not_know_the_token_ends_nobody_for_good(caplog):
    impostor = Impostor()
    impostor.status, impostor.body = 200, b'{"proof": null}'
    run = dagwidget.start_run("dag", ["a"], url=impostor.url, token=OWN)
    async with dagwidget.connect("dag", url=impostor.url, token=OWN) as client:
        await _until(lambda: client.connection.phase == "waiting" and run._channel._transport._failure)
        for said in (client.connection.reason, run._channel._transport._failure, caplog.text):
            assert "the token is wrong, or another program has taken the port" in said
        impostor.close()
        async with StreamServer(token=OWN, port=int(impostor.url.rpartition(":")[2])):
            await _until(lambda: "a" in client.state.nodes)
            assert await asyncio.to_thread(run.flush, PATIENCE)
            assert run.refused is None


async def _until(ready: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not ready():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_does_not_end_is_not_waited_for(monkeypatch, head):
    monkeypatch.setattr(challenge, "_ANSWER_SECONDS", 0.5)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            peer, _ = listener.accept()
            with peer, contextlib.suppress(OSError):
                peer.sendall(head)
                while not over.wait(0.05):
                    peer.sendall(b" ")

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        watchdog = threading.Timer(PATIENCE, over.set)
        watchdog.start()
        try:
            with pytest.raises(TimeoutError):
                challenge.check(f"ws://127.0.0.1:{listener.getsockname()[1]}", OWN)
            assert not over.is_set()
        finally:
            watchdog.cancel()
            over.set()
            thread.join()


def test_a_page_is_told_what_to_ask_and_what_to_hear():
    asked, expected = challenge.question("ws://127.0.0.1:1/base/", OWN)
    assert asked.startswith(f"http://127.0.0.1:1/base{challenge.PATH}?id=")
    assert OWN not in asked + expected
    assert Endpoint("ws://127.0.0.1:1").token is None
