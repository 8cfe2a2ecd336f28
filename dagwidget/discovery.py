"""Finds this machine's stream server, and starts one if there is none.

The server writes its address to a file in Jupyter's runtime folder that only its user may read; every other process of
that user looks there. `DAGWIDGET_URL` and `DAGWIDGET_TOKEN` take precedence.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

from . import challenge
from .errors import DagwidgetError, ServerNotFound, TokenUnavailable

if TYPE_CHECKING:
    import subprocess

LOOPBACK: Final = challenge.LOOPBACK
"""The loopback host names: no proxy is used for them."""

_START_SECONDS: Final = 15.0
_LOG_TAIL: Final = 2000

Token: TypeAlias = str | Callable[[], str]
"""A token, or a function that returns one: called before each connection, and when the token is about to expire."""


# Of the threads of a process that need a server, one starts it.
_starting = threading.Lock()


def _after_fork() -> None:
    # The thread that held the lock is not in the child.
    global _starting  # noqa: PLW0603
    _starting = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Endpoint(NamedTuple):
    """A stream server's base URL, `ws://…` or `wss://…`, and the token to present to it."""

    url: str
    token: str | None = None

    def stream_url(self, dag_id: str, run_id: str | None = None) -> str:
        """The URL that viewers of a DAG, or of one of its runs, connect to."""
        return self._room(dag_id, "stream" if run_id is None else f"runs/{quote(run_id, safe='')}/stream")

    def publish_url(self, dag_id: str) -> str:
        """The URL that publishers of a DAG connect to."""
        return self._room(dag_id, "publish")

    def _room(self, dag_id: str, endpoint: str) -> str:
        return f"{self.url.rstrip('/')}/api/dags/{quote(dag_id, safe='')}/{endpoint}"


def check_url(url: str) -> str:
    """Check the base URL of a server.

    Args:
        url: The URL; `http` and `https` mean `ws` and `wss`.

    Returns:
        The URL with the scheme `ws` or `wss`.

    Raises:
        TypeError: It is not a string.
        ValueError: It is not the URL of a server.
    """
    if not isinstance(url, str):
        raise TypeError(f"the URL of a stream server must be a string, got {type(url).__name__}: {url!r:.200}")
    parts = urlsplit(url)
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"the URL of a stream server names no port of a machine, got {url!r}: {error}") from None
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"the URL of a stream server looks like ws://127.0.0.1:8899 or wss://host/path, got {url!r}")
    if parts.query or parts.fragment:
        raise ValueError(
            f"the URL of a stream server has no query and no fragment (pass the token as token=…), got {url!r}"
        )
    return urlunsplit((scheme, parts.netloc, parts.path, "", ""))


def normalized(url: str | None) -> str | None:
    """One form for all URLs of a server; None for the default server."""
    return None if url is None else check_url(url).rstrip("/")


def runtime_file() -> Path:
    """The file in which this machine's server writes its address."""
    folder = os.environ.get("JUPYTER_RUNTIME_DIR")
    return (Path(folder) if folder else data_folder() / "runtime") / "dagwidget-server.json"


def log_file(name: str) -> Path:
    """The file in which the server of that name stores its runs."""
    return data_folder() / "dagwidget" / f"{name}.sqlite3"


def tokens_folder() -> Path:
    """The folder in which issued tokens are stored."""
    return data_folder() / "dagwidget" / "tokens"


def data_folder() -> Path:
    """Jupyter's data folder, by the rules of `jupyter_core`, which a container need not have.

    `JUPYTER_PLATFORM_DIRS` is ignored: a process with `platformdirs` and one without must find the same server.
    """
    folder = os.environ.get("JUPYTER_DATA_DIR")
    if folder:
        return Path(folder)
    home = Path.home().resolve()
    if sys.platform == "darwin":
        return home / "Library" / "Jupyter"
    if sys.platform == "win32":
        roaming = os.environ.get("APPDATA")
        return Path(roaming).resolve() / "jupyter" if roaming else home / ".jupyter" / "data"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "jupyter"


def find() -> Endpoint | None:
    """The server that the environment names, or else the one that runs on this machine."""
    return _from_environment() or _running(runtime_file())


def _from_environment() -> Endpoint | None:
    url = os.environ.get("DAGWIDGET_URL")
    if not url:
        return None
    try:
        return Endpoint(check_url(url), os.environ.get("DAGWIDGET_TOKEN") or None)
    except ValueError as error:
        raise ValueError(f"DAGWIDGET_URL: {error}") from None


def _check_token(token: str) -> None:
    # It is a header of HTTP.
    if not token.isascii() or not token.isprintable():
        raise ValueError("a token holds printable ASCII characters only")


def locator(url: str | None, token: Token | None = None) -> Callable[[], Endpoint]:
    """A function that finds the server again before each connection.

    Args:
        url: The server's base URL. None for `DAGWIDGET_URL`, or else this machine's server, started if need be.
        token: The token to present. None for `DAGWIDGET_TOKEN`, or else the token of this machine's server.

    Returns:
        The function. It may block, and raises `ServerNotFound` and `TokenUnavailable`. Before the token is sent there,
        see `proven`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `url`, or else `DAGWIDGET_URL`, is not the URL of a server; or `token` can't be sent.
    """
    base = None if url is None else check_url(url)
    if base is None:
        _from_environment()
    if isinstance(token, str):
        _check_token(token)
    elif token is not None and not callable(token):
        raise TypeError(f"token must be a string, or a function that returns one, got {type(token).__name__}")

    def locate() -> Endpoint:
        if base is None:
            found = ensure_server()
        else:
            own = find() if token is None else None
            same = own is not None and own.url.rstrip("/") == base.rstrip("/")
            found = own if own is not None and same else Endpoint(base, os.environ.get("DAGWIDGET_TOKEN") or None)
        return found if token is None else Endpoint(found.url, _current(token))

    return locate


def proven(endpoint: Endpoint) -> Endpoint:
    """The server that a token is about to be sent to; on this machine, it must prove first that it knows the token.

    Raises:
        OSError: Nobody answers there.
        ServerRefused: It does not know the token.
        ServerUnreachable: Another program answers.
    """
    if endpoint.token is not None and challenge.is_needed(endpoint.url):
        challenge.check(endpoint.url, endpoint.token)
    return endpoint


def _current(token: Token) -> str:
    if isinstance(token, str):
        return token
    try:
        current = token()
    except Exception as error:
        raise TokenUnavailable(f"token() raised {type(error).__name__}: {error}") from error
    if not isinstance(current, str):
        raise TokenUnavailable(f"token() must return a string, got {type(current).__name__}")
    return current


def ensure_server() -> Endpoint:
    """Find the server, and start one if there is none.

    Returns:
        The server that the environment names, or else this machine's.

    Raises:
        ServerNotFound: It did not start. The text holds the end of its log.
    """
    with _starting:
        return find() or _start()


def _start() -> Endpoint:
    import subprocess

    path = runtime_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    log = path.with_suffix(".log")
    command = (sys.executable, "-m", "dagwidget.cli", "serve", "--embedded")
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # It outlives the kernel that started it, and does not get its Ctrl+C.
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        endpoint = _running(path)
        if endpoint is not None:
            _reap(process)
            return endpoint
        # A server that lost the race against another exits with 0, and the winner is about to answer.
        if process.poll():
            break
        time.sleep(0.02)
    raise ServerNotFound(
        f"the stream server did not start (`{' '.join(command)}`). The end of {log}:\n"
        + log.read_text(errors="replace")[-_LOG_TAIL:],
        command=command,
        log_file=log,
    )


def claim(url: str, token: str) -> bool:
    """Register this process as the machine's server.

    Args:
        url: The base URL at which it listens.
        token: The token that it accepts.

    Returns:
        False if another server is registered and answers.
    """
    path = runtime_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = path.with_name(f"{path.name}.{os.getpid()}")
    description = {"url": url, "token": token, "pid": os.getpid()}
    with os.fdopen(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(description, file)
    try:
        for _ in range(2):
            try:
                # A link fails if the file exists, so if two servers start at once, only one wins.
                os.link(mine, path)
                return True
            except FileExistsError:
                stale = _read(path)
                if _running(path) is not None:
                    return False
                _remove(path, stale)
        return False
    finally:
        mine.unlink()


def _remove(path: Path, stale: dict[str, object]) -> None:
    """Remove the file of a server that has ended, unless another server has replaced it in the meantime."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.stale")
    with contextlib.suppress(FileNotFoundError):
        path.replace(aside)
        if _read(aside) != stale:
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def release() -> None:
    """Undo `claim`."""
    path = runtime_file()
    if _read(path).get("pid") == os.getpid():
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _running(path: Path) -> Endpoint | None:
    """The server that a runtime file names, if it answers there and knows its token."""
    described = _read(path)
    url, token, pid = described.get("url"), described.get("token"), described.get("pid")
    if not isinstance(url, str) or not isinstance(token, str) or not isinstance(pid, int) or not _alive(pid):
        return None
    try:
        challenge.check(url, token)
    except (OSError, ValueError, DagwidgetError):
        return None
    return Endpoint(url, token)


def _read(path: Path) -> dict[str, object]:
    try:
        described = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return described if isinstance(described, dict) else {}


def _alive(pid: int) -> bool:
    if os.name == "nt":
        # On Windows a signal 0 would end the process. Whether the server answers is checked anyway.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Keep `Popen` from warning about a server that is still running: it is meant to outlive this process."""
    process.returncode = 0
