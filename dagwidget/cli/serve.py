"""`dagwidget serve`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import secrets
import signal
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from .. import challenge, discovery
from ..errors import DagwidgetError
from ..protocol.limits import Limits
from .arguments import add_tokens_option, host_name, origin, port, seconds, token_store

if TYPE_CHECKING:
    from ..server.storage.event_store import Journal


_TOKEN_VARIABLE: Final = "DAGWIDGET_TOKEN"  # noqa: S105
_SHORTEST_TOKEN: Final = 16
_EVERY_INTERFACE: Final = frozenset({"", "*"})


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    serve = commands.add_parser("serve", help="run the stream server")
    serve.add_argument("--host", default="127.0.0.1", help="interface to listen on (default: %(default)s)")
    serve.add_argument(
        "--port", type=port, default=8899, help="port to listen on; 0 for a free port (default: %(default)s)"
    )
    serve.add_argument(
        "--token-file",
        metavar="FILE",
        help=f"file with the token that clients must present (default: {_TOKEN_VARIABLE}, else generated and printed)",
    )
    # Other users of the machine see the arguments of every process.
    serve.add_argument("--token", help=argparse.SUPPRESS)
    add_tokens_option(serve)
    serve.add_argument(
        "--no-auth", action="store_true", help="accept every program on this machine without a token; loopback only"
    )
    serve.add_argument(
        "--allow-origin",
        type=origin,
        action="append",
        default=[],
        metavar="URL",
        help="origin of web pages that may connect, such as https://hub.example.org; repeatable",
    )
    serve.add_argument(
        "--allow-host",
        type=host_name,
        action="append",
        default=[],
        metavar="NAME",
        help="host name under which clients reach the server; required with --host 0.0.0.0 and ::; repeatable",
    )
    serve.add_argument("--certificate", metavar="FILE", help="TLS certificate chain (PEM); requires --key")
    serve.add_argument("--key", metavar="FILE", help="TLS private key (PEM); requires --certificate")
    serve.add_argument(
        "--log",
        metavar="FILE",
        help="file that stores the runs, or 'memory' (default: a file for each port, in Jupyter's data folder)",
    )
    serve.add_argument(
        "--idle-seconds", type=seconds, metavar="SECONDS", help="stop after this time without a connection"
    )
    serve.add_argument(
        "--embedded", action="store_true", help="become this machine's server, which your notebooks and scripts find"
    )
    serve.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    loopback = options.host in discovery.LOOPBACK
    if options.no_auth and not loopback:
        raise DagwidgetError(
            f"--no-auth is for loopback only, got --host {options.host}: leave out --no-auth, or use --host 127.0.0.1"
        )
    if options.no_auth and options.embedded:
        raise DagwidgetError("--embedded always requires a token: leave out --no-auth")
    if options.token_file is not None and (options.embedded or options.no_auth):
        other = "--embedded" if options.embedded else "--no-auth"
        raise DagwidgetError(f"--token-file has no effect with {other}: leave out one of them")
    if _is_every_interface(options.host) and not options.allow_host:
        raise DagwidgetError(
            f"--host {options.host or repr('')} requires the name by which clients reach the server, such as"
            " --allow-host dags.example.org: a page that gives itself another name is refused"
        )
    return asyncio.run(_serve_until_stopped(options))


async def _serve_until_stopped(options: argparse.Namespace) -> int:
    from ..server.app import StreamServer

    stop = _stop_signal()
    # Before the log is opened, which a refused start leaves alone.
    given = _given_token(options)
    journal = _journal(options)
    token = None if options.no_auth else given or secrets.token_urlsafe(24)
    _raise_file_limit()
    limits = Limits() if options.idle_seconds is None else Limits(idle_seconds=options.idle_seconds)
    server = StreamServer(
        host=options.host,
        port=0 if options.embedded else options.port,
        token=token,
        tokens=token_store(options),
        origins=options.allow_origin,
        hosts=[*options.allow_host, *([] if _is_every_interface(options.host) else [options.host])],
        limits=limits,
        tls=_tls(options),
        journal=journal,
    )
    try:
        try:
            await server.listen()
        except OSError as error:
            raise DagwidgetError(_cannot_listen(options.host, options.port, error)) from error
        # Before the file of runs is opened: of two servers that start at once, the one that stays must have it.
        if options.embedded and not _claim(_address(options, server.url), token or ""):
            print("this machine already has a server; this one stops", flush=True)
            return 0
        async with server:
            _print_address(options, _address(options, server.url), None if given else token)
            try:
                await _first(stop, server.idle if options.embedded or options.idle_seconds else None)
            finally:
                if options.embedded:
                    discovery.release()
    finally:
        await server.close()
        if journal is not None:
            journal.close()
    return 0


def _journal(options: argparse.Namespace) -> Journal | None:
    """The log that stores the runs. A file named with `--log` must be writable at once; the default file need not."""
    from ..server.storage.sqlite import SqliteJournal

    if options.log == "memory":
        return None
    if options.log is None:
        name = "embedded" if options.embedded else f"port-{options.port}"
        return SqliteJournal(discovery.log_file(name), lazy=True)
    try:
        return SqliteJournal(Path(options.log))
    except OSError as error:
        raise DagwidgetError(f"can't store runs in {options.log}: {error}") from error


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    hint = ": choose another with --port, or --port 0 for a free one" if error.errno == errno.EADDRINUSE else ""
    return f"can't listen on {host}:{port}: {error.strerror or error}{hint}"


def _claim(url: str, token: str) -> bool:
    try:
        return discovery.claim(url, token)
    except OSError as error:
        raise DagwidgetError(f"can't write {discovery.runtime_file()}: {error.strerror or error}") from error


def _given_token(options: argparse.Namespace) -> str | None:
    """The token that the user has chosen, if any."""
    if options.token is not None:
        raise DagwidgetError(
            "--token would show the token to every user of this machine, in the list of processes:"
            f" use --token-file FILE, or set {_TOKEN_VARIABLE}"
        )
    if options.embedded or options.no_auth:
        return None
    if options.token_file is None:
        where, token = _TOKEN_VARIABLE, os.environ.get(_TOKEN_VARIABLE, "")
        if not token:
            return None
    else:
        where = f"--token-file {options.token_file}"
        try:
            # Editors on Windows may begin it with a byte order mark.
            token = Path(options.token_file).read_text(encoding="utf-8-sig").strip()
        except (OSError, ValueError) as error:
            raise DagwidgetError(f"can't read {where}: {error}") from error
        lines = len(token.splitlines())
        if lines > 1:
            raise DagwidgetError(f"{where}: the file holds one token, on one line, got {lines} lines")
    if len(token) < _SHORTEST_TOKEN or not token.isprintable() or not token.isascii():
        raise DagwidgetError(
            f"{where}: a token has {_SHORTEST_TOKEN} or more printable ASCII characters, since whoever can connect can"
            " guess at it: make one with `openssl rand -hex 24`"
        )
    return token


def _raise_file_limit() -> None:
    """Let this process open as many files as it may: each connection is one."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _print_address(options: argparse.Namespace, url: str, generated: str | None) -> None:
    if options.embedded:
        # The token is in the runtime file: it must not be in a log.
        print(f"serving at {url}", flush=True)
        return
    print(f"serving at {url}\n\n    export DAGWIDGET_URL={url}", flush=True)
    if options.no_auth:
        print("\nWARNING: --no-auth: every program on this machine can watch and steer every run.", flush=True)
    elif generated is not None:
        print(f"    export {_TOKEN_VARIABLE}={generated}", flush=True)


def _is_every_interface(host: str) -> bool:
    """Whether the server listens on all interfaces: `0.0.0.0`, `::`, and what a system takes for them (`0`, `::0`)."""
    address = challenge.address_of(host)
    return host in _EVERY_INTERFACE or (address is not None and address.is_unspecified)


def _address(options: argparse.Namespace, url: str) -> str:
    """The URL to reach the server by: on every interface by a name that it answers to, not by `0.0.0.0`."""
    if not _is_every_interface(options.host):
        return url
    loopback = "::1" if ":" in options.host else "127.0.0.1"
    host = loopback if options.embedded else options.allow_host[0]
    scheme, port = urlsplit(url).scheme, url.rpartition(":")[2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _stop_signal() -> asyncio.Event:
    """An event that is set when somebody asks this process to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(name, stop.set)
    return stop


async def _first(*events: asyncio.Event | None) -> None:
    """Wait for the first of the events."""
    waits = [asyncio.ensure_future(event.wait()) for event in events if event is not None]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if not options.certificate and not options.key:
        return None
    if not options.certificate or not options.key:
        raise DagwidgetError("TLS requires both --certificate FILE and --key FILE")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options.certificate, options.key)
    except (OSError, ssl.SSLError) as error:
        raise DagwidgetError(
            f"can't use the TLS certificate {options.certificate} with the key {options.key}: {error}"
        ) from error
    return context
