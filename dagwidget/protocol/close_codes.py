"""The close codes of the WebSocket."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

CODE_HEADER: Final = "Dagwidget-Code"
"""The HTTP header in which a server names the close code of a refused handshake."""


class CloseCode(Struct, frozen=True):
    """A code that `bye` and the close frame carry.

    `retry` is what the `bye` says. Without a `bye` a client reconnects, whatever the code: proxies and restarts make
    codes of their own.
    """

    code: int
    name: str
    retry: bool
    meaning: str


CLOSE_CODES: Final = (
    CloseCode(1000, "done", False, "closed"),
    CloseCode(1001, "going_away", False, "the server, or a proxy, went away"),
    CloseCode(4000, "restart", True, "the server restarts"),
    CloseCode(4001, "slow", True, "the client fell behind and stopped acknowledging"),
    CloseCode(4003, "position_lost", True, "the server lost the client's place in the log"),
    CloseCode(4005, "token_expired", True, "the token expired; renew it first"),
    CloseCode(4006, "replaced", False, "another process took over this run"),
    CloseCode(4008, "log_unavailable", True, "the log can't be written or read"),
    CloseCode(4400, "bad_message", False, "a message does not follow the protocol"),
    CloseCode(4401, "unauthorized", False, "the token is missing or wrong"),
    CloseCode(4403, "forbidden", False, "the page's origin, or the token's role, does not permit this"),
    CloseCode(4404, "unknown_run", True, "no such DAG or run yet"),
    CloseCode(4408, "hello_timeout", True, "no hello in time"),
    CloseCode(4409, "version", False, "the protocol versions do not match; update dagwidget"),
    CloseCode(4410, "not_kept", False, "the run was deleted by retention"),
    CloseCode(4412, "ambiguous_run", False, "several runs are live; name one"),
    CloseCode(4413, "too_large", False, "a message is larger than the limit"),
    CloseCode(4429, "too_often", True, "too many messages or connections"),
)
"""All of them. Any other code comes from the network or a proxy, and the client reconnects."""
