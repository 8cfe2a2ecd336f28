"""`dagwidget schema`."""

from __future__ import annotations

import argparse

import msgspec

from .. import protocol as p


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    schema = commands.add_parser("schema", help="print the JSON Schema of the protocol")
    schema.add_argument("--asyncapi", action="store_true", help="print the AsyncAPI 3.0 document instead")
    schema.set_defaults(run=_schema)


def _schema(options: argparse.Namespace) -> int:
    from ..protocol.asyncapi import asyncapi

    document = asyncapi() if options.asyncapi else p.schema()
    print(msgspec.json.format(msgspec.json.encode(document), indent=1).decode())
    return 0
