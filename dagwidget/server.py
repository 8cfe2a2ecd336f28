"""`StreamServer`: rooms over the `websockets` library. Every rule is in `room` and `session`; here are the sockets."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import re
import ssl
import time
from collections.abc import Collection
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from . import protocol as p
from .auth import Access, bearer
from .limits import Limits
from .local import LOOPBACK
from .room import Room
from .session import PlainSession, PublisherSession, Role, Session, ViewerSession

_SOCKET_PATH: Final = re.compile(r"^(?P<base>/.*?|)/api/dags/(?P<dag_id>[^/]+)/(?P<endpoint>stream|publish)$")
_STATE_PATH: Final = re.compile(r"^(?P<base>/.*?|)/api/dags/(?P<dag_id>[^/]+)$")
# How long a peer has to answer a close frame; one that does not read never does.
_CLOSE_SECONDS: Final = 2.0


class StreamServer:
    """One room per DAG, that engines publish to and viewers follow. An async context manager.

    Args:
        host: The interface to listen on.
        port: The port; a free one when 0.
        token: What clients must show; None lets in anybody who can connect.
        origins: Pages that may connect, beside those of this machine.
        hosts: Names that this server is called by, beside the loopback ones.
        limits: Every bound.
        tls: A context with a certificate, for `wss`.
        user: Whose decisions the token's holder makes, in the audit trail; by default the user of this process.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        origins: Collection[str] = (),
        hosts: Collection[str] = (),
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        user: str | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._host, self._port, self._tls = host, port, tls
        public = host not in LOOPBACK
        self._access = Access(token, origins=origins, hosts=hosts, any_host=public and token is not None)
        self._user = user or _user()
        self._audiences: dict[str, _Audience] = {}
        self._server: Server | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._busy = time.monotonic()
        self.idle = asyncio.Event()
        """Set once nobody has been connected for `limits.idle_seconds`."""

    async def __aenter__(self) -> StreamServer:
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
            close_timeout=_CLOSE_SECONDS,
            server_header=None,
        )
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
        bye = p.Bye(code=4000, reason="the server restarts", retry=True, after_ms=1000)
        for audience in list(self._audiences.values()):
            audience.stop(bye)
        if self._server is not None:
            self._server.close(close_connections=False)
            await asyncio.wait_for(self._gone(), None)
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The base URL, such as `ws://127.0.0.1:8899`."""
        assert self._server is not None
        port = next(iter(self._server.sockets)).getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'wss' if self._tls else 'ws'}://{host}:{port}"

    async def _gone(self) -> None:
        while connections := [each for audience in self._audiences.values() for each in audience.members]:
            await asyncio.wait([asyncio.create_task(each.wait_closed()) for each in connections])

    # --- HTTP

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a plain GET, or refuse a handshake; None lets it through."""
        headers = request.headers
        host, path = headers.get("Host"), urlsplit(request.path).path
        problem = self._access.refuse_host(host) or self._access.refuse_origin(headers.get("Origin"), host)
        if problem is not None:
            return connection.respond(HTTPStatus.FORBIDDEN, problem + "\n")
        if path.endswith("/healthz"):
            return _json({"status": "ok", "protocol": p.PROTOCOL, "pid": os.getpid()})
        role, wrong = self._role(headers)
        if wrong is not None:
            return connection.respond(HTTPStatus.UNAUTHORIZED, wrong + "\n")
        if _SOCKET_PATH.match(path):
            return self._refuse_socket(connection, headers, path)
        if role is None:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "the token is missing: Authorization: Bearer …\n")
        if path.endswith("/api/dags"):
            return _json([audience.summary() for audience in self._audiences.values()])
        found = _STATE_PATH.match(path)
        audience = self._audiences.get(unquote(found["dag_id"])) if found else None
        if audience is None:
            return connection.respond(HTTPStatus.NOT_FOUND, f"nothing is here: {path}\n")
        return _json({**audience.summary(), "state": audience.room.state.to_dict()})

    def _refuse_socket(self, connection: ServerConnection, headers: Headers, path: str) -> Response | None:
        found = _SOCKET_PATH.match(path)
        assert found is not None
        if "websocket" not in headers.get("Upgrade", "").lower():
            return connection.respond(HTTPStatus.UPGRADE_REQUIRED, "this is a WebSocket endpoint\n")
        try:
            p.check_dag_id(unquote(found["dag_id"], errors="strict"))
        except ValueError as error:
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{error}\n")
        members = [session for audience in self._audiences.values() for session in audience.members.values()]
        strangers = sum(not session.ready for session in members)
        if len(members) >= self.limits.connections or strangers >= self.limits.unauthenticated:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections: try again later\n")
        if unquote(found["dag_id"]) not in self._audiences and not self._make_room():
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "too many DAGs are under way: try again later\n")
        return None

    def _role(self, headers: Headers) -> tuple[Role | None, str | None]:
        """The role that came with the request, and what is wrong with its token."""
        token = bearer(headers.get("Authorization"))
        role = self._access.authorize(token)
        return role, "the token is wrong" if token is not None and role is None else None

    # --- Sockets

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        found = _SOCKET_PATH.match(urlsplit(connection.request.path).path)
        assert found is not None
        audience = self._audience(unquote(found["dag_id"]))
        role, _ = self._role(connection.request.headers)
        if found["endpoint"] == "publish":
            kind: type[Session] = PublisherSession
        else:
            kind = ViewerSession if connection.subprotocol == p.SUBPROTOCOL else PlainSession
        session = kind(audience.room, self._access.authorize, self._user, _now(), role)
        audience.join(connection, session)
        try:
            async for frame in connection:
                session.receive(frame, _now())
                audience.heard(connection)
        except ConnectionClosed:
            pass
        finally:
            audience.leave(connection)
            if audience.empty and not audience.room.epoch:
                self._audiences.pop(audience.room.dag_id, None)
                audience.close()

    def _audience(self, dag_id: str) -> _Audience:
        audience = self._audiences.get(dag_id)
        if audience is None:
            audience = self._audiences[dag_id] = _Audience(Room(dag_id, self.limits))
        return audience

    def _make_room(self) -> bool:
        """Forget the oldest run that is over and that nobody watches, where there are too many; False if none is."""
        if len(self._audiences) < self.limits.rooms:
            return True
        for dag_id, audience in self._audiences.items():
            if audience.empty and not audience.room.under_way:
                audience.close()
                del self._audiences[dag_id]
                return True
        return False

    async def _tick(self) -> None:
        limits = self.limits
        seconds = (limits.hello_seconds, limits.heartbeat_seconds, limits.dead_seconds, limits.stalled_seconds)
        while True:
            await asyncio.sleep(min(1.0, *seconds) / 2)
            now = _now()
            for audience in list(self._audiences.values()):
                audience.tick(now)
            if any(not audience.empty for audience in self._audiences.values()):
                self._busy = time.monotonic()
            elif time.monotonic() - self._busy > limits.idle_seconds:
                self.idle.set()


class _Audience:
    """Everybody who is connected to one room, and the task that tells them what is new."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.members: dict[ServerConnection, Session] = {}
        # Since when a connection's transport has taken nothing.
        self._choked: dict[ServerConnection, int] = {}
        self._closing: set[asyncio.Task[None]] = set()
        # Where the log stood when everybody was last told.
        self._told = ("", 0)
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._flush_for_ever())

    @property
    def empty(self) -> bool:
        return not self.members

    def summary(self) -> dict[str, Any]:
        """What a list of DAGs says of this one."""
        room = self.room
        return {
            "dag_id": room.dag_id,
            "epoch": room.epoch,
            "status": room.state.status,
            "seq": room.head,
            "nodes": len(room.state.nodes),
            "gates": len(room.state.gates),
            "viewers": sum(not isinstance(session, PublisherSession) for session in self.members.values()),
        }

    def join(self, connection: ServerConnection, session: Session) -> None:
        self.members[connection] = session
        self._tell([connection])

    def leave(self, connection: ServerConnection) -> None:
        session = self.members.pop(connection)
        self._choked.pop(connection, None)
        if isinstance(session, PublisherSession):
            session.leave()

    def heard(self, connection: ServerConnection) -> None:
        """A client said something: answer it at once, and let the others know what is new."""
        self._tell([connection])
        if self._told != (self.room.epoch, self.room.head):
            self._news.set()

    def tick(self, now: int) -> None:
        for connection, session in list(self.members.items()):
            session.tick(now)
            choked = self._choked.get(connection)
            if choked is not None and now - choked > self.room.limits.stalled_seconds * 1000:
                connection.transport.abort()
        self._tell(list(self.members))

    def stop(self, bye: p.Bye) -> None:
        self._task.cancel()
        for session in self.members.values():
            session.stop(bye)
        self._tell(list(self.members))

    def close(self) -> None:
        self._task.cancel()

    async def _flush_for_ever(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            self._told = (self.room.epoch, self.room.head)
            self._tell(list(self.members))
            # While the room is busy, what comes in this time goes out as one frame.
            await asyncio.sleep(self.room.limits.flush_seconds)
            if self._choked:
                self._news.set()

    def _tell(self, connections: list[ServerConnection]) -> None:
        """Send what each may have, in rounds: who is to get the same frame gets it in one go."""
        now = _now()
        while connections:
            frames: dict[int, tuple[bytes, list[ServerConnection]]] = {}
            for connection in connections:
                frame = self._pull(connection, now)
                if frame is not None:
                    frames.setdefault(id(frame), (frame, []))[1].append(connection)
            for frame, receivers in frames.values():
                broadcast(receivers, frame, text=True)
            connections = [connection for _, receivers in frames.values() for connection in receivers]

    def _pull(self, connection: ServerConnection, now: int) -> bytes | None:
        session = self.members.get(connection)
        if session is None:
            return None
        if connection.transport.get_write_buffer_size() > self.room.limits.window_bytes and session.ended is None:
            self._choked.setdefault(connection, now)
            return None
        self._choked.pop(connection, None)
        frame = session.pull(now)
        if frame is None and session.ended is not None:
            self._close(connection, session)
        return frame

    def _close(self, connection: ServerConnection, session: Session) -> None:
        assert session.ended is not None
        if session.abort:
            connection.transport.abort()
            return
        task = asyncio.create_task(_close(connection, session.ended))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _close(connection: ServerConnection, bye: p.Bye) -> None:
    reason = bye.reason.encode()[:120].decode("utf-8", "ignore")
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(connection.close(bye.code, reason), _CLOSE_SECONDS)
        return
    connection.transport.abort()


def _subprotocol(_connection: ServerConnection, offered: Any) -> Any:
    """Our own where it is offered; a plain client offers none, and is welcome."""
    return p.SUBPROTOCOL if p.SUBPROTOCOL in offered else None


def _json(value: object) -> Response:
    body = p.encode_value(value)
    headers = Headers(
        {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"},
    )
    return Response(HTTPStatus.OK.value, HTTPStatus.OK.phrase, headers, body)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "operator"
