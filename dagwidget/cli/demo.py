"""`dagwidget demo`."""

from __future__ import annotations

import argparse

from ..errors import DagwidgetError
from .arguments import node_count, port, seconds


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    demo = commands.add_parser("demo", help="open JupyterLab with a run in a notebook cell")
    demo.add_argument("--port", type=port, default=0, help="port of JupyterLab (default: a free port)")
    demo.add_argument("--no-browser", action="store_true", help="print the URL instead of opening it")
    demo.add_argument(
        "--nodes", type=node_count, metavar="N", help="show a simulated run with N nodes instead of the quickstart"
    )
    demo.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="time that JupyterLab and the kernel have to start (default: %(default)g)",
    )
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    try:
        from ..demo.notebook import demo
    except ImportError as error:
        raise DagwidgetError(
            f'the demo requires JupyterLab, which is not installed: pip install "dagwidget[demo]" ({error})'
        ) from error
    demo(port=options.port, browser=not options.no_browser, nodes=options.nodes, timeout=options.timeout)
    return 0
