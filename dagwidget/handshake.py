"""How a program's WebSocket to a server begins, for clients and publishers.

The token travels in the handshake, so that proxies and Jupyter Server let it in. It goes to the host that the user has
named, and to no other.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from . import protocol as p
from .challenge import is_here
from .errors import ServerUnreachable
from .protocol.close_codes import CODE_HEADER

# The statuses after which a client always tries again. A final refusal must come from a stream server, which names its
# close code in a header: any proxy may answer with 401 or 403.
_CODES: Final[dict[int, int]] = {HTTPStatus.TOO_MANY_REQUESTS: 4429, HTTPStatus.SERVICE_UNAVAILABLE: 4429}
_QUOTED: Final = 200


class open_socket(connect):  # noqa: N801
    """Open a WebSocket; an asynchronous context manager, as `connect` of `websockets` is.

    Args:
        url: The whole URL.
        token: The token to present.
        options: As those of `connect`.
    """

    def __init__(self, url: str, token: str | None, **options: Any) -> None:
        super().__init__(
            url,
            additional_headers=None if token is None else {"Authorization": f"Bearer {token}"},
            compression=None,
            # Pings are messages of the protocol.
            ping_interval=None,
            # No proxy is between this process and a loopback server.
            proxy=None if is_here(urlsplit(url).hostname) else True,
            **options,
        )

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow a redirect only to the same host: the token, which also goes in the first message, is for that one."""
        before = self.uri
        target = super().process_redirect(exc)
        if isinstance(target, str) and not is_same_server(before, target):
            return ServerUnreachable(redirected(before, target), url=before)
        return target


def is_same_server(before: str, after: str) -> bool:
    """Whether two URLs are of the same server, and the second is no less secure."""
    return _server(urlsplit(before)) == _server(urlsplit(after))


def redirected(before: str, after: str) -> str:
    """What to say of a redirect that is not followed."""
    return (
        f"{before} redirects to another server, {after!r:.200}, which is not followed, as the token is not for it; "
        f"if that server is meant, pass its address as url="
    )


def _server(url: SplitResult) -> tuple[str, str | None, int | None]:
    secure = url.scheme in ("wss", "https")
    return ("secure" if secure else "plain", url.hostname, url.port or (443 if secure else 80))


def refusal(error: Exception) -> p.Bye | None:
    """What a server's HTTP answer to the handshake says, as a `bye`; None where it decides nothing."""
    if not isinstance(error, InvalidStatus):
        return None
    response = error.response
    named = response.headers.get(CODE_HEADER, "")
    code = int(named) if named.isdecimal() else _CODES.get(response.status_code)
    row = next((row for row in p.CLOSE_CODES if row.code == code), None)
    if row is None:
        return None
    text = (response.body or b"").decode("utf-8", "replace").strip()[:_QUOTED] or response.reason_phrase
    after = response.headers.get("Retry-After", "")
    return p.Bye(
        code=row.code,
        reason=f"{text} (HTTP {response.status_code})",
        retry=row.retry,
        after_ms=int(after) * 1000 if after.isdecimal() else None,
    )
