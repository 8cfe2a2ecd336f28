"""The command line: `dagwidget demo | serve | token | schema`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import secrets
import signal
import ssl
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args
from urllib.parse import urlsplit

import msgspec

from . import local
from . import protocol as p
from .errors import DagwidgetError
from .limits import Limits
from .tokens import Tokens

if TYPE_CHECKING:
    from .log import Journal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except DagwidgetError as error:
        print(f"dagwidget: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dagwidget", description="A running DAG, live in a notebook cell.")
    commands = parser.add_subparsers(required=True, metavar="command")

    demo = commands.add_parser("demo", help="open JupyterLab on the quickstart, with a run in its cell")
    demo.add_argument("--port", type=_port, default=0, help="where JupyterLab listens (default: a free port)")
    demo.add_argument("--no-browser", action="store_true", help="print the address instead of opening it")
    demo.add_argument("--nodes", type=_nodes, metavar="N", help="play a made-up run of N nodes instead")
    demo.set_defaults(run=_demo)

    serve = commands.add_parser("serve", help="run the stream server")
    serve.add_argument("--host", default="127.0.0.1", help="interface to listen on (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=8899, help="port; 0 for a free one (default: %(default)s)")
    serve.add_argument("--token", type=_something, help="what clients must show (default: a random one, printed)")
    _add_tokens(serve)
    serve.add_argument("--no-auth", action="store_true", help="let in everybody on this machine; loopback only")
    serve.add_argument(
        "--allow-origin", type=_origin, action="append", default=[], metavar="URL", help="a page that may connect"
    )
    serve.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="a name the server goes by")
    serve.add_argument("--certificate", metavar="FILE", help="TLS certificate chain (PEM); needs --key")
    serve.add_argument("--key", metavar="FILE", help="TLS private key (PEM)")
    serve.add_argument("--log", metavar="FILE", help="where runs are kept, or 'memory' (default: a file for each port)")
    serve.add_argument("--idle-seconds", type=_seconds, help="stop after this long without a connection")
    serve.add_argument("--embedded", action="store_true", help="be this machine's server: found by everybody on it")
    serve.set_defaults(run=_serve)

    token = commands.add_parser("token", help="give out tokens, list them, and take them back")
    actions = token.add_subparsers(required=True, metavar="action")
    create = actions.add_parser("create", help="give out a token, and print it: nobody will know it again")
    create.add_argument(
        "name", type=_something, help="whose it is: shown with each decision, and what a gate's assignees= means"
    )
    create.add_argument("--role", choices=get_args(p.Role), default="view", help="each includes those before it")
    create.add_argument("--dag", metavar="ID", help="the only DAG that it is for (default: every DAG)")
    create.add_argument("--expires", type=_lifetime, default="30d", metavar="12h", help="d, h, m or s, or 'never'")
    create.set_defaults(run=_token_create)
    listing = actions.add_parser("list", help="list the tokens that were given out")
    listing.set_defaults(run=_token_list)
    revoke = actions.add_parser("revoke", help="take a token back, at once")
    revoke.add_argument("id", help="as in the list")
    revoke.set_defaults(run=_token_revoke)
    for action in (create, listing, revoke):
        _add_tokens(action)

    schema = commands.add_parser("schema", help="print the protocol's JSON Schema")
    schema.add_argument("--asyncapi", action="store_true", help="print its AsyncAPI 3.0 document instead")
    schema.set_defaults(run=_schema)
    return parser


def _add_tokens(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", metavar="FOLDER", help="where the tokens that were given out are kept, hashed")


def _tokens(options: argparse.Namespace) -> Tokens:
    return Tokens(Path(options.tokens) if options.tokens else local.tokens_folder())


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535; not {text!r}")
    return int(text)


def _nodes(text: str) -> int:
    if not text.isdecimal() or not 5 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"a number from 5 to 100000; not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"seconds are a number, 0 or more; not {text!r}")
    return seconds


def _something(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"it needs printable characters; not {text!r}")
    return text


def _origin(text: str) -> str:
    origin = urlsplit(text)
    if origin.scheme not in ("http", "https") or not origin.hostname or text != f"{origin.scheme}://{origin.netloc}":
        raise argparse.ArgumentTypeError(f"an origin looks like https://hub.example.org; not {text!r}")
    return text


def _lifetime(text: str) -> int | None:
    """Milliseconds, or None for ever."""
    if text == "never":
        return None
    found = re.fullmatch(r"(\d+)([dhms])", text)
    if found is None or int(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"a time looks like 30d, 12h, 90m, 45s, or 'never'; not {text!r}")
    return int(found[1]) * {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}[found[2]]


def _token_create(options: argparse.Namespace) -> int:
    if options.dag is not None:
        try:
            p.check_dag_id(options.dag)
        except ValueError as error:
            raise DagwidgetError(f"--dag: {error}") from error
    now = time.time_ns() // 1_000_000
    expires_at = None if options.expires is None else now + options.expires
    _, secret = _tokens(options).create(options.name, options.role, now=now, expires_at=expires_at, dag_id=options.dag)
    print(secret)
    return 0


def _token_list(options: argparse.Namespace) -> int:
    now = time.time_ns() // 1_000_000
    for token in _tokens(options).all():
        over = token.expires_at is not None and token.expires_at <= now
        until = (
            "never expires"
            if token.expires_at is None
            else f"{'expired' if over else 'until'} {_day(token.expires_at)}"
        )
        print(f"{token.id}  {token.role:8} {token.dag_id or 'every DAG':24} {until:24} {token.name}")
    return 0


def _token_revoke(options: argparse.Namespace) -> int:
    token = _tokens(options).revoke(options.id)
    print(f"the token {token.id} of {token.name} is no longer good")
    return 0


def _day(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at / 1000))


def _demo(options: argparse.Namespace) -> int:
    try:
        from .demo import demo
    except ImportError as error:
        raise DagwidgetError(f'the demo needs JupyterLab: pip install "dagwidget[demo]" ({error})') from error
    demo(port=options.port, browser=not options.no_browser, nodes=options.nodes)
    return 0


def _schema(options: argparse.Namespace) -> int:
    from .asyncapi import asyncapi

    document = asyncapi() if options.asyncapi else p.schema()
    print(msgspec.json.format(msgspec.json.encode(document), indent=1).decode())
    return 0


def _serve(options: argparse.Namespace) -> int:
    loopback = options.host in local.LOOPBACK
    if options.no_auth and not loopback:
        raise DagwidgetError(f"--no-auth would let in everybody who can reach {options.host}: it is for loopback only")
    if options.no_auth and options.embedded:
        raise DagwidgetError("--embedded always has a token: leave out --no-auth")
    return asyncio.run(_serve_until_told(options))


async def _serve_until_told(options: argparse.Namespace) -> int:
    from .server import StreamServer

    journal = _journal(options)
    token = None if options.no_auth else options.token or secrets.token_urlsafe(24)
    limits = Limits() if options.idle_seconds is None else Limits(idle_seconds=options.idle_seconds)
    server = StreamServer(
        host=options.host,
        port=0 if options.embedded else options.port,
        token=token,
        tokens=_tokens(options),
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
                    local.release()
    except OSError as error:
        raise DagwidgetError(f"can't listen on {options.host}:{options.port}: {error.strerror or error}") from error
    finally:
        if journal is not None:
            journal.close()
    return 0


def _journal(options: argparse.Namespace) -> Journal | None:
    """Where runs are kept. A file that was asked for must be there; the usual one may come later."""
    from .log.sqlite import SqliteJournal

    if options.log == "memory":
        return None
    if options.log is None:
        name = "embedded" if options.embedded else f"port-{options.port}"
        return SqliteJournal(local.log_file(name), lazy=True)
    try:
        return SqliteJournal(Path(options.log))
    except OSError as error:
        raise DagwidgetError(f"can't keep runs there: {error}") from error


def _claim(url: str, token: str) -> bool:
    try:
        return local.claim(url, token)
    except OSError as error:
        raise DagwidgetError(f"can't write {local.runtime_file()}: {error.strerror or error}") from error


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


if __name__ == "__main__":
    sys.exit(main())
