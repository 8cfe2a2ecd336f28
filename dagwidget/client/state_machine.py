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
from .outbox import Outbox, knows_gate, pin_gate, refusal, refuse_overtaken, refuse_unknown
from .outputs import TRANSITIONS, Batch, Connect, Connection, Disconnect, Output, Phase, Renew, Send, Sent
from .timing import ACK, ACK_BYTES, ACK_FRAMES, ANSWER, DEAD, HOLD, LATE, RENEW, RENEW_AT_ALL, STABLE

# The largest frame that a server accepts, until its `welcome` says otherwise.
_FRAME_BYTES: Final = 64 * 1024

_FINAL_CODES: Final = {row.code: row for row in p.CLOSE_CODES if not row.retry}

_FEATURES: Final = list(get_args(p.Feature))

_Timer: TypeAlias = Literal["answer", "retry", "stable", "silence", "ack", "renew", "hold"]


class _CatchUp(Struct):
    """The events between `sync` and `synced`, applied together once they are complete."""

    epoch: str
    reset: bool
    events: list[p.AnyEvent | p.Unknown]


class StateMachine:
    """One viewer's session with a server, over any number of connections.

    Attributes:
        state: The state of the run. A reset replaces it by another object, once the new state is complete.
        connection: The state of the connection. Each change replaces it by another object.
        engine: The state of the run's engine, where the server reports it.
        runs: The DAG's run list, by run id, where the server sends it.
        expected: The run that `begin` has named, until the state is that run's.
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
        self.expected: str | None = None
        self._run = run
        # What the last `hello` has named: the run, and whether to follow from there.
        self._greeted: tuple[str | None, bool | None] = (None, None)
        # Whether the address of the socket may name a run that is no longer meant.
        self._unpinned = False
        # The incarnation of the log that the state comes from, where it is known, and that of the last welcome.
        self._log: str | None = None
        self._welcomed: tuple[str, str | None] = ("", None)
        # Decisions that wait for the event of their gate, and until when.
        self._held: dict[str, tuple[p.HumanDecision, float]] = {}
        self._knows_runs = False
        self.was_live = False
        self.state = DagState()
        self.connection = Connection()
        self._wait = wait
        self._outputs: list[Output] = []
        self._outbox = Outbox()
        self._timers: dict[_Timer, float] = {}
        self._token: str | None = None
        self._expires_at = 0.0
        # Whether the server speaks the whole protocol; None until its first message shows.
        self._v1: bool | None = None
        # A server that spoke v1 before is not taken for a plain one when it fails to answer.
        self._spoke_v1 = False
        self._failures = 0
        self._received_at = 0.0
        self._catch_up: _CatchUp | None = None
        # Events of the current frame, applied together.
        self._fresh: list[p.AnyEvent | p.Unknown] = []
        self._frame_limit = _FRAME_BYTES
        self._acknowledged = 0
        self._unacknowledged_frames = 0
        self._unacknowledged_bytes = 0

    @property
    def phase(self) -> Phase:
        """The connection's phase."""
        return self.connection.phase

    @property
    def due(self) -> float | None:
        """When to call `tick` next; None if no timer runs."""
        return min(self._timers.values(), default=None)

    @property
    def pending(self) -> list[p.AnyCommand]:
        """The commands that the server has not answered."""
        return [pending.command for pending in self._outbox.pending()]

    def take_outputs(self) -> list[Output]:
        """The outputs since the last call, to be carried out in this order."""
        outputs, self._outputs = self._outputs, []
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

    def opened(self, now: float, *, v1: bool = True) -> None:
        """The socket is open; `v1` says whether the server accepted the subprotocol."""
        if self.phase != "connecting":
            return
        self._v1 = None
        self._hello(now)
        if not v1 and not self._spoke_v1:
            self._become_plain(now)

    def receive(self, frame: str | bytes, now: float) -> None:
        """A frame came from the server."""
        if self.phase not in ("greeting", "syncing", "live"):
            return
        self._received_at = now
        self._set(seen_at=now)
        try:
            messages = p.decode_server(frame)
        except ProtocolError as error:
            self._reconnect(now, str(error), 4400)
            return
        if self._v1 is None and messages and not isinstance(messages[0], (p.Welcome, p.Bye)):
            # A server that refuses sends `bye` before any welcome: it must not be sent the outbox, as a plain one is.
            if self._spoke_v1:
                self._reconnect(now, "no welcome")
                return
            self._become_plain(now)
        for message in messages:
            self._handle(message, now)
            if self.phase in ("waiting", "stopped"):
                return
        self._apply()
        if self._held:
            self._release(now)
        self._count(len(frame), now)

    def closed(self, code: int | None, reason: str | None, now: float) -> None:
        """The socket was closed, or failed to open."""
        if self.phase not in ("connecting", "greeting", "syncing", "live"):
            return
        if code in _FINAL_CODES:
            self._stop(code, reason or _FINAL_CODES[code].meaning)
        else:
            self._reconnect(now, reason, code)

    def send(self, command: p.AnyCommand, now: float, *, hold: bool = True) -> None:
        """Send a command, now or once the connection is live. Its one answer is a `CommandAck` among the outputs.

        A decision whose gate has not arrived here yet waits for it for a few seconds.
        """
        if command.id in self._outbox or (hold and command.id in self._held):
            return
        self._held.pop(command.id, None)
        if self.phase == "stopped":
            why = self.connection.reason or "the client is closed"
            self._outputs.append(refusal(command, "not_connected", f"not connected: {why}"))
            return
        command = pin_gate(command, self.state)
        if self._refuse_too_large(command):
            return
        if hold and self._must_hold(command):
            assert isinstance(command, p.HumanDecision)
            self._held[command.id] = (command, now + HOLD)
            self._timers.setdefault("hold", now + HOLD)
            return
        self._queue(command)

    def _queue(self, command: p.AnyCommand) -> None:
        if self._refuse_too_large(command):
            return
        self._outbox.add(command)
        if self.phase == "live":
            self._transmit_command(command)
        else:
            self.start()

    def _refuse_too_large(self, command: p.AnyCommand) -> bool:
        size = len(p.encode(command))
        if size <= self._frame_limit:
            return False
        text = f"the command has {size:,} bytes, and the server accepts {self._frame_limit:,}"
        self._outputs.append(refusal(command, "too_large", text))
        return True

    def withdraw(self, command_id: str) -> bool:
        """Take back a command that was not sent yet. False if it was sent, or answered."""
        held = self._held.pop(command_id, None)
        pending = next((each for each in self._outbox.pending() if each.command.id == command_id), None)
        if held is None and (pending is None or pending.state == "sent"):
            return False
        self._outbox.settle(p.CommandAck(id=command_id, ok=False))
        return True

    def watch(self, run: str | None, now: float) -> None:
        """Watch one run from now on, or follow the DAG (None)."""
        self._run, self.expected, self._unpinned = run, None, run is None
        self._hello_again(now)

    def begin(self, run: str) -> None:
        """A run that this process starts is about to begin: follow it. `refresh` sends that to the server."""
        if self._run is None and run != self.state.epoch:
            self.expected = run

    def refresh(self, now: float) -> None:
        """Ask the server for the run that is expected, if any."""
        if self.expected is not None:
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
        elif self.phase == "greeting" and self._v1 is None and not self._spoke_v1:
            # Some libraries accept any subprotocol, so this may be a plain server.
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
        assert phase in TRANSITIONS[self.phase], f"{self.phase} → {phase}"
        self._set(phase=phase, **change)

    def _set(self, **change: Any) -> None:
        self.connection = replace(self.connection, **change)

    def _connect(self) -> None:
        self._timers.clear()
        self._enter("connecting", retry_at=None, attempt=self.connection.attempt + 1)
        self._outputs.append(Connect())

    def _must_hold(self, command: p.AnyCommand) -> bool:
        return (
            isinstance(command, p.HumanDecision)
            and self.phase == "live"
            and command.run_id in (None, self.state.epoch)
            and not knows_gate(command, self.state)
        )

    def _release(self, now: float) -> None:
        """Send the decisions whose gate has arrived, and refuse those that have waited long enough."""
        for command, until in list(self._held.values()):
            # Of another run, only the server knows the gates.
            if command.run_id not in (None, self.state.epoch) or knows_gate(command, self.state):
                del self._held[command.id]
                self._queue(pin_gate(command, self.state))
            elif now >= until:
                del self._held[command.id]
                self._outputs.append(refuse_unknown(command, self.state))
        if self._held:
            self._timers["hold"] = min(until for _, until in self._held.values())
        else:
            self._timers.pop("hold", None)

    def _hello(self, now: float, *, from_scratch: bool = False) -> None:
        """Send `hello`. Until the `welcome`, whatever arrives still belongs to the old cursor."""
        self._apply()
        self._catch_up = None
        self._timers.pop("ack", None)
        self._timers.pop("silence", None)
        self._timers["answer"] = now + ANSWER
        self._enter("greeting")
        epoch, seq = self.state.epoch, self.state.seq
        last = None if epoch is None or from_scratch else p.Cursor(epoch=epoch, seq=seq, log=self._log)
        self._greeted = run, follow = self._which_run()
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

    def _which_run(self) -> tuple[str | None, bool | None]:
        """The run to name in `hello`, and whether to follow the DAG from there."""
        if self._run is not None:
            return self._run, None
        return self.expected, True if self.expected is not None or self._unpinned else None

    def _become_plain(self, now: float) -> None:
        self._v1 = False
        self.expected = None
        self._set(resumable=False, role=None)
        self._become_live(now)

    def _become_live(self, now: float) -> None:
        self._timers.pop("answer", None)
        self._timers.setdefault("stable", now + STABLE)
        self.was_live = True
        self._enter("live", code=None, reason=None)
        for pending in self._outbox.pending():
            refused = refuse_overtaken(pending.command, self.state) if pending.state == "queued" else None
            if refused is not None:
                self._settle(refused)
            else:
                self._transmit_command(pending.command)

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
        for pending in self._outbox.pending():
            if pending.state == "sent":
                self._settle(refusal(pending.command, "unconfirmed", f"sent, and not answered: {why}"))
        for command in self.pending:
            self._settle(refusal(command, "not_connected", f"not connected: {why}"))

    def _drop(self) -> None:
        if self.phase in ("connecting", "greeting", "syncing", "live"):
            self._outputs.append(Disconnect())
        self._timers.clear()
        for command, _ in self._held.values():
            self._outbox.add(command)
        self._held.clear()
        self._catch_up = None
        self._fresh = []
        self._unacknowledged_frames = self._unacknowledged_bytes = 0

    # --- Receiving

    def _handle(self, message: p.ServerMessage | p.Unknown, now: float) -> None:
        match message:
            case p.Event():
                self._handle_event(message, now)
            case p.Welcome():
                self._handle_welcome(message, now)
            case p.CommandAck():
                self._settle(message)
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
        outdated = self.phase == "greeting" and (self._v1 is True or self._which_run() != self._greeted)
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
        # It may come so late that the server was already taken for a plain one.
        self._v1 = self._spoke_v1 = True
        self._apply()
        self._frame_limit = welcome.limits.get("frame_bytes", _FRAME_BYTES)
        self._timers.pop("answer", None)
        self._timers["silence"] = now + DEAD
        self._timers.pop("renew", None)
        if welcome.expires_at is not None and welcome.now is not None:
            self._renew_before(now + (welcome.expires_at - welcome.now) / 1000, now)
        self._catch_up = None
        self._welcomed = (welcome.epoch, welcome.log)
        self._knows_runs = False
        self._enter("syncing", resumable=True, role=welcome.role)
        if self._which_run() != self._greeted:
            # The run was changed while the server had not answered yet.
            self._hello(now)

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
        self._catch_up = _CatchUp(sync.epoch, sync.reset, [])
        self._enter("syncing")

    def _handle_synced(self, synced: p.Synced, now: float) -> None:
        catch_up, self._catch_up = self._catch_up, None
        if catch_up is None:
            return
        if catch_up.reset:
            self.state = reduce(catch_up.events, DagState(epoch=catch_up.epoch))
            self._log = self._welcomed[1] if self._welcomed[0] == catch_up.epoch else None
            self.engine = None
            if catch_up.epoch == self.expected:
                self.expected = None
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
        if self.phase != "live" or not self._v1 or self.state.seq == self._acknowledged:
            return
        self._unacknowledged_frames += 1
        self._unacknowledged_bytes += size
        if self._unacknowledged_frames >= ACK_FRAMES or self._unacknowledged_bytes >= ACK_BYTES:
            self._acknowledge()
        else:
            self._timers.setdefault("ack", now + ACK)

    def _acknowledge(self) -> None:
        self._timers.pop("ack", None)
        self._unacknowledged_frames = self._unacknowledged_bytes = 0
        self._acknowledged = self.state.seq
        self._transmit(p.Ack(seq=self.state.seq))

    # --- Sending

    def _transmit(self, message: p.Control | p.AnyCommand) -> None:
        self._outputs.append(Send(p.encode(message)))

    def _transmit_command(self, command: p.AnyCommand) -> None:
        self._outbox.mark_sent(command.id)
        self._transmit(command)
        self._outputs.append(Sent(command.id))
        if not self._v1:
            # A plain server does not answer.
            self._settle(p.CommandAck(id=command.id, ok=True, code="unconfirmed"))

    def _settle(self, ack: p.CommandAck) -> None:
        if self._outbox.settle(ack):
            self._outputs.append(ack)
