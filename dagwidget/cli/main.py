"""The command line: `dagwidget demo | serve | token | schema`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..errors import DagwidgetError
from . import demo, schema, serve, token


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
    for command in (demo, serve, token, schema):
        command.add_parser(commands)
    return parser
