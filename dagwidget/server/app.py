"""`StreamServer`: rooms over the `websockets` library. Every rule is in `room` and `session`; here are the sockets."""

from __future__ import annotations

import asyncio
import functools
import getpass
import math
import os
import ssl
import time
from collections.abc import Collection
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from .. import protocol as p
from ..discovery import LOOPBACK
from ..protocol.limits import Limits
from .auth.access import Access, bearer
from .auth.grant import EXPIRED, WRONG, Authorize, Grant
from .auth.login_backoff import Strangers
from .auth.token_store import Tokens
from .http_api import HttpApi
from .room import Refused
from .room_registry import NotKept, Rooms, now_ms
from .routing import Route, route
from .sessions.base import Session
from .sessions.plain import PlainSession
from .sessions.publisher import PublisherSession
from .sessions.viewer import ViewerSession
from .storage.event_store import Journal


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
        public = host not in LOOPBACK
        self._access = Access(
            token,
            user=user or _user(),
            tokens=tokens,
            origins=origins,
            hosts=hosts,
            any_host=public and token is not None,
        )
        self._strangers = Strangers(self.limits)
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
            process_request=self._answer,
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

    async def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a plain GET, or refuse a handshake; None lets it through."""
        headers = request.headers
        host, url = headers.get("Host"), urlsplit(request.path)
        path = url.path
        problem = self._access.refuse_host(host) or self._access.refuse_origin(headers.get("Origin"), host)
        if problem is not None:
            return connection.respond(HTTPStatus.FORBIDDEN, problem + "\n")
        if path.endswith("/healthz"):
            return _json({"status": "ok", "protocol": p.PROTOCOL, "pid": os.getpid()})
        await self._ready.wait()
        try:
            to = route(path)
        except ValueError as error:
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{error}\n")
        token = bearer(headers.get("Authorization"))
        grant = self._access.authorize(token, to and (to.dag_id or None))
        refusal = await self._refuse_stranger(connection, token, grant)
        if refusal is not None:
            return refusal
        if to is not None and to.is_socket:
            return self._refuse_socket(connection, headers, to)
        if grant is None:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "the token is missing: Authorization: Bearer …\n")
        if to is not None and to.what == "dags":
            dags = await self._api.dags()
            return _json([dag for dag in dags if self._access.authorize(token, dag["dag_id"]) is not None])
        try:
            body = None if to is None else await self._api.answer(to, dict(parse_qsl(url.query)))
        except ValueError as error:
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{error}\n")
        except NotKept as error:
            return connection.respond(HTTPStatus.GONE, f"{error}\n")
        except Refused as error:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n")
        return connection.respond(HTTPStatus.NOT_FOUND, f"nothing is here: {path}\n") if body is None else _body(body)

    def _refuse_socket(self, connection: ServerConnection, headers: Headers, to: Route) -> Response | None:
        if "websocket" not in headers.get("Upgrade", "").lower():
            return connection.respond(HTTPStatus.UPGRADE_REQUIRED, "this is a WebSocket endpoint\n")
        try:
            p.check_dag_id(to.dag_id)
        except ValueError as error:
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{error}\n")
        sessions = list(self._rooms.sessions)
        strangers = sum(not session.ready for session in sessions)
        if len(sessions) >= self.limits.connections or strangers >= self.limits.unauthenticated:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections: try again later\n")
        return None

    async def _refuse_stranger(
        self, connection: ServerConnection, token: str | None, grant: Grant | None
    ) -> Response | None:
        """Turn away who shows a token that is not good; after many of these, all of the same address wait a while."""
        if not await self._strangers.turn(_address(connection)):
            response = connection.respond(
                HTTPStatus.TOO_MANY_REQUESTS, "too many wrong tokens came from this address\n"
            )
            response.headers["Retry-After"] = str(math.ceil(self._strangers.wait(_address(connection))))
            return response
        if token is not None and grant is None:
            self._strangers.failed(_address(connection))
            return connection.respond(HTTPStatus.UNAUTHORIZED, f"{WRONG}\n")
        if grant is not None and grant.is_over(now_ms()):
            return connection.respond(HTTPStatus.UNAUTHORIZED, f"{EXPIRED}\n")
        return None

    # --- Sockets

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        to = route(urlsplit(connection.request.path).path)
        assert to is not None
        authorize: Authorize = functools.partial(self._access.authorize, dag_id=to.dag_id)
        if to.what == "publish":
            kind: type[Session] = PublisherSession
        else:
            kind = ViewerSession if connection.subprotocol == p.SUBPROTOCOL else PlainSession
        token = bearer(connection.request.headers.get("Authorization"))
        dag = self._rooms.dag(to.dag_id)
        session = kind(dag.lobby, authorize, now_ms(), token, run_id=to.run_id, runs=dag.runs)
        self._rooms.connect(connection, session, dag)
        if self._bye is not None:
            self._rooms.stop(self._bye)
        try:
            async for frame in connection:
                await self._rooms.receive(connection, session, dag, frame)
        except ConnectionClosed:
            pass
        finally:
            if session.ended is not None and session.ended.code == 4401:
                self._strangers.failed(_address(connection))
            self._rooms.leave(connection, session, dag)

    async def _tick(self) -> None:
        limits = self.limits
        seconds = (limits.hello_seconds, limits.heartbeat_seconds, limits.dead_seconds, limits.stalled_seconds)
        while True:
            await asyncio.sleep(min(1.0, *seconds) / 2)
            self._rooms.tick(now_ms())
            if any(self._rooms.sessions):
                self._busy = time.monotonic()
            elif time.monotonic() - self._busy > limits.idle_seconds:
                self.idle.set()


def _subprotocol(_connection: ServerConnection, offered: Any) -> Any:
    """Our own where it is offered; a plain client offers none, and is welcome."""
    return p.SUBPROTOCOL if p.SUBPROTOCOL in offered else None


def _json(value: object) -> Response:
    return _body(p.encode_value(value))


def _body(body: bytes) -> Response:
    headers = Headers(
        {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"},
    )
    return Response(HTTPStatus.OK.value, HTTPStatus.OK.phrase, headers, body)


def _address(connection: ServerConnection) -> str:
    remote = connection.remote_address
    return str(remote[0]) if remote else ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "operator"
