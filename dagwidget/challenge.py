"""Before a token goes to a port of this machine, the other side proves that it knows it.

A program may have taken the port of a server that was killed. It is sent a random `nonce`, and the first digits of the
token's hash, which name the token. Only a program that has the token, or its hash, can compute the HMAC of the nonce.
On other machines, TLS identifies the server.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import ipaddress
import json
import re
import secrets
import socket
import time
from typing import Any, Final
from urllib.parse import urlsplit

from .errors import ServerRefused, ServerUnreachable

PATH: Final = "/api/challenge"
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""The loopback host names."""

_UNAUTHORIZED: Final = 4401
_OK: Final = 200
_ID_DIGITS: Final = 8
# For each address of the name, and for the answer in all.
_CONNECT_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 5.0
_MOST_BYTES: Final = 10_000


def key_of(token: str) -> str:
    """What a server needs to know of a token: its hash, in hexadecimal digits."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def proof(key: str, nonce: str) -> str:
    """The HMAC-SHA256 of a nonce, which only a program that has the key can compute."""
    return hmac.new(bytes.fromhex(key), nonce.encode(), hashlib.sha256).hexdigest()


def is_question(token_id: str, nonce: str) -> bool:
    """Whether these are of the form that `question` makes."""
    return bool(re.fullmatch(r"[0-9a-f]{8}", token_id) and re.fullmatch(r"[0-9a-f]{32,128}", nonce))


def is_needed(url: str) -> bool:
    """Whether a server must prove that it knows a token: on this machine, where no TLS says who it is."""
    parts = urlsplit(url)
    return parts.scheme == "ws" and is_here(parts.hostname)


def is_here(host: str | None) -> bool:
    """Whether a host in a URL is this machine: its loopback name, or any form of such an address, as `127.1`."""
    name = (host or "").lower().removesuffix(".")
    address = address_of(name)
    return name in LOOPBACK or (address is not None and (address.is_loopback or address.is_unspecified))


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host is, in any form that a socket takes; None for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            # `127.1`, `0x7f000001`, `0`.
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError):
            return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def question(url: str, token: str) -> tuple[str, str]:
    """The URL to ask for a proof, and the proof that a server which knows the token answers with."""
    nonce, key = secrets.token_hex(32), key_of(token)
    base = url.rstrip("/").replace("ws", "http", 1)
    return f"{base}{PATH}?id={key[:_ID_DIGITS]}&nonce={nonce}", proof(key, nonce)


def check(url: str, token: str) -> None:
    """Have the server at `url` prove that it knows the token.

    Raises:
        OSError: Nobody answers.
        ServerRefused: It does not know the token. It may be another program, so clients try again.
        ServerUnreachable: Another program answers.
    """
    asked, expected = question(url, token)
    status, answer = _get(asked)
    if status == _OK and answer == {"proof": None}:
        raise ServerRefused(
            f"the token is wrong, or another program has taken the port: what answers at {url} does not know the token,"
            " which was not sent to it",
            code=_UNAUTHORIZED,
        )
    said = answer.get("proof") if status == _OK else None
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(), expected.encode()):
        raise ServerUnreachable(
            f"what answers at {url} does not prove that it knows the token, which was not sent to it: another program"
            f" has taken the port, or it is an older version of dagwidget (HTTP {status or 'is not spoken'})",
            url=url,
        )


def _get(url: str) -> tuple[int, dict[str, object]]:
    """The status and the JSON object that a GET is answered with; empty where it is none."""
    import http.client

    parts = urlsplit(url)
    deadline = time.monotonic() + _ANSWER_SECONDS
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_CONNECT_SECONDS)

    def bounded(sock: Any, **options: Any) -> http.client.HTTPResponse:
        return http.client.HTTPResponse(_Bounded(sock, deadline), **options)  # type: ignore[arg-type]

    connection.response_class = bounded  # type: ignore[assignment]
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        response = connection.getresponse()
        answer = json.loads(response.read(_MOST_BYTES) or b"null") if response.status == _OK else None
    except http.client.HTTPException:
        return 0, {}
    except ValueError:
        return _OK, {}
    finally:
        connection.close()
    return response.status, answer if isinstance(answer, dict) else {}


class _Bounded(io.RawIOBase):
    """Reads from a socket until a deadline. The socket's own timeout starts again with each byte."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        # It holds the socket, which `http.client` lets go of once the head of an answer is there.
        self._sock, self._raw, self._deadline = sock, sock.makefile("rb", buffering=0), deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What `http.client` asks a socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Whether this can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive into the buffer."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no whole answer in {_ANSWER_SECONDS:g} s")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer) or 0

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()
