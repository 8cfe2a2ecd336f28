"""`StreamServer`: rooms over the `websockets` library. Every rule is in `room` and `session`; here are the sockets."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import getpass
import logging
import math
import os
import ssl
import time
from collections.abc import Collection
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from .. import challenge
from .. import protocol as p
from ..clock import clock, now_ms
from ..protocol.close_codes import CODE_HEADER
from ..protocol.limits import Limits
from .auth.access import Access, bearer
from .auth.door import Door
from .auth.grant import EXPIRED, WRONG, Authorize, Grant
from .auth.token_store import Tokens
from .broadcaster import close
from .http_api import HttpApi
from .room import Refused, Room
from .room_registry import NotKept, Rooms
from .routing import Route, route
from .run_list import RunList
from .sessions.base import Session
from .sessions.overview import OverviewSession, RunLists
from .sessions.plain import PlainSession
from .sessions.publisher import PublisherSession
from .sessions.viewer import ViewerSession
from .socket import Socket, ping_for_ever, sockets_of
from .storage.event_store import Journal
from .storage.faults import Unavailable

_log = logging.getLogger("dagwidget")

_TOO_MANY: Final = "too many came from this address"
_FULL: Final = "too many connections: try again later"


class StreamServer:
    """One room per DAG, that engines publish to and viewers follow. An async context manager.

    Args:
        host: The interface to listen on.
        port: The port; a free one when 0.
        token: What clients must show to have every right; None lets in anybody who can connect.
        tokens: Those that were given out, each with its rights.
        origins: Pages that may connect, beside those of this machine.
        hosts: Names that this server is called by, beside the loopback ones.
        limits: Every bound.
        tls: A context with a certificate, for `wss`.
        user: Whose decisions the token's holder makes, in the audit trail; by default the user of this process.
        journal: Where runs are kept, such as a `SqliteJournal`; in memory only when absent. Whoever made it closes it.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        tokens: Tokens | None = None,
        origins: Collection[str] = (),
        hosts: Collection[str] = (),
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        user: str | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._host, self._port, self._tls = host, port, tls
        self._access = Access(
            token,
            user=user or _user(),
            tokens=tokens,
            origins=origins,
            hosts=hosts,
        )
        self._door = Door(self.limits)
        self._rooms = Rooms(self.limits, journal)
        self._api = HttpApi(self._rooms)
        self._server: Server | None = None
        self._ticking: asyncio.Task[None] | None = None
        # What everybody is told once the server stops, who comes in just then too.
        self._bye: p.Bye | None = None
        self._busy = time.monotonic()
        self._ready = asyncio.Event()
        self.idle = asyncio.Event()
        """Set once nobody has been connected for `limits.idle_seconds`."""

    async def __aenter__(self) -> StreamServer:
        await self.listen()
        await self._rooms.start()
        self._ready.set()
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def listen(self) -> None:
        """Open the port, so that `url` is known. Until the server is entered it answers only whether it is there.

        Raises:
            OSError: The port can't be opened.
        """
        if self._server is not None:
            return
        self._server = await serve(
            self._serve,
            self._host,
            self._port,
            process_request=self._answer,  # type: ignore[arg-type]
            create_connection=sockets_of(self._door, self.limits),
            select_subprotocol=_subprotocol,
            ssl=self._tls,
            # Deflate costs several times the CPU, and tens of KiB a connection; batches are small as they are.
            compression=None,
            max_size=self.limits.publish_bytes,
            # A ping of the library waits behind what a stalled client has not read; ours are messages.
            ping_interval=None,
            close_timeout=self.limits.close_seconds,
            server_header=None,
        )

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End every connection and close the port."""
        if self._ticking is not None:
            self._ticking.cancel()
        self._bye = p.Bye(code=4000, reason="the server restarts", retry=True, after_ms=1000)
        self._rooms.stop(self._bye)
        if self._server is not None:
            self._door.shut(self._bye)
            self._server.close(close_connections=False)
            await self._rooms.closed()
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The base URL, such as `ws://127.0.0.1:8899`."""
        assert self._server is not None
        port = next(iter(self._server.sockets)).getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'wss' if self._tls else 'ws'}://{host}:{port}"

    # --- HTTP

    async def _answer(self, connection: Socket, request: Request) -> Response | None:
        """Answer a plain GET, or refuse a handshake; None lets it through."""
        headers = request.headers
        host, url = headers.get("Host"), urlsplit(request.path)
        path = url.path
        problem = self._access.refuse_host(host) or self._access.refuse_origin(headers.get("Origin"), host)
        if problem is not None:
            return _refused(connection, HTTPStatus.FORBIDDEN, problem, 4403)
        if path.endswith("/healthz"):
            return _json({"status": "ok", "protocol": p.PROTOCOL, "pid": os.getpid()})
        if path.endswith(challenge.PATH):
            return self._prove(connection, headers.get("Origin"), dict(parse_qsl(url.query)))
        await self._ready.wait()
        connection.opened_at = now_ms()
        try:
            to = route(path)
        except ValueError as error:
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{error}\n")
        token = bearer(headers.get("Authorization"))
        grant = self._access.authorize(token, to and (to.dag_id or None))
        refusal = self._refuse_token(connection, token, grant)
        if refusal is not None:
            return refusal
        if grant is not None:
            self._door.leave(connection)
        if to is not None and to.is_socket:
            return self._refuse_socket(connection, headers, to)
        if grant is None:
            return _refused(connection, HTTPStatus.UNAUTHORIZED, "the token is missing: Authorization: Bearer …", 4401)
        try:
            if to is not None and to.what == "dags":
                dags = await self._api.dags()
                return _json([dag for dag in dags if self._access.permits(token, dag["dag_id"])])
            body = None if to is None else await self._api.answer(to, dict(parse_qsl(url.query)))
        except ValueError as error:
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{error}\n")
        except NotKept as error:
            return connection.respond(HTTPStatus.GONE, f"{error}\n")
        except (Refused, Unavailable) as error:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n")
        return connection.respond(HTTPStatus.NOT_FOUND, f"nothing is here: {path}\n") if body is None else _body(body)

    def _prove(self, connection: Socket, origin: str | None, query: dict[str, str]) -> Response:
        try:
            answer = self._access.prove(query.get("id", ""), query.get("nonce", ""))
        except ValueError as error:
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{error}\n")
        response = _json(answer)
        response.headers["Cache-Control"] = "no-store"
        if origin is not None:
            # A page that may connect may read it.
            response.headers["Access-Control-Allow-Origin"] = origin
        return response

    def _refuse_socket(self, connection: ServerConnection, headers: Headers, to: Route) -> Response | None:
        if "websocket" not in headers.get("Upgrade", "").lower():
            return connection.respond(HTTPStatus.UPGRADE_REQUIRED, "this is a WebSocket endpoint\n")
        try:
            if to.what != "overview":
                p.check_dag_id(to.dag_id)
        except ValueError as error:
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{error}\n")
        if self._is_full:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{_FULL}\n")
        return None

    @property
    def _is_full(self) -> bool:
        return sum(1 for _ in self._rooms.sessions) >= self.limits.connections

    def _refuse_token(self, connection: Socket, token: str | None, grant: Grant | None) -> Response | None:
        """Turn away who presents a token that is not valid. Only these are told to wait, never who has a valid one."""
        if token is not None and grant is None:
            wait = self._door.failed(connection.address)
            if wait == 0:
                return _refused(connection, HTTPStatus.UNAUTHORIZED, WRONG, 4401)
            response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, f"{WRONG}; {_TOO_MANY}\n")
            response.headers["Retry-After"] = str(math.ceil(wait))
            return response
        if grant is not None and grant.is_over(now_ms()):
            # Another token may be good: the client is to renew it, and not to give up.
            return _refused(connection, HTTPStatus.UNAUTHORIZED, EXPIRED, 4005)
        return None

    # --- Sockets

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        assert isinstance(connection, Socket)
        to = route(urlsplit(connection.request.path).path)
        assert to is not None
        token = bearer(connection.request.headers.get("Authorization"))
        plain = connection.subprotocol != p.SUBPROTOCOL
        first: str | bytes | None = None
        if self._access.authorize(token, to.dag_id or None) is None:
            # Until it has authenticated it has a session, which knows the rules, but no DAG, no room and no log.
            stranger = self._session(connection, to, Room(to.dag_id, self.limits), plain=plain)
            first = await self._first_frame(connection, stranger)
            if first is None:
                return
        elif plain and to.what == "stream":
            first = await self._early_frame(connection)
        dag = self._rooms.dag(to.dag_id)
        session = self._session(connection, to, dag.lobby, token, plain=plain, runs=dag.runs)
        self._rooms.connect(connection, session, dag)
        if self._bye is not None:
            self._rooms.stop(self._bye)
        pings: asyncio.Task[None] | None = None
        if isinstance(session, PlainSession):
            pings = asyncio.create_task(ping_for_ever(connection, self.limits))
        try:
            if first is not None:
                await self._rooms.receive(connection, session, dag, first)
            async for frame in connection:
                await self._rooms.receive(connection, session, dag, frame)
        except ConnectionClosed:
            pass
        finally:
            if pings is not None:
                pings.cancel()
            self._rooms.leave(connection, session, dag)

    def _session(
        self,
        connection: Socket,
        to: Route,
        lobby: Room,
        token: str | None = None,
        *,
        plain: bool,
        runs: RunList | None = None,
    ) -> Session:
        now = connection.opened_at
        authorize: Authorize = functools.partial(self._access.authorize, dag_id=to.dag_id or None)
        if to.what == "overview":
            lists: RunLists = self._rooms.run_lists if runs is not None else tuple
            return OverviewSession(lobby, authorize, now, token, lists=lists, permits=self._access.permits)
        if to.what == "publish":
            kind: type[Session] = PublisherSession
        else:
            kind = PlainSession if plain else ViewerSession
        return kind(lobby, authorize, now, token, run_id=to.run_id, runs=runs)

    async def _early_frame(self, connection: ServerConnection) -> str | bytes | None:
        """What a viewer that offered no subprotocol says at once: its `hello`, if it is no plain one.

        A plain client's events would be taken for those of a plain server.
        """
        with contextlib.suppress(TimeoutError, ConnectionClosed):
            async with asyncio.timeout(self.limits.plain_seconds):
                return await connection.recv()
        return None

    async def _first_frame(self, connection: Socket, stranger: Session) -> str | bytes | None:
        """The frame with which a client has authenticated; None where it has not, and was told why."""
        frame: str | bytes = ""
        try:
            async with asyncio.timeout(self.limits.hello_seconds):
                while stranger.grant is None and stranger.ended is None:
                    frame = await connection.recv()
                    stranger.receive(frame, now_ms())
        except ConnectionClosed:
            return None
        except TimeoutError:
            reason = f"no hello in {self.limits.hello_seconds:g} s"
            stranger.stop(p.Bye(code=4408, reason=reason, retry=True))
        if stranger.ended is None and self._is_full:
            stranger.stop(p.Bye(code=4429, reason=_FULL, retry=True, after_ms=5000))
        if stranger.ended is None:
            self._door.leave(connection)
            return frame
        if stranger.ended.code == 4401:
            wait = self._door.failed(connection.address)
            if wait > 0:
                reason = f"{stranger.ended.reason}; {_TOO_MANY}"
                stranger.stop_instead(p.Bye(code=4429, reason=reason, retry=True, after_ms=math.ceil(wait * 1000)))
        assert stranger.ended is not None
        with contextlib.suppress(ConnectionClosed):
            while (answer := stranger.pull(now_ms())) is not None:
                await connection.send(answer, text=True)
        await close(connection, stranger.ended, self.limits.close_seconds)
        return None

    async def _tick(self) -> None:
        limits = self.limits
        seconds = (limits.hello_seconds, limits.heartbeat_seconds, limits.dead_seconds, limits.stalled_seconds)
        ahead = 0
        while True:
            await asyncio.sleep(min(1.0, *seconds) / 2)
            if abs(clock.ahead() - ahead) >= 1000:
                ahead = clock.ahead()
                _log.warning(
                    "the machine's clock was set, and is %+.0f s off from this server's, which goes on as before:"
                    " connections and deadlines last as long as they would have. A restart takes the new time",
                    -ahead / 1000,
                )
            self._rooms.tick(now_ms())
            if any(self._rooms.sessions):
                self._busy = time.monotonic()
            elif time.monotonic() - self._busy > limits.idle_seconds:
                self.idle.set()


def _subprotocol(_connection: ServerConnection, offered: Any) -> Any:
    """Our own where it is offered; a plain client offers none, and is welcome."""
    return p.SUBPROTOCOL if p.SUBPROTOCOL in offered else None


def _refused(connection: ServerConnection, status: HTTPStatus, text: str, code: int) -> Response:
    """A refusal that names the close code which it means, so that nobody takes a proxy's answer for the server's."""
    response = connection.respond(status, f"{text}\n")
    response.headers[CODE_HEADER] = str(code)
    return response


def _json(value: object) -> Response:
    return _body(p.encode_value(value))


def _body(body: bytes) -> Response:
    headers = Headers(
        {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"},
    )
    return Response(HTTPStatus.OK.value, HTTPStatus.OK.phrase, headers, body)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "operator"
