"""`dagwidget serve`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import signal
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from .. import discovery
from ..errors import DagwidgetError
from ..protocol.limits import Limits
from .arguments import add_tokens_option, origin, port, printable, seconds, token_store

if TYPE_CHECKING:
    from ..server.storage.event_store import Journal


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    serve = commands.add_parser("serve", help="run the stream server")
    serve.add_argument("--host", default="127.0.0.1", help="interface to listen on (default: %(default)s)")
    serve.add_argument("--port", type=port, default=8899, help="port; 0 for a free one (default: %(default)s)")
    serve.add_argument("--token", type=printable, help="what clients must show (default: a random one, printed)")
    add_tokens_option(serve)
    serve.add_argument("--no-auth", action="store_true", help="let in everybody on this machine; loopback only")
    serve.add_argument(
        "--allow-origin", type=origin, action="append", default=[], metavar="URL", help="a page that may connect"
    )
    serve.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="a name the server goes by")
    serve.add_argument("--certificate", metavar="FILE", help="TLS certificate chain (PEM); needs --key")
    serve.add_argument("--key", metavar="FILE", help="TLS private key (PEM)")
    serve.add_argument("--log", metavar="FILE", help="where runs are kept, or 'memory' (default: a file for each port)")
    serve.add_argument("--idle-seconds", type=seconds, help="stop after this long without a connection")
    serve.add_argument("--embedded", action="store_true", help="be this machine's server: found by everybody on it")
    serve.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    loopback = options.host in discovery.LOOPBACK
    if options.no_auth and not loopback:
        raise DagwidgetError(f"--no-auth would let in everybody who can reach {options.host}: it is for loopback only")
    if options.no_auth and options.embedded:
        raise DagwidgetError("--embedded always has a token: leave out --no-auth")
    return asyncio.run(_serve_until_told(options))


async def _serve_until_told(options: argparse.Namespace) -> int:
    from ..server.app import StreamServer

    journal = _journal(options)
    token = None if options.no_auth else options.token or secrets.token_urlsafe(24)
    limits = Limits() if options.idle_seconds is None else Limits(idle_seconds=options.idle_seconds)
    server = StreamServer(
        host=options.host,
        port=0 if options.embedded else options.port,
        token=token,
        tokens=token_store(options),
        origins=options.allow_origin,
        hosts=options.allow_host,
        limits=limits,
        tls=_tls(options),
        journal=journal,
    )
    try:
        async with server:
            if options.embedded and not _claim(server.url, token or ""):
                print("another server of this machine is running; this one is not needed", flush=True)
                return 0
            _introduce(options, server.url, token)
            try:
                await _told_to_stop(server.idle if options.embedded or options.idle_seconds else None)
            finally:
                if options.embedded:
                    discovery.release()
    except OSError as error:
        raise DagwidgetError(f"can't listen on {options.host}:{options.port}: {error.strerror or error}") from error
    finally:
        if journal is not None:
            journal.close()
    return 0


def _journal(options: argparse.Namespace) -> Journal | None:
    """Where runs are kept. A file that was asked for must be there; the usual one may come later."""
    from ..server.storage.sqlite import SqliteJournal

    if options.log == "memory":
        return None
    if options.log is None:
        name = "embedded" if options.embedded else f"port-{options.port}"
        return SqliteJournal(discovery.log_file(name), lazy=True)
    try:
        return SqliteJournal(Path(options.log))
    except OSError as error:
        raise DagwidgetError(f"can't keep runs there: {error}") from error


def _claim(url: str, token: str) -> bool:
    try:
        return discovery.claim(url, token)
    except OSError as error:
        raise DagwidgetError(f"can't write {discovery.runtime_file()}: {error.strerror or error}") from error


def _introduce(options: argparse.Namespace, url: str, token: str | None) -> None:
    if options.embedded:
        # The token is in the runtime file; a log is no place for it.
        print(f"serving at {url}", flush=True)
        return
    print(f"serving at {url}\n\n    export DAGWIDGET_URL={url}", flush=True)
    if token is None:
        print("\nWARNING: --no-auth: every program on this machine may watch and steer every run.", flush=True)
    else:
        print(f"    export DAGWIDGET_TOKEN={token}", flush=True)


async def _told_to_stop(idle: asyncio.Event | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(name, stop.set)
    waits = [asyncio.ensure_future(event.wait()) for event in (stop, idle) if event is not None]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if not options.certificate and not options.key:
        return None
    if not options.certificate or not options.key:
        raise DagwidgetError("TLS needs both: --certificate FILE and --key FILE")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options.certificate, options.key)
    except (OSError, ssl.SSLError) as error:
        raise DagwidgetError(f"can't use {options.certificate} and {options.key}: {error}") from error
    return context
