"""`StateMachine`: a viewer's side of the protocol, as states and transitions. Sans-I/O: no socket, no clock, no task.

The shell around it passes in what happens, with the time (`now`, in seconds of any monotonic clock), carries out the
outputs that `take_outputs` returns, and calls `tick` when it is `due`. Backoff and resume are the same as in the
browser: `js/src/stream/stream.ts`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias, assert_never, get_args

from msgspec import Struct
from msgspec.structs import replace

from .. import protocol as p
from ..backoff import backoff
from ..errors import ProtocolError
from ..state import DagState, reduce
from .outgoing import FRAME_BYTES, Outgoing, Way
from .outputs import TRANSITIONS, Batch, Connect, Connection, Disconnect, Output, Phase, Renew, Send
from .timing import ACK, ACK_BYTES, ACK_FRAMES, ANSWER, DEAD, LATE, RENEW, RENEW_AT_ALL, STABLE
from .wanted import Wanted

_FEATURES: Final = list(get_args(p.Feature))

_Timer: TypeAlias = Literal["answer", "retry", "stable", "silence", "ack", "renew", "hold"]


class _CatchUp(Struct):
    """The events between `sync` and `synced`, applied together once they are complete."""

    epoch: str
    reset: bool
    log: str | None
    events: list[p.AnyEvent | p.Unknown]


class Unacknowledged(Struct):
    """What has come since the last acknowledgement, which was of `after`."""

    after: int | None = None
    frames: int = 0
    bytes: int = 0

    def add(self, size: int) -> bool:
        """Count a frame. Whether it is time to acknowledge."""
        self.frames += 1
        self.bytes += size
        return self.frames >= ACK_FRAMES or self.bytes >= ACK_BYTES


class StateMachine:
    """One viewer's session with a server, over any number of connections.

    Attributes:
        state: The state of the run. A reset replaces it by another object, once the new state is complete.
        connection: The state of the connection. Each change replaces it by another object.
        engine: The state of the run's engine, where the server reports it.
        runs: The DAG's run list, by run id, where the server sends it.
        was_live: Whether there ever was a connection.
    """

    def __init__(self, wait: Callable[[int], float] = backoff, *, run: str | None = None) -> None:
        """A machine that is idle.

        Args:
            wait: The seconds to wait before the next attempt, by the number of failures in a row.
            run: The run to watch; None to follow the DAG.
        """
        self.engine: p.Engine | None = None
        self.runs: dict[str, p.RunSummary] = {}
        self._wanted = Wanted(run)
        # The incarnation of the log that the state comes from, where it is known, and that of the last welcome.
        self._log: str | None = None
        self._welcomed: tuple[str, str | None] = ("", None)
        self._knows_runs = False
        self.was_live = False
        self.state = DagState()
        self.connection = Connection()
        self._wait = wait
        self._outputs: list[Output] = []
        self._outgoing = Outgoing(self._outputs)
        self._timers: dict[_Timer, float] = {}
        self._token: str | None = None
        self._expires_at = 0.0
        # Whether this attempt offers the subprotocol. Only a server that was not offered it can be plain.
        self._offers = True
        # Whether the server speaks the whole protocol; None until its first message, or its silence, shows.
        self._v1: bool | None = None
        # Whether the state comes from a server that spoke v1: then silence is a fault, and no sign of a plain server.
        self._spoke_v1 = False
        self._failures = 0
        self._received_at = 0.0
        self._catch_up: _CatchUp | None = None
        # Events of the current frame, applied together.
        self._fresh: list[p.AnyEvent | p.Unknown] = []
        self._unacknowledged = Unacknowledged()

    @property
    def phase(self) -> Phase:
        """The connection's phase."""
        return self.connection.phase

    @property
    def expected(self) -> str | None:
        """The run that `begin` has named, until the state is that run's."""
        return self._wanted.expected

    @property
    def due(self) -> float | None:
        """When to call `tick` next; None if no timer runs."""
        return min(self._timers.values(), default=None)

    @property
    def pending(self) -> list[p.AnyCommand]:
        """The commands that the server has not answered."""
        return self._outgoing.pending

    def take_outputs(self) -> list[Output]:
        """The outputs since the last call, to be carried out in this order."""
        outputs = self._outputs.copy()
        self._outputs.clear()
        return outputs

    # --- Inputs

    def start(self) -> None:
        """Connect, if the machine is idle."""
        if self.phase == "idle":
            self._connect()

    def opening(self, token: str | None, now: float) -> None:
        """The server was found; a socket to it is being opened."""
        if self.phase == "connecting":
            self._token = token
            self._timers["answer"] = now + ANSWER

    def renewed(self, token: str | None, now: float) -> None:
        """The answer to `Renew`. A different token goes to the server at once; None means that there is none."""
        if self.phase not in ("syncing", "live") or not self._v1:
            return
        if token in (None, self._token):
            self._renew_before(self._expires_at, now)
        else:
            self._token = token
            self._hello(now)

    def opened(self, now: float, *, offered: bool = True) -> None:
        """The socket is open; `offered`: the server was offered the subprotocol, and took it."""
        if self.phase != "connecting":
            return
        self._offers, self._v1 = offered, None
        self._hello(now)

    def receive(self, frame: str | bytes, now: float) -> None:
        """A frame came from the server."""
        if self.phase not in ("greeting", "syncing", "live"):
            return
        self._received_at = now
        self._set(seen_at=now)
        if self._v1 and self.phase == "greeting":
            # What was sent before the hello arrived may take long, and comes before the answer.
            self._timers["answer"] = now + ANSWER
        try:
            messages, unfit = p.take_server(frame)
        except ProtocolError as error:
            if self._v1:
                self._reconnect(now, str(error), 4400)
                return
            # A plain server may say what it likes.
            messages, unfit = [p.Unknown(type="malformed")], 1
        if unfit:
            self._set(ignored=self.connection.ignored + unfit)
        if self._v1 is None and messages and not isinstance(messages[0], (p.Welcome, p.Bye)):
            if self._offers:
                self._connect_again()
                return
            self._become_plain(now)
        for message in messages:
            self._handle(message, now)
            if self.phase in ("waiting", "stopped"):
                return
        self._apply()
        self._release(now)
        self._count(len(frame), now)

    def closed(self, code: int | None, reason: str | None, now: float) -> None:
        """The socket was closed, or failed to open. Whatever the code, only a `bye` can say that it is for good."""
        if self.phase == "connecting" and self._offers and "answer" in self._timers:
            # A plain server may have refused what it was offered.
            self._connect_again()
        elif self.phase in ("connecting", "greeting", "syncing", "live"):
            self._reconnect(now, reason, code)

    def refused(self, bye: p.Bye, now: float) -> None:
        """The server has answered the handshake with an HTTP status that means as much as a `bye`."""
        if self.phase == "connecting":
            self._handle_bye(bye, now)

    def send(self, command: p.AnyCommand, now: float, *, hold: bool = True) -> None:
        """Send a command, now or once the connection is live. Its one answer is a `CommandAck` among the outputs.

        A decision whose gate has not arrived here yet waits for it for a few seconds.
        """
        if self.phase == "stopped":
            self._outgoing.refuse(command, self.connection.reason or "the client is closed")
        elif self._outgoing.add(command, self.state, self._way, now, hold=hold) and self.phase == "idle":
            self._connect()
        self._set_hold_timer()

    def withdraw(self, command_id: str) -> bool:
        """Take back a command that was not sent yet. False if it was sent, or answered."""
        return self._outgoing.withdraw(command_id)

    def watch(self, run: str | None, now: float) -> None:
        """Watch one run from now on, or follow the DAG (None)."""
        self._wanted.watch(run)
        self._hello_again(now)

    def begin(self, run: str | None) -> None:
        """Follow a run that this process is about to begin; None: it will not. `refresh` sends that to the server."""
        self._wanted.begin(run, self.state.epoch)

    def refresh(self, now: float) -> None:
        """Ask the server for the run that is expected, or no more for one that will not begin."""
        if self._wanted.must_ask(self.state.epoch):
            self._hello_again(now)

    def _hello_again(self, now: float) -> None:
        if self.phase in ("syncing", "live") and self._v1:
            self._hello(now)

    def probe(self, now: float) -> None:
        """The network may be back: connect, or check the connection, at once."""
        if self.phase == "waiting":
            self._connect()
        elif self.phase == "live" and self._v1:
            self._hello(now)

    def close(self) -> None:
        """Close for good."""
        self._stop(1000, None)

    def tick(self, now: float) -> None:
        """Run the timers that are due."""
        for timer, due in sorted(self._timers.items(), key=lambda each: each[1]):
            # A timer before it may have cleared or moved it.
            if due <= now and self._timers.get(timer) == due:
                del self._timers[timer]
                self._fire(timer, now, late=now - due > LATE)

    # --- Timers

    def _fire(self, timer: _Timer, now: float, *, late: bool) -> None:
        match timer:
            case "answer":
                self._answer_is_due(now, late=late)
            case "retry":
                self._connect()
            case "stable":
                self._failures = 0
            case "ack":
                self._acknowledge()
            case "renew":
                self._outputs.append(Renew())
            case "silence":
                self._check_silence(now, late=late)
            case "hold":
                self._release(now)
            case _:
                assert_never(timer)

    def _answer_is_due(self, now: float, *, late: bool) -> None:
        if late:
            # The answer may wait in the socket.
            self._timers["answer"] = now + ANSWER
        elif self._v1 is False:
            self._outgoing.flush(self.state, self._way)
        elif self.phase == "greeting" and self._v1 is None and not self._spoke_v1:
            # Some libraries accept any subprotocol, so a server that was offered it says nothing with that.
            if self._offers:
                self._connect_again()
            else:
                self._become_plain(now)
        else:
            what = "the server did not answer" if self.phase == "connecting" else "no welcome"
            self._reconnect(now, f"{what} in {ANSWER:g} s")

    def _check_silence(self, now: float, *, late: bool) -> None:
        if now - self._received_at < DEAD:
            self._timers["silence"] = self._received_at + DEAD
        elif late:
            self._hello(now)
        else:
            self._reconnect(now, f"the server was silent for {DEAD:g} s")

    # --- Transitions

    def _enter(self, phase: Phase, **change: Any) -> None:
        assert phase == self.phase or phase in TRANSITIONS[self.phase], f"{self.phase} → {phase}"
        self._set(phase=phase, **change)

    def _set(self, **change: Any) -> None:
        self.connection = replace(self.connection, **change)

    def _connect(self) -> None:
        self._timers.clear()
        self._offers, self._v1 = True, None
        self._enter("connecting", retry_at=None, attempt=self.connection.attempt + 1)
        self._outputs.append(Connect(offer=True))

    def _connect_again(self) -> None:
        """The same attempt, without the offer: the server may be a plain one."""
        self._drop()
        self._offers = False
        self._enter("connecting")
        self._outputs.append(Connect(offer=False))

    @property
    def _way(self) -> Way:
        """Whether commands can go out. To a plain server not before its time for a `welcome` is over."""
        if self.phase != "live" or (not self._v1 and "answer" in self._timers):
            return "shut"
        return "v1" if self._v1 else "plain"

    def _release(self, now: float) -> None:
        self._outgoing.release(self.state, self._way, now)
        self._set_hold_timer()

    def _set_hold_timer(self) -> None:
        if self._outgoing.due is None:
            self._timers.pop("hold", None)
        else:
            self._timers["hold"] = self._outgoing.due

    def _hello(self, now: float, *, from_scratch: bool = False) -> None:
        """Send `hello`. Until the `welcome`, whatever arrives still belongs to the old cursor."""
        self._apply()
        self._catch_up = None
        self._timers.pop("ack", None)
        self._timers.pop("silence", None)
        self._timers["answer"] = now + ANSWER
        self._enter("greeting")
        epoch, seq = self.state.epoch, self.state.seq
        run, follow = self._wanted.asked = self._wanted.next
        # In another run than the one that is asked for, the client stands nowhere.
        here = epoch and run in (None, epoch) and not from_scratch
        last = p.Cursor(epoch=epoch, seq=seq, log=self._log) if here and epoch else None
        self._transmit(
            p.Hello(
                protocol=p.PROTOCOL,
                token=self._token,
                last=last,
                run=run,
                follow=follow,
                features=_FEATURES,
            )
        )

    def _become_plain(self, now: float) -> None:
        self._v1, self._wanted.expected = False, None
        if self._spoke_v1:
            # Another server has taken the place of the one that the state comes from.
            self._spoke_v1, self._log, self.engine, self.runs = False, None, None, {}
            self.state = DagState()
            self._put_out(0, [], reset=True)
        self._set(resumable=False, role=None)
        self._become_live(now)

    def _become_live(self, now: float) -> None:
        if self._v1:
            self._timers.pop("answer", None)
        self._timers.setdefault("stable", now + STABLE)
        self.was_live = True
        self._enter("live", code=None, reason=None)
        self._outgoing.flush(self.state, self._way)

    def _reconnect(self, now: float, reason: str | None, code: int | None = None, after: float = 0.0) -> None:
        """Drop the connection and wait for the next attempt, `after` seconds longer if the server asks for it."""
        self._drop()
        self._failures += 1
        # The backoff comes on top: a server sends the same `after` to all its clients.
        retry_at = now + after + self._wait(self._failures)
        self._timers["retry"] = retry_at
        self._enter("waiting", retry_at=retry_at, code=code, reason=reason)

    def _stop(self, code: int, reason: str | None) -> None:
        if self.phase == "stopped":
            return
        self._drop()
        self._enter("stopped", retry_at=None, code=code, reason=reason)
        why = reason or "the client was closed before the server answered"
        self._outgoing.stop(why)

    def _drop(self) -> None:
        if self.phase in ("connecting", "greeting", "syncing", "live"):
            self._outputs.append(Disconnect())
        self._timers.clear()
        self._outgoing.unhold()
        self._catch_up = None
        self._fresh = []
        self._unacknowledged = Unacknowledged()

    # --- Receiving

    def _handle(self, message: p.ServerMessage | p.Unknown, now: float) -> None:
        match message:
            case p.Event():
                self._handle_event(message, now)
            case p.Welcome():
                self._handle_welcome(message, now)
            case p.CommandAck():
                self._outgoing.settle(message)
            case p.Bye():
                self._handle_bye(message, now)
            case p.Ping():
                self._handle_ping(message, now)
            case p.Sync():
                self._handle_sync(message, now)
            case p.Synced():
                self._handle_synced(message, now)
            case p.Engine():
                self.engine = message
                self._outputs.append(message)
            case p.Runs():
                self._handle_runs(message)
            case _:
                assert_never(message)

    def _handle_bye(self, bye: p.Bye, now: float) -> None:
        self._apply()
        # What ends may be the run that was watched before the hello that the server has not answered.
        outdated = self.phase == "greeting" and (self._v1 is True or self._wanted.has_changed)
        if bye.retry or outdated:
            self._reconnect(now, bye.reason, bye.code, (bye.after_ms or 0) / 1000)
        else:
            self._stop(bye.code, bye.reason)

    def _handle_ping(self, ping: p.Ping, now: float) -> None:
        self._apply()
        self._transmit(p.Pong(seq=self.state.seq))
        if self.phase == "live" and self._v1 and ping.head != self.state.seq:
            self._hello(now)

    def _handle_runs(self, message: p.Runs) -> None:
        changed = {run.run_id: run for run in message.runs}
        # The first message has the whole list.
        self.runs = changed if message.removed is None and not self._knows_runs else {**self.runs, **changed}
        self._knows_runs = True
        for run_id in message.removed or ():
            self.runs.pop(run_id, None)
        self._outputs.append(message)

    def _handle_welcome(self, welcome: p.Welcome, now: float) -> None:
        self._apply()
        # It may come so late that the server was already taken for a plain one. The state that was made of its plain
        # events is no place to go on from.
        was_plain, self._v1, self._spoke_v1 = self._v1 is False, True, True
        self._outgoing.frame_limit = welcome.limits.get("frame_bytes", FRAME_BYTES)
        self._timers.pop("answer", None)
        self._timers["silence"] = now + DEAD
        self._timers.pop("renew", None)
        if welcome.expires_at is not None and welcome.now is not None:
            self._renew_before(now + (welcome.expires_at - welcome.now) / 1000, now)
        self._catch_up = None
        self._welcomed = (welcome.epoch, welcome.log)
        self._knows_runs = False
        features = welcome.features or ()
        if "runs" not in features:
            self.runs = {}
        if "engine" not in features:
            self.engine = None
        self._enter("syncing", resumable=True, role=welcome.role)
        if was_plain or self._wanted.has_changed:
            # Or the run was changed while the server had not answered yet.
            self._hello(now, from_scratch=was_plain)

    def _renew_before(self, expires_at: float, now: float) -> None:
        self._expires_at, left = expires_at, expires_at - now
        # Without a new token the connection lasts until the server ends it, and then reconnects.
        if left >= RENEW_AT_ALL:
            self._timers["renew"] = now + max(left - RENEW, left / 2)

    def _handle_sync(self, sync: p.Sync, now: float) -> None:
        if self.phase == "greeting":
            return
        self._apply()
        if not sync.reset and sync.epoch != self.state.epoch:
            # The tail of another run does not continue this state.
            self._hello(now, from_scratch=True)
            return
        # A server of before names the log in `welcome` only.
        log = sync.log or (self._welcomed[1] if self._welcomed[0] == sync.epoch else None)
        self._catch_up = _CatchUp(sync.epoch, sync.reset, log, [])
        self._enter("syncing")

    def _handle_synced(self, synced: p.Synced, now: float) -> None:
        catch_up, self._catch_up = self._catch_up, None
        if catch_up is None:
            return
        before = self.state.epoch
        if catch_up.reset:
            self.state = reduce(catch_up.events, DagState(epoch=catch_up.epoch))
            if catch_up.epoch != before:
                self.engine = None
            self._wanted.arrived(catch_up.epoch)
            self.state.seq = synced.seq
            self._put_out(0, catch_up.events, reset=True)
        else:
            self._fresh = []
            for event in catch_up.events:
                if event.seq == self._seen + 1:
                    self._fresh.append(event)
            self._apply()
            if self.state.seq != synced.seq:
                # The tail has a gap: only the whole state helps.
                self._hello(now, from_scratch=True)
                return
        if catch_up.log is not None or catch_up.epoch != before:
            self._log = catch_up.log
        self._acknowledge()
        self._become_live(now)

    def _handle_event(self, event: p.AnyEvent | p.Unknown, now: float) -> None:
        if self._catch_up is not None:
            self._catch_up.events.append(event)
        elif self.phase == "live" and not self._v1:
            event.seq = None
            self._fresh.append(event)
        elif self.phase == "live" and event.seq is not None and event.seq > self._seen:
            if event.seq == self._seen + 1:
                self._fresh.append(event)
            else:
                self._hello(now)

    @property
    def _seen(self) -> int:
        """The seq of the last event that was accepted."""
        return (self._fresh[-1].seq if self._fresh else None) or self.state.seq

    def _apply(self) -> None:
        if not self._fresh:
            return
        events, self._fresh = self._fresh, []
        after = self.state.seq
        reduce(events, self.state)
        self._put_out(after, events, reset=False)

    def _put_out(self, after: int, events: list[p.AnyEvent | p.Unknown], *, reset: bool) -> None:
        state = self.state
        self._outputs.append(
            Batch(epoch=state.epoch, after=after, seq=state.seq, reset=reset, events=events, state=state)
        )

    def _count(self, size: int, now: float) -> None:
        """Acknowledge every so many frames: flow control that works through proxies."""
        if self.phase != "live" or not self._v1 or self.state.seq == self._unacknowledged.after:
            return
        if self._unacknowledged.add(size):
            self._acknowledge()
        else:
            self._timers.setdefault("ack", now + ACK)

    def _acknowledge(self) -> None:
        self._timers.pop("ack", None)
        self._unacknowledged = Unacknowledged(after=self.state.seq)
        self._transmit(p.Ack(seq=self.state.seq))

    # --- Sending

    def _transmit(self, message: p.Control | p.AnyCommand) -> None:
        self._outputs.append(Send(p.encode(message)))
