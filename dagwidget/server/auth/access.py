"""Who may connect: tokens, and the pages and host names that are let in."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Collection
from urllib.parse import urlsplit

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
        any_host: bool = False,
    ) -> None:
        """Let in who knows `token` or one of `tokens` (anybody, where `token` is None).

        Args:
            token: The server's own secret; it gives every right.
            user: Whose decisions its holder makes, in the audit trail.
            tokens: Those that were given out, each with its rights.
            origins: Pages that may connect, such as `https://hub.example.org`, beside those of this machine.
            hosts: Names that this server is called by, beside those of the loopback interface.
            any_host: Whether it may be called by any name: right for a server behind a proxy, that asks for a token.
        """
        self._token = token
        self._all = Grant(role="publish", user=user)
        self._tokens = tokens
        self._origins = frozenset(origins)
        self._hosts = LOOPBACK | frozenset(hosts)
        self._any_host = any_host

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
        return Grant(role=known.role, user=known.name, expires_at=known.expires_at)

    def refuse_host(self, host: str | None) -> str | None:
        """Why a `Host` header is refused, if it is: a name that is not ours is how DNS rebinding comes in."""
        name = _name(host)
        if self._any_host or name in self._hosts:
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
