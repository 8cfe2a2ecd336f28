"""What a client's state machine says: the state of its connection, and what its shell is to do."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from .. import protocol as p
from ..state import DagState

Phase: TypeAlias = Literal["idle", "connecting", "greeting", "syncing", "live", "waiting", "stopped"]

TRANSITIONS: Final[dict[Phase, tuple[Phase, ...]]] = {
    "idle": ("connecting", "stopped"),
    "connecting": ("greeting", "waiting", "stopped"),
    "greeting": ("connecting", "syncing", "live", "waiting", "stopped"),
    "syncing": ("greeting", "live", "waiting", "stopped"),
    "live": ("greeting", "syncing", "waiting", "stopped"),
    "waiting": ("connecting", "stopped"),
    "stopped": (),
}
"""The phases that may follow each phase. A plain server goes straight to `live`; a gap leads back to `greeting`, and an
offer of the subprotocol that no `welcome` answers leads back to `connecting`, without the offer."""


class Connection(Struct, frozen=True, kw_only=True):
    """The state of the connection.

    Attributes:
        phase: `waiting` lasts until `retry_at`; `stopped` is final.
        resumable: False on a plain server, where events during a cut are lost. None until known.
        role: What the token permits.
        attempt: The number of connection attempts so far.
        ignored: How many messages, or parts of messages, were not understood, in all connections.
        retry_at: When the next attempt starts.
        seen_at: When the last frame arrived, and so how old the state is.
        code: The close code that ended the last connection.
        reason: Why it ended.
    """

    phase: Phase = "idle"
    resumable: bool | None = None
    role: str | None = None
    attempt: int = 0
    ignored: int = 0
    retry_at: float | None = None
    seen_at: float | None = None
    code: int | None = None
    reason: str | None = None


class Connect(Struct, frozen=True):
    """Find the server and open a socket to it; with the subprotocol where `offer`."""

    offer: bool


class Renew(Struct, frozen=True):
    """Get a new token, and pass it to `renewed`."""


class Send(Struct, frozen=True):
    """Send a text frame."""

    frame: bytes


class Disconnect(Struct, frozen=True):
    """Drop the socket, or the attempt to open one, and ignore whatever still arrives from it."""


class Batch(Struct, frozen=True, kw_only=True):
    """Events that were applied to the state; to an empty one where `reset`.

    Attributes:
        epoch: The run.
        after: The cursor before the events.
        seq: The cursor after them.
        reset: Whether the state was replaced.
        events: The events.
        state: The state that they were applied to.
    """

    epoch: str | None
    after: int
    seq: int
    reset: bool
    events: list[p.AnyEvent | p.Unknown]
    state: DagState


class Sent(Struct, frozen=True):
    """A command was sent."""

    id: str


Output: TypeAlias = Connect | Renew | Send | Disconnect | Batch | Sent | p.CommandAck | p.Engine | p.Runs
