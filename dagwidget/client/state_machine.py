"""`Conversation`: a viewer's side of the wire, as states and transitions. Sans-I/O: no sockets, no clock, no tasks.

The shell around it hands in what happens, with the time (`now`, seconds of any clock that only goes forward), does what
`take` tells it to, and calls `tick` when it is `due`. Backoff and resume are those of the browser, `js/src/stream.ts`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from .. import protocol as p
from ..backoff import backoff
from ..errors import ProtocolError
from ..state import DagState, reduce
from .outbox import Outbox, exact, refusal, too_late

Phase: TypeAlias = Literal["idle", "connecting", "greeting", "syncing", "live", "waiting", "stopped"]

TRANSITIONS: Final[dict[Phase, tuple[Phase, ...]]] = {
    "idle": ("connecting", "stopped"),
    "connecting": ("greeting", "waiting", "stopped"),
    "greeting": ("syncing", "live", "waiting", "stopped"),
    "syncing": ("greeting", "syncing", "live", "waiting", "stopped"),
    "live": ("greeting", "syncing", "waiting", "stopped"),
    "waiting": ("connecting", "stopped"),
    "stopped": (),
}
"""Which phase may follow which. A plain server is `live` at once; `greeting` comes again after a gap."""

# Times in seconds.
_ANSWER: Final = 5.0
_DEAD: Final = 25.0
_STABLE: Final = 5.0
_ACK: Final = 1.0
# A token is renewed so long before it expires, or when half of its time is over where it has less.
_RENEW: Final = 60.0
_RENEW_AT_ALL: Final = 1.0
# A tick this late means that we slept, or were kept from running: the silence says nothing.
_LATE: Final = 1.0

_ACK_FRAMES: Final = 64
_ACK_BYTES: Final = 256 * 1024
# What a server takes as long as it has not said otherwise.
_FRAME_BYTES: Final = 64 * 1024

_FINAL_CODES: Final = {row.code: row for row in p.CLOSE_CODES if not row.retry}

_Timer: TypeAlias = Literal["answer", "retry", "stable", "silence", "ack", "renew"]


class Connection(Struct, frozen=True, kw_only=True):
    """How a conversation stands.

    Attributes:
        phase: `waiting`: until `retry_at`. `stopped`: for good.
        resumable: False on a plain server: what happens during a cut is lost. None until known.
        role: What the token permits.
        attempt: How many attempts there were.
        retry_at: When the next attempt starts.
        seen_at: When the last frame came: how old the state is.
        code: The close code with which the last connection ended.
        reason: Why it ended.
    """

    phase: Phase = "idle"
    resumable: bool | None = None
    role: str | None = None
    attempt: int = 0
    retry_at: float | None = None
    seen_at: float | None = None
    code: int | None = None
    reason: str | None = None


class Connect(Struct, frozen=True):
    """Find the server, and open a socket to it."""


class Renew(Struct, frozen=True):
    """Ask for a token anew, and hand it in with `renewed`."""


class Send(Struct, frozen=True):
    """Send a text frame."""

    frame: bytes


class Disconnect(Struct, frozen=True):
    """Let go of the socket, or of the attempt to open one: what it still says is nobody's."""


class Batch(Struct, frozen=True, kw_only=True):
    """Events that were applied; after a `reset`, to an empty state. `after` and `seq`: the cursor before and after."""

    epoch: str | None
    after: int
    seq: int
    reset: bool
    events: list[p.Event]


Output: TypeAlias = Connect | Renew | Send | Disconnect | Batch | p.CommandAck


class _CatchUp(Struct):
    """What arrives between `sync` and `synced`, held until it is whole."""

    epoch: str
    reset: bool
    events: list[p.Event]


class Conversation:
    """One viewer's conversation with a server, over any number of connections.

    Attributes:
        state: What the run has come to; another object after a reset, when the new state is whole.
        connection: How it stands; another object whenever that changed.
    """

    def __init__(self, wait: Callable[[int], float] = backoff) -> None:
        """`wait` gives the seconds before the next attempt after so many failures in a row."""
        self.state = DagState()
        self.connection = Connection()
        self._wait = wait
        self._outputs: list[Output] = []
        self._outbox = Outbox()
        self._timers: dict[_Timer, float] = {}
        self._token: str | None = None
        self._expires_at = 0.0
        # None until the server has said something that tells.
        self._v1: bool | None = None
        # A server that spoke v1 once is not taken for a plain one when it fails to answer.
        self._spoke_v1 = False
        self._failures = 0
        self._heard = 0.0
        self._catch_up: _CatchUp | None = None
        # Events of this frame that are applied together.
        self._fresh: list[p.Event] = []
        self._frame_limit = _FRAME_BYTES
        self._acknowledged = 0
        self._unacknowledged_frames = 0
        self._unacknowledged_bytes = 0

    @property
    def phase(self) -> Phase:
        return self.connection.phase

    @property
    def due(self) -> float | None:
        """When `tick` is to be called; None where only something from outside can happen."""
        return min(self._timers.values(), default=None)

    @property
    def pending(self) -> list[p.AnyCommand]:
        """Commands that the server has not answered."""
        return [pending.command for pending in self._outbox.pending()]

    def take(self) -> list[Output]:
        """What there is to do, in this order; each is given once."""
        outputs, self._outputs = self._outputs, []
        return outputs

    # --- Inputs

    def start(self) -> None:
        """Begin, where it has not begun."""
        if self.phase == "idle":
            self._connect()

    def opening(self, token: str | None, now: float) -> None:
        """The server was found; a socket to it is being opened."""
        if self.phase == "connecting":
            self._token = token
            self._timers["answer"] = now + _ANSWER

    def renewed(self, token: str | None, now: float) -> None:
        """A token was asked for, and is None where nobody could give it; another one is shown to the server at once."""
        if self.phase not in ("syncing", "live") or not self._v1:
            return
        if token in (None, self._token):
            self._renew_before(self._expires_at, now)
        else:
            self._token = token
            self._greet(now)

    def opened(self, now: float, *, v1: bool = True) -> None:
        """The socket is open; `v1` says whether the server took our subprotocol."""
        if self.phase != "connecting":
            return
        self._v1 = None
        self._greet(now)
        if not v1 and not self._spoke_v1:
            self._become_plain(now)

    def receive(self, frame: str | bytes, now: float) -> None:
        """Take a frame from the server."""
        if self.phase not in ("greeting", "syncing", "live"):
            return
        self._heard = now
        self._set(seen_at=now)
        try:
            messages = p.decode_server(frame)
        except ProtocolError as error:
            self._lose(now, str(error), 4400)
            return
        if self._v1 is None and messages and not isinstance(messages[0], (p.Welcome, p.Bye)):
            # One that turns us away says so before any welcome, and must not be handed the outbox as a plain one is.
            if self._spoke_v1:
                self._lose(now, "no welcome")
                return
            self._become_plain(now)
        for message in messages:
            self._take(message, now)
            if self.phase in ("waiting", "stopped"):
                return
        self._apply()
        self._count(len(frame), now)

    def closed(self, code: int | None, reason: str | None, now: float) -> None:
        """The socket was closed, or could not be opened."""
        if self.phase not in ("connecting", "greeting", "syncing", "live"):
            return
        if code in _FINAL_CODES:
            self._stop(code, reason or _FINAL_CODES[code].meaning)
        else:
            self._lose(now, reason, code)

    def send(self, command: p.AnyCommand) -> None:
        """Send a command, now or as soon as the connection is in step; a `CommandAck` is its one answer."""
        if command.id in self._outbox:
            return
        if self.phase == "stopped":
            why = self.connection.reason or "it was closed"
            self._outputs.append(refusal(command, "not_connected", f"there is no connection: {why}"))
            return
        command = exact(command, self.state)
        size = len(p.encode(command))
        if size > self._frame_limit:
            text = f"this is too large to send: {size:,} bytes, and the server takes {self._frame_limit:,}"
            self._outputs.append(refusal(command, "too_large", text))
            return
        self._outbox.add(command)
        if self.phase == "live":
            self._transmit(command)
        else:
            self.start()

    def probe(self, now: float) -> None:
        """The network has come back, or may have: look at once."""
        if self.phase == "waiting":
            self._connect()
        elif self.phase == "live" and self._v1:
            self._greet(now)

    def close(self) -> None:
        """Close on purpose: nothing reconnects."""
        self._stop(1000, None)

    def tick(self, now: float) -> None:
        """Do what is due."""
        for timer, due in sorted(self._timers.items(), key=lambda each: each[1]):
            # What came before it may have undone it.
            if due <= now and self._timers.get(timer) == due:
                del self._timers[timer]
                self._fire(timer, now, late=now - due > _LATE)

    # --- Timers

    def _fire(self, timer: _Timer, now: float, *, late: bool) -> None:
        match timer:
            case "answer" if late:
                # The answer may lie in the socket.
                self._timers["answer"] = now + _ANSWER
            case "answer":
                self._unanswered(now)
            case "retry":
                self._connect()
            case "stable":
                self._failures = 0
            case "ack":
                self._acknowledge()
            case "renew":
                self._outputs.append(Renew())
            case "silence":
                self._mind_silence(now, late=late)

    def _unanswered(self, now: float) -> None:
        if self.phase == "greeting" and self._v1 is None and not self._spoke_v1:
            # A plain server may have taken the subprotocol without knowing it, as some libraries do.
            self._become_plain(now)
        else:
            what = "the server did not answer" if self.phase == "connecting" else "no welcome"
            self._lose(now, f"{what} in {_ANSWER:g} s")

    def _mind_silence(self, now: float, *, late: bool) -> None:
        if now - self._heard < _DEAD:
            self._timers["silence"] = self._heard + _DEAD
        elif late:
            self._greet(now)
        else:
            self._lose(now, f"the server was silent for {_DEAD:g} s")

    # --- Transitions

    def _go(self, phase: Phase, **change: Any) -> None:
        assert phase in TRANSITIONS[self.phase], f"{self.phase} → {phase}"
        self._set(phase=phase, **change)

    def _set(self, **change: Any) -> None:
        self.connection = replace(self.connection, **change)

    def _connect(self) -> None:
        self._timers.clear()
        self._go("connecting", retry_at=None, attempt=self.connection.attempt + 1)
        self._outputs.append(Connect())

    def _greet(self, now: float, *, from_scratch: bool = False) -> None:
        """Say hello; until the welcome, what comes belongs to the old position."""
        self._apply()
        self._catch_up = None
        self._timers.pop("ack", None)
        self._timers.pop("silence", None)
        self._timers["answer"] = now + _ANSWER
        self._go("greeting")
        epoch, seq = self.state.epoch, self.state.seq
        last = None if epoch is None or from_scratch else p.Cursor(epoch=epoch, seq=seq)
        self._say(p.Hello(protocol=p.PROTOCOL, token=self._token, last=last))

    def _become_plain(self, now: float) -> None:
        self._v1 = False
        self._set(resumable=False, role=None)
        self._become_live(now)

    def _become_live(self, now: float) -> None:
        self._timers.pop("answer", None)
        self._timers.setdefault("stable", now + _STABLE)
        self._go("live", code=None, reason=None)
        for pending in self._outbox.pending():
            late = too_late(pending.command, self.state) if pending.state == "queued" else None
            if late is not None:
                self._answer(late)
            else:
                self._transmit(pending.command)

    def _lose(self, now: float, reason: str | None, code: int | None = None, after: float = 0.0) -> None:
        """It is gone, and comes back; `after` seconds later than otherwise, where the server asks for it."""
        self._drop()
        self._failures += 1
        # Added, so that not everybody who was told the same comes back at the same moment.
        retry_at = now + after + self._wait(self._failures)
        self._timers["retry"] = retry_at
        self._go("waiting", retry_at=retry_at, code=code, reason=reason)

    def _stop(self, code: int, reason: str | None) -> None:
        if self.phase == "stopped":
            return
        self._drop()
        self._go("stopped", retry_at=None, code=code, reason=reason)
        why = reason or "it was closed before the server answered"
        for command in self.pending:
            self._answer(refusal(command, "not_connected", f"the connection ended: {why}"))

    def _drop(self) -> None:
        if self.phase in ("connecting", "greeting", "syncing", "live"):
            self._outputs.append(Disconnect())
        self._timers.clear()
        self._catch_up = None
        self._fresh = []
        self._unacknowledged_frames = self._unacknowledged_bytes = 0

    # --- Receiving

    def _take(self, message: Any, now: float) -> None:
        match message:
            case p.Event():
                self._event(message, now)
            case p.Welcome():
                self._welcomed(message, now)
            case p.CommandAck():
                self._answer(message)
            case p.Bye():
                self._apply()
                if message.retry:
                    self._lose(now, message.reason, message.code, (message.after_ms or 0) / 1000)
                else:
                    self._stop(message.code, message.reason)
            case p.Ping():
                self._apply()
                self._say(p.Pong(seq=self.state.seq))
                if self.phase == "live" and self._v1 and message.head != self.state.seq:
                    self._greet(now)
            case p.Sync() if self.phase != "greeting":
                self._sync(message, now)
            case p.Synced() if self._catch_up is not None:
                self._synced(self._catch_up, message.seq, now)

    def _welcomed(self, welcome: p.Welcome, now: float) -> None:
        # It may come so late that the server was already taken for a plain one.
        self._v1 = self._spoke_v1 = True
        self._apply()
        self._frame_limit = welcome.limits.get("frame_bytes", _FRAME_BYTES)
        self._timers.pop("answer", None)
        self._timers["silence"] = now + _DEAD
        self._timers.pop("renew", None)
        if welcome.expires_at is not None and welcome.now is not None:
            self._renew_before(now + (welcome.expires_at - welcome.now) / 1000, now)
        self._catch_up = None
        self._go("syncing", resumable=True, role=welcome.role)

    def _renew_before(self, expires_at: float, now: float) -> None:
        self._expires_at, left = expires_at, expires_at - now
        # Without another one it goes on until the server ends it, and then begins anew.
        if left >= _RENEW_AT_ALL:
            self._timers["renew"] = now + max(left - _RENEW, left / 2)

    def _sync(self, sync: p.Sync, now: float) -> None:
        self._apply()
        if not sync.reset and sync.epoch != self.state.epoch:
            # A tail of another run than ours leads nowhere.
            self._greet(now, from_scratch=True)
            return
        self._catch_up = _CatchUp(sync.epoch, sync.reset, [])
        self._go("syncing")

    def _synced(self, catch_up: _CatchUp, seq: int, now: float) -> None:
        self._catch_up = None
        if catch_up.reset:
            self.state = reduce(catch_up.events, DagState(epoch=catch_up.epoch))
            self.state.seq = seq
            batch = Batch(epoch=catch_up.epoch, after=0, seq=seq, reset=True, events=catch_up.events)
            self._outputs.append(batch)
        else:
            self._fresh = []
            for event in catch_up.events:
                if event.seq == self._seen + 1:
                    self._fresh.append(event)
            self._apply()
            if self.state.seq != seq:
                # The tail does not lead to where it should: only the whole state helps.
                self._greet(now, from_scratch=True)
                return
        self._acknowledge()
        self._become_live(now)

    def _event(self, event: p.Event, now: float) -> None:
        if self._catch_up is not None:
            self._catch_up.events.append(event)
        elif self.phase == "live" and not self._v1:
            event.seq = None
            self._fresh.append(event)
        elif self.phase == "live" and event.seq is not None and event.seq > self._seen:
            if event.seq == self._seen + 1:
                self._fresh.append(event)
            else:
                self._greet(now)

    @property
    def _seen(self) -> int:
        """The seq of the last event that was taken."""
        return (self._fresh[-1].seq if self._fresh else None) or self.state.seq

    def _apply(self) -> None:
        if not self._fresh:
            return
        events, self._fresh = self._fresh, []
        after = self.state.seq
        reduce(events, self.state)
        batch = Batch(epoch=self.state.epoch, after=after, seq=self.state.seq, reset=False, events=events)
        self._outputs.append(batch)

    def _count(self, size: int, now: float) -> None:
        """Flow control that survives proxies: what arrived is acknowledged, many frames at once."""
        if self.phase != "live" or not self._v1 or self.state.seq == self._acknowledged:
            return
        self._unacknowledged_frames += 1
        self._unacknowledged_bytes += size
        if self._unacknowledged_frames >= _ACK_FRAMES or self._unacknowledged_bytes >= _ACK_BYTES:
            self._acknowledge()
        else:
            self._timers.setdefault("ack", now + _ACK)

    def _acknowledge(self) -> None:
        self._timers.pop("ack", None)
        self._unacknowledged_frames = self._unacknowledged_bytes = 0
        self._acknowledged = self.state.seq
        self._say(p.Ack(seq=self.state.seq))

    # --- Sending

    def _say(self, message: p.Control | p.AnyCommand) -> None:
        self._outputs.append(Send(p.encode(message)))

    def _transmit(self, command: p.AnyCommand) -> None:
        self._outbox.sent(command.id)
        self._say(command)
        if not self._v1:
            # A plain server gives no answer.
            self._answer(p.CommandAck(id=command.id, ok=True, code="unconfirmed"))

    def _answer(self, ack: p.CommandAck) -> None:
        if self._outbox.settle(ack):
            self._outputs.append(ack)
