"""`dagwidget token create`, `list` and `revoke`."""

from __future__ import annotations

import argparse
import time
from typing import get_args

from .. import protocol as p
from ..errors import DagwidgetError
from .arguments import add_tokens_option, lifetime, printable, token_store


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    token = commands.add_parser("token", help="create, list and revoke tokens")
    actions = token.add_subparsers(required=True, metavar="action")
    create = actions.add_parser("create", help="create a token and print it; only its hash is stored")
    create.add_argument(
        "name", type=printable, help="name of the person: shown with each decision, and used in a gate's assignees"
    )
    create.add_argument(
        "--role",
        choices=get_args(p.Role),
        default="view",
        help="what the token permits; each role includes the ones before it (default: %(default)s)",
    )
    create.add_argument("--dag", metavar="ID", help="limit the token to this DAG (default: all DAGs)")
    create.add_argument(
        "--expires",
        type=lifetime,
        default="30d",
        metavar="TIME",
        help="lifetime, such as 30d, 12h, 90m or 45s, or 'never' (default: %(default)s)",
    )
    create.set_defaults(run=_token_create)
    listing = actions.add_parser("list", help="list the created tokens")
    listing.set_defaults(run=_token_list)
    revoke = actions.add_parser("revoke", help="revoke a token at once")
    revoke.add_argument("id", help="id of the token, from the list")
    revoke.set_defaults(run=_token_revoke)
    for action in (create, listing, revoke):
        add_tokens_option(action)


def _token_create(options: argparse.Namespace) -> int:
    if options.dag is not None:
        try:
            p.check_dag_id(options.dag)
        except ValueError as error:
            raise DagwidgetError(f"--dag: {error}") from error
    now = time.time_ns() // 1_000_000
    expires_at = None if options.expires is None else now + options.expires
    _, secret = token_store(options).create(
        options.name, options.role, now=now, expires_at=expires_at, dag_id=options.dag
    )
    print(secret)
    return 0


def _token_list(options: argparse.Namespace) -> int:
    now = time.time_ns() // 1_000_000
    for token in token_store(options).all():
        expired = token.expires_at is not None and token.expires_at <= now
        until = (
            "never expires"
            if token.expires_at is None
            else f"{'expired' if expired else 'until'} {_day(token.expires_at)}"
        )
        print(f"{token.id}  {token.role:8} {token.dag_id or 'all DAGs':24} {until:24} {token.name}")
    return 0


def _token_revoke(options: argparse.Namespace) -> int:
    token = token_store(options).revoke(options.id)
    print(f"token {token.id} of {token.name} is revoked")
    return 0


def _day(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at / 1000))
