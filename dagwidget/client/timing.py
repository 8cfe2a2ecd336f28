"""When a client's state machine acts by itself: its times, in seconds, and what it acknowledges at once."""

from __future__ import annotations

from typing import Final

# How long the server may take to answer, how long it may be silent, how long a connection must last
# to count as stable, and the longest delay of an acknowledgement.
ANSWER: Final = 5.0
DEAD: Final = 25.0
STABLE: Final = 5.0
ACK: Final = 1.0
# How long before its expiry a token is renewed; one with less time left is renewed at half of that time. With less than
# the second value left it is not renewed at all.
RENEW: Final = 60.0
RENEW_AT_ALL: Final = 1.0
# How long a decision waits for the event of its gate, which may still be on its way from the engine.
HOLD: Final = 5.0
# After a tick this late the machine was suspended or busy, so a silent server proves nothing.
LATE: Final = 1.0

ACK_FRAMES: Final = 64
ACK_BYTES: Final = 256 * 1024
