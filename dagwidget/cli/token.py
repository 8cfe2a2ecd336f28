"""`dagwidget token create | list | revoke`."""

from __future__ import annotations

import argparse
import time
from typing import get_args

from .. import protocol as p
from ..errors import DagwidgetError
from .arguments import add_tokens_option, lifetime, printable, token_store


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    token = commands.add_parser("token", help="give out tokens, list them, and take them back")
    actions = token.add_subparsers(required=True, metavar="action")
    create = actions.add_parser("create", help="give out a token, and print it: nobody will know it again")
    create.add_argument(
        "name", type=printable, help="whose it is: shown with each decision, and what a gate's assignees= means"
    )
    create.add_argument("--role", choices=get_args(p.Role), default="view", help="each includes those before it")
    create.add_argument("--dag", metavar="ID", help="the only DAG that it is for (default: every DAG)")
    create.add_argument("--expires", type=lifetime, default="30d", metavar="12h", help="d, h, m or s, or 'never'")
    create.set_defaults(run=_token_create)
    listing = actions.add_parser("list", help="list the tokens that were given out")
    listing.set_defaults(run=_token_list)
    revoke = actions.add_parser("revoke", help="take a token back, at once")
    revoke.add_argument("id", help="as in the list")
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
        over = token.expires_at is not None and token.expires_at <= now
        until = (
            "never expires"
            if token.expires_at is None
            else f"{'expired' if over else 'until'} {_day(token.expires_at)}"
        )
        print(f"{token.id}  {token.role:8} {token.dag_id or 'every DAG':24} {until:24} {token.name}")
    return 0


def _token_revoke(options: argparse.Namespace) -> int:
    token = token_store(options).revoke(options.id)
    print(f"the token {token.id} of {token.name} is no longer good")
    return 0


def _day(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at / 1000))
