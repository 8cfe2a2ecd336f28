"""Who may connect: tokens, and the pages and host names that are let in."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Collection
from urllib.parse import urlsplit

from ... import challenge
from ...clock import clock
from ...discovery import LOOPBACK
from .grant import Grant
from .token_store import Tokens


class Access:
    """What a server asks of its clients."""

    def __init__(
        self,
        token: str | None,
        *,
        user: str = "operator",
        tokens: Tokens | None = None,
        origins: Collection[str] = (),
        hosts: Collection[str] = (),
    ) -> None:
        """Let in who knows `token` or one of `tokens` (anybody, where `token` is None).

        Args:
            token: The server's own secret; it gives every right.
            user: Whose decisions its holder makes, in the audit trail.
            tokens: Those that were given out, each with its rights.
            origins: Pages that may connect, such as `https://hub.example.org`, beside those of this machine.
            hosts: Names that this server is called by, beside those of the loopback interface.
        """
        self._token = token
        self._all = Grant(role="publish", user=user)
        self._tokens = tokens
        self._origins = frozenset(origins)
        self._hosts = LOOPBACK | {host.lower() for host in hosts}

    def authorize(self, token: str | None, dag_id: str | None = None) -> Grant | None:
        """What a token permits, also one that has expired; None where it is missing, wrong, or for another DAG.

        Without a `dag_id`, it is enough that there is some DAG that it is for.
        """
        if self._token is None:
            return self._all
        if token is None:
            return None
        if hmac.compare_digest(token.encode("utf-8", "replace"), self._token.encode()):
            return self._all
        known = None if self._tokens is None else self._tokens.find(token)
        if known is None or (dag_id is not None and known.dag_id not in (None, dag_id)):
            return None
        # It expires at a date, which the machine's clock gives: what that was set by since the start counts here.
        expires_at = None if known.expires_at is None else known.expires_at + clock.ahead()
        return Grant(role=known.role, user=known.name, expires_at=expires_at)

    def prove(self, token_id: str, nonce: str) -> dict[str, str | None]:
        """Prove to a client that this server knows its token; see `challenge`. Without a proof it does not.

        Raises:
            ValueError: The question is malformed.
        """
        if not challenge.is_question(token_id, nonce):
            raise ValueError("a challenge has an id of 8 hexadecimal digits, and a nonce of 32 to 128")
        own = None if self._token is None else challenge.key_of(self._token)
        if own is not None and own.startswith(token_id):
            return {"proof": challenge.proof(own, nonce)}
        given = None if self._tokens is None else self._tokens.with_id(token_id)
        return {"proof": None if given is None else challenge.proof(given.sha256, nonce)}

    def permits(self, token: str | None, dag_id: str) -> bool:
        """Whether a token is for a DAG, whatever it permits there."""
        return self.authorize(token, dag_id) is not None

    def refuse_host(self, host: str | None) -> str | None:
        """Why a `Host` header is refused, if it is: a name that is not ours is how DNS rebinding comes in."""
        name = _name(host)
        if name in self._hosts:
            return None
        return f"this server is not {host!r}: to call it that, start it with --allow-host {name or 'NAME'}"

    def refuse_origin(self, origin: str | None, host: str | None) -> str | None:
        """Why a page is refused, if it is. No `Origin` is no page: a program, which needs the token all the same."""
        if origin is None or origin in self._origins:
            return None
        with contextlib.suppress(ValueError):
            page = urlsplit(origin)
            if page.scheme in ("http", "https") and (page.hostname in LOOPBACK or page.netloc == host):
                return None
        return f"pages of {origin!r} may not connect: to let them, start the server with --allow-origin {origin}"


def bearer(header: str | None) -> str | None:
    """The token of an `Authorization` header."""
    kind, _, token = (header or "").partition(" ")
    return token.strip() if kind.lower() in ("bearer", "token") and token.strip() else None


def _name(host: str | None) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname if host else None
    except ValueError:
        return None
