"""`dagwidget demo`."""

from __future__ import annotations

import argparse

from ..errors import DagwidgetError
from .arguments import node_count, port


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    demo = commands.add_parser("demo", help="open JupyterLab on the quickstart, with a run in its cell")
    demo.add_argument("--port", type=port, default=0, help="where JupyterLab listens (default: a free port)")
    demo.add_argument("--no-browser", action="store_true", help="print the address instead of opening it")
    demo.add_argument("--nodes", type=node_count, metavar="N", help="play a made-up run of N nodes instead")
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    try:
        from ..demo.notebook import demo
    except ImportError as error:
        raise DagwidgetError(f'the demo needs JupyterLab: pip install "dagwidget[demo]" ({error})') from error
    demo(port=options.port, browser=not options.no_browser, nodes=options.nodes)
    return 0
