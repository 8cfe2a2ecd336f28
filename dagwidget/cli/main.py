"""The command line: `dagwidget demo`, `serve`, `token` and `schema`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import DagwidgetError
from . import demo, schema, serve, token


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The arguments, without the program's name. By default those of the process.

    Returns:
        The exit code.
    """
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
    parser.add_argument("--version", action="version", version=f"dagwidget {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in (demo, serve, token, schema):
        command.add_parser(commands)
    return parser
