"""`Grant`: what a token permits, to whom, and until when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec import Struct

from ...protocol import Role

_RIGHTS: Final[dict[Role, int]] = {"view": 0, "operate": 1, "publish": 2}

MISSING: Final = "the token is missing: send it as a bearer token, or in the first message"
WRONG: Final = "the token is wrong, was taken back, or is for another DAG"
EXPIRED: Final = "the token has expired"


class Grant(Struct, frozen=True, kw_only=True):
    """What a client may do. Each role includes those before it: `view`, `operate`, `publish`."""

    role: Role
    user: str
    """Whose decisions these are, in the audit trail."""
    expires_at: int | None = None
    """Unix milliseconds."""

    def is_over(self, now: int) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def permits(self, needed: Role) -> bool:
        return _RIGHTS[self.role] >= _RIGHTS[needed]


Authorize: TypeAlias = Callable[[str | None], Grant | None]
"""What a token permits, also one that has expired; None where it is missing or wrong."""
