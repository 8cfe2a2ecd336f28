"""`Limits`: every bound of the server in one typed object."""

from __future__ import annotations

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """The limits of a server. Sizes are in bytes, times in seconds."""

    frame_bytes: int = 64 * 1024
    """The largest frame that a viewer may send."""
    publish_bytes: int = 4 * 1024 * 1024
    """The largest frame that a publisher may send: a batch of events."""
    event_bytes: int = 256 * 1024
    """The largest single event."""
    hello_seconds: float = 5.0
    """How long a connection may take to send its first message."""
    plain_seconds: float = 0.5
    """How long a viewer without the subprotocol may take to say `hello`, before it gets a plain client's events."""
    heartbeat_seconds: float = 15.0
    """Silence after which the server sends a `ping`."""
    dead_seconds: float = 40.0
    """Silence after which a client counts as dead."""
    window_bytes: int = 1024 * 1024
    """How much is sent to a client before it must acknowledge."""
    stalled_seconds: float = 30.0
    """How long a client with a full window may go without acknowledging."""
    close_seconds: float = 2.0
    """How long a client has to answer a close frame."""
    flush_seconds: float = 0.01
    """The shortest time between two frames to a client while a room is busy."""
    batch_events: int = 2000
    """The most events in one frame."""
    log_events: int = 100_000
    """How many events of a run stay in the log. A client that needs older ones gets the compacted state."""
    outputs_bytes: int = 64 * 1024 * 1024
    """What a server without a durable log keeps of a run's whole outputs."""
    unstored_events: int = 200_000
    """How many events may wait in memory, in all rooms, while the durable log can't be written, and …"""
    unstored_bytes: int = 256 * 1024 * 1024
    """… how many bytes. Past that, what waits is dropped, and the room's state is stored in its place."""
    silent_seconds: float = 20.0
    """How long an engine may go without a frame on a standing connection before it is `silent`."""
    gone_seconds: float = 10.0
    """How long a run may be without a connection of its engine before the engine is `gone`."""
    lost_seconds: float = 15 * 60.0
    """How long its engine may be gone before a run is `lost`."""
    rooms: int = 1000
    """How many rooms a server holds in memory; those that nobody uses leave it first."""
    connections: int = 2000
    """How many connections a server accepts, not counting those that have not authenticated."""
    unauthenticated: int = 200
    """How many connections of one address may be open that have not authenticated; one more ends the oldest, and …"""
    unauthenticated_in_all: int = 1000
    """… of all addresses."""
    commands_burst: int = 100
    """How many commands and hellos a client may send at once, and …"""
    commands_per_second: float = 10.0
    """… in the long run."""
    failures_burst: int = 20
    """How many wrong tokens an address may present at once, before they are answered with 429, and …"""
    failures_per_second: float = 0.2
    """… in the long run."""
    idle_seconds: float = 30 * 60.0
    """How long an embedded server runs on after its last connection."""
