"""`RoomCode`: the codes of the errors that a room reports of itself. A publisher can't use them."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

RoomCode: TypeAlias = Literal[
    "budget_spent", "log_available", "log_damaged", "log_gap", "log_replaced", "log_unavailable"
]
"""What `Room.warn` takes; mypy refuses a warning whose code is not here."""

ROOM_CODES: Final[frozenset[str]] = frozenset(get_args(RoomCode))
