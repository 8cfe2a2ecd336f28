"""Who may connect: tokens, and the pages and host names that are let in."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Collection
from urllib.parse import urlsplit

from .local import LOOPBACK
from .session import Role


class Access:
    """What a server asks of its clients."""

    def __init__(
        self, token: str | None, *, origins: Collection[str] = (), hosts: Collection[str] = (), any_host: bool = False
    ) -> None:
        """Let in who knows `token` (anybody, where it is None).

        Args:
            token: The secret; it gives every right.
            origins: Pages that may connect, such as `https://hub.example.org`, beside those of this machine.
            hosts: Names that this server is called by, beside those of the loopback interface.
            any_host: Whether it may be called by any name: right for a server behind a proxy, that asks for a token.
        """
        self._token = token
        self._origins = frozenset(origins)
        self._hosts = LOOPBACK | frozenset(hosts)
        self._any_host = any_host

    def authorize(self, token: str | None) -> Role | None:
        """The role of who shows this token; None where it is not good."""
        if self._token is None:
            return "publish"
        good = token is not None and hmac.compare_digest(token.encode("utf-8", "replace"), self._token.encode())
        return "publish" if good else None

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
