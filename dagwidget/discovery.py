"""This machine's stream server: how it is found, and started where there is none.

The server writes down where it listens in a file in Jupyter's runtime folder, that only its user may read; everybody
else on the machine looks there. `DAGWIDGET_URL` and `DAGWIDGET_TOKEN` take precedence.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

from .errors import ServerNotFound

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""The names of this machine to itself."""

_START_SECONDS: Final = 15.0
_ANSWER_SECONDS: Final = 2.0
_LOG_TAIL: Final = 2000

Token: TypeAlias = str | Callable[[], str]
"""What a server asks for, or what gives it: called before each connection, and when it is about to expire."""


class Endpoint(NamedTuple):
    """Where a stream server is: its base URL, `ws://…` or `wss://…`, and the token that it asks for."""

    url: str
    token: str | None = None

    def stream_url(self, dag_id: str, run_id: str | None = None) -> str:
        """Where viewers of a DAG connect, or of one of its runs."""
        return self._room(dag_id, "stream" if run_id is None else f"runs/{quote(run_id, safe='')}/stream")

    def publish_url(self, dag_id: str) -> str:
        """Where engines of a DAG connect."""
        return self._room(dag_id, "publish")

    def _room(self, dag_id: str, endpoint: str) -> str:
        return f"{self.url.rstrip('/')}/api/dags/{quote(dag_id, safe='')}/{endpoint}"


def check_url(url: str) -> str:
    """A base URL as `ws` or `wss`; `http` and `https` are taken to mean these.

    Raises:
        ValueError: it is not the URL of a server.
    """
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"the URL of a stream server looks like ws://127.0.0.1:8899 or wss://host/path; not {url!r}")
    if parts.query or parts.fragment:
        raise ValueError(f"a stream server's URL has no query and no fragment (a token goes into token=…): {url!r}")
    return urlunsplit((scheme, parts.netloc, parts.path, "", ""))


def runtime_file() -> Path:
    """Where this machine's server says where it is."""
    from jupyter_core.paths import jupyter_runtime_dir

    return Path(jupyter_runtime_dir()) / "dagwidget-server.json"


def log_file(name: str) -> Path:
    """Where the server of that name keeps its runs."""
    from jupyter_core.paths import jupyter_data_dir

    return Path(jupyter_data_dir()) / "dagwidget" / f"{name}.sqlite3"


def tokens_folder() -> Path:
    """Where the tokens are kept that were given out."""
    from jupyter_core.paths import jupyter_data_dir

    return Path(jupyter_data_dir()) / "dagwidget" / "tokens"


def find() -> Endpoint | None:
    """The server that the environment names, or that runs on this machine."""
    url = os.environ.get("DAGWIDGET_URL")
    if url:
        return Endpoint(check_url(url), os.environ.get("DAGWIDGET_TOKEN") or None)
    return _running(runtime_file())


def locator(url: str | None, token: Token | None = None) -> Callable[[], Endpoint]:
    """How to find the server, anew at each attempt; what it gives may block, and raise `ServerNotFound`.

    Without a `url` it is the one that the environment names, or this machine's, started if need be. Without a `token`
    it is `DAGWIDGET_TOKEN`, or the one of this machine's server.

    Raises:
        ValueError: `url` is not the URL of a server.
    """
    base = None if url is None else check_url(url)

    def locate() -> Endpoint:
        if base is None:
            found = ensure_server()
        else:
            own = find() if token is None else None
            same = own is not None and own.url.rstrip("/") == base.rstrip("/")
            found = own if own is not None and same else Endpoint(base, os.environ.get("DAGWIDGET_TOKEN") or None)
        return found if token is None else Endpoint(found.url, _shown(token))

    return locate


def _shown(token: Token) -> str:
    if isinstance(token, str):
        return token
    try:
        shown = token()
    except Exception as error:
        raise ServerNotFound(f"token() raised {type(error).__name__}: {error}") from error
    if not isinstance(shown, str):
        raise ServerNotFound(f"token() must return a string, not {type(shown).__name__}")
    return shown


def ensure_server() -> Endpoint:
    """The server, started first where there is none.

    Raises:
        ServerNotFound: it could not be started; the text says why, from its log.
    """
    endpoint = find()
    if endpoint is not None:
        return endpoint
    path = runtime_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    log = path.with_suffix(".log")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagwidget.cli", "serve", "--embedded"],
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
        # One that lost the race against another ends well, and the winner is about to answer.
        if process.poll():
            break
        time.sleep(0.02)
    raise ServerNotFound(
        f"the stream server did not start (`{sys.executable} -m dagwidget.cli serve --embedded`); {log} ends with:\n"
        + log.read_text(errors="replace")[-_LOG_TAIL:]
    )


def claim(url: str, token: str) -> bool:
    """Write down that this process is the machine's server; False where another one is, and answers."""
    path = runtime_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = path.with_name(f"{path.name}.{os.getpid()}")
    description = {"url": url, "token": token, "pid": os.getpid()}
    with os.fdopen(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(description, file)
    try:
        for _ in range(2):
            try:
                # A link fails where the file exists, so of two servers that start at once one wins.
                os.link(mine, path)
                return True
            except FileExistsError:
                stale = _read(path)
                if _running(path) is not None:
                    return False
                _clear_away(path, stale)
        return False
    finally:
        mine.unlink()


def _clear_away(path: Path, stale: dict[str, object]) -> None:
    """Remove the file of a server that is gone; but not one that another server has put there in the meantime."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.stale")
    with contextlib.suppress(FileNotFoundError):
        path.replace(aside)
        if _read(aside) != stale:
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def release() -> None:
    """Take back what `claim` wrote down."""
    path = runtime_file()
    if _read(path).get("pid") == os.getpid():
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _running(path: Path) -> Endpoint | None:
    """The server that a runtime file names, if it is the one that answers there."""
    described = _read(path)
    url, pid = described.get("url"), described.get("pid")
    if not isinstance(url, str) or not isinstance(pid, int) or not _alive(pid):
        return None
    health = f"{url.replace('ws', 'http', 1)}/healthz"
    try:
        # This machine is on no other side of any proxy.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(health, timeout=_ANSWER_SECONDS) as response:
            answer = json.load(response)
    except (OSError, ValueError, http.client.HTTPException):
        return None
    if not isinstance(answer, dict) or answer.get("pid") != pid:
        return None
    token = described.get("token")
    return Endpoint(url, token if isinstance(token, str) else None)


def _read(path: Path) -> dict[str, object]:
    try:
        described = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return described if isinstance(described, dict) else {}


def _alive(pid: int) -> bool:
    if os.name == "nt":
        # There, a signal 0 would end the process; whether it answers tells as well.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Leave the server to itself: it is meant to outlive us, so that `Popen` would only complain of it."""
    process.returncode = 0
