"""The handshake of Python's client and publisher: the token goes to the server that was named, and to no other."""

import asyncio
import contextlib
import json
import threading
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

import dagwidget
from dagwidget import challenge
from dagwidget import protocol as p
from dagwidget.client.state_machine import StateMachine
from dagwidget.discovery import Endpoint
from dagwidget.handshake import is_same_server, refusal
from dagwidget.publisher.transport import Transport, forget_all

# Far longer than anything takes: only a fault gets here.
PATIENCE = 20.0


class Front:
    """A server that notes what it is shown, and answers each connection as the test says, from a thread of its own."""

    def __init__(self, handle=None, respond=None) -> None:
        self.shown: list[str | None] = []
        self.said: list[str] = []
        self.changed = threading.Condition()
        self._handle, self._respond = handle, respond
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self):
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(PATIENCE)
        self.url = f"ws://127.0.0.1:{self.port}"
        return self

    async def _open(self) -> int:
        self._server = await serve(self._serve, "127.0.0.1", 0, process_request=self._answer)
        return next(iter(self._server.sockets)).getsockname()[1]

    def __exit__(self, *_):
        async def close():
            self._server.close()
            await self._server.wait_closed()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def note(self, what: list, item) -> None:
        with self.changed:
            what.append(item)
            self.changed.notify_all()

    def wait(self, there) -> None:
        with self.changed:
            assert self.changed.wait_for(there, PATIENCE)

    def _answer(self, _connection, request):
        url = urlsplit(request.path)
        if url.path.endswith(challenge.PATH):
            # It knows the token: else it would never be sent it.
            (nonce,) = parse_qs(url.query)["nonce"]
            proof = challenge.proof(challenge.key_of("secret"), nonce)
            return response(HTTPStatus.OK, json.dumps({"proof": proof}))
        self.note(self.shown, request.headers.get("Authorization"))
        return self._respond(request) if self._respond is not None else None

    async def _serve(self, connection):
        with contextlib.suppress(Exception):
            async for frame in connection:
                self.note(self.said, frame)
                if self._handle is not None:
                    await self._handle(connection, len(self.said))


def response(status: HTTPStatus, body: str = "", **headers: str) -> Response:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status.value, status.phrase, Headers(fields | {"Content-Length": str(len(body))}), body.encode())


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Waits a tenth of a second before each attempt."""
    monkeypatch.setattr("dagwidget.publisher.transport.backoff", lambda _failures: 0.1)
    monkeypatch.setattr("dagwidget.publisher.transport._CLOSE_SECONDS", 0.0)
    monkeypatch.setattr(
        "dagwidget.client.client.StateMachine", lambda run: StateMachine(lambda _failures: 0.1, run=run)
    )


@contextlib.contextmanager
def speaking(kind: str, url: str):
    """A client or a publisher that connects to `url`."""
    if kind == "client":
        with dagwidget.connect("dag", url=url, token="secret") as client:
            yield client
    else:
        transport = Transport("dag", lambda: Endpoint(url, "secret"), start=p.RunStart(), epoch="run")
        transport.open(receive=lambda _event: None, abandon=lambda: None)
        try:
            yield transport
        finally:
            # Nothing is delivered here, and nobody is to be told so at exit.
            forget_all()
            transport.close()


both = pytest.mark.parametrize("kind", ["client", "publisher"])


@both
def test_the_token_travels_in_the_handshake_and_in_the_first_message(kind):
    with Front() as front, speaking(kind, front.url):
        front.wait(lambda: front.said)
        assert front.shown[0] == "Bearer secret"
        assert '"token":"secret"' in front.said[0]


@both
def test_a_redirect_to_another_server_is_not_followed(kind):
    with Front() as other:
        away = f"http://127.0.0.1:{other.port}/"
        moved = response(HTTPStatus.FOUND, Location=away)
        with Front(respond=lambda _request: moved) as front, speaking(kind, front.url):
            # It tries again, and never elsewhere.
            front.wait(lambda: len(front.shown) > 2)
        assert (other.shown, other.said) == ([], [])


@both
def test_a_redirect_on_the_same_server_is_followed_with_the_token(kind):
    def respond(request):
        return None if request.path == "/moved" else response(HTTPStatus.FOUND, Location="/moved")

    with Front(respond=respond) as front, speaking(kind, front.url):
        front.wait(lambda: front.said)
        assert front.shown[:2] == ["Bearer secret", "Bearer secret"]


def test_a_request_does_not_take_the_token_to_another_server_either():
    with Front(respond=lambda _request: response(HTTPStatus.OK, "{}")) as other:
        away = f"http://127.0.0.1:{other.port}/"
        with Front(respond=lambda _request: response(HTTPStatus.FOUND, Location=away)) as front:
            with pytest.raises(dagwidget.errors.ServerUnreachable, match="redirects to another server"):
                dagwidget.runs("dag", url=front.url, token="secret")
            assert front.shown == ["Bearer secret"]
        assert other.shown == []


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("ws://a:1/x", True),
        ("http://a:1/y", True),
        ("wss://a:1/x", False),
        ("ws://a:2/x", False),
        ("ws://b:1/x", False),
        ("ws://a/x", False),
    ],
)
def test_a_server_is_its_host_its_port_and_whether_it_is_secure(url, same):
    assert is_same_server("ws://a:1/", url) is same


@pytest.mark.parametrize(
    ("status", "headers", "bye"),
    [
        (HTTPStatus.UNAUTHORIZED, {"Dagwidget_Code": "4401"}, (4401, False, None)),
        (HTTPStatus.UNAUTHORIZED, {"Dagwidget_Code": "4005"}, (4005, True, None)),
        (HTTPStatus.FORBIDDEN, {"Dagwidget_Code": "4403"}, (4403, False, None)),
        # A proxy's own: it may pass.
        (HTTPStatus.UNAUTHORIZED, {}, None),
        (HTTPStatus.FORBIDDEN, {}, None),
        (HTTPStatus.TOO_MANY_REQUESTS, {"Retry_After": "7"}, (4429, True, 7000)),
        (HTTPStatus.SERVICE_UNAVAILABLE, {}, (4429, True, None)),
        (HTTPStatus.BAD_REQUEST, {}, None),
        (HTTPStatus.BAD_GATEWAY, {}, None),
    ],
)
def test_an_http_answer_means_as_much_as_a_bye_where_it_says_why(status, headers, bye):
    said = refusal(InvalidStatus(response(status, "because", **headers)))
    assert (said and (said.code, said.retry, said.after_ms)) == bye
    assert said is None or "because" in said.reason


def test_an_http_status_of_no_standard_is_one_that_may_pass():
    answer = Response(521, "Web Server Is Down", Headers({"Content-Length": "0"}), b"")
    assert refusal(InvalidStatus(answer)) is None


@both
def test_who_is_refused_in_the_handshake_gives_up_and_says_why(kind):
    refused = response(HTTPStatus.UNAUTHORIZED, "the token is wrong", Dagwidget_Code="4401")
    with Front(respond=lambda _request: refused) as front:
        with speaking(kind, front.url) as speaker:
            front.wait(lambda: front.shown)
            if kind == "client":
                with pytest.raises(dagwidget.errors.ServerRefused, match="the token is wrong") as refused:
                    asyncio.run(speaker.synced(PATIENCE))
                assert refused.value.code == 4401
            else:
                speaker.join(PATIENCE)
                assert "the token is wrong" in speaker.refused
        assert front.shown == ["Bearer secret"]


@both
@pytest.mark.parametrize("code", [1000, 1001, 4401])
def test_a_close_code_without_a_bye_is_retried(kind, code):
    async def close(connection, _count):
        await connection.close(code)

    with Front(handle=close) as front, speaking(kind, front.url):
        front.wait(lambda: len(front.said) > 2)


@both
def test_a_bye_is_final_if_it_says_so(kind):
    async def leave(connection, _count):
        await connection.send(p.encode(p.Bye(code=4403, reason="not you", retry=False)).decode())

    with Front(handle=leave) as front, speaking(kind, front.url) as speaker:
        front.wait(lambda: front.said)
        if kind == "client":
            with pytest.raises(dagwidget.errors.ServerRefused, match="not you"):
                asyncio.run(speaker.synced(PATIENCE))
        else:
            speaker.join(PATIENCE)
            assert "not you" in speaker.refused
        assert len(front.said) == 1
