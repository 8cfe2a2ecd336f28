"""The types of command-line arguments. Each rejects an invalid value with one sentence."""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

from .. import discovery
from ..server.auth.token_store import Tokens


def port(text: str) -> int:
    """A TCP port."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, got {text!r}")
    return int(text)


def node_count(text: str) -> int:
    """The size of a simulated run."""
    if not text.isdecimal() or not 5 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"must be a number from 5 to 100000, got {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """A duration, 0 or more."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds, 0 or more, got {text!r}")
    return seconds


def printable(text: str) -> str:
    """A token or a name."""
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"must consist of printable characters, got {text!r}")
    return text


def origin(text: str) -> str:
    """The origin of a web page."""
    origin = urlsplit(text)
    if origin.scheme not in ("http", "https") or not origin.hostname or text != f"{origin.scheme}://{origin.netloc}":
        raise argparse.ArgumentTypeError(f"must look like https://hub.example.org, got {text!r}")
    return text


def host_name(text: str) -> str:
    """A name or an address by which clients reach a server."""
    name = text.lower()
    with contextlib.suppress(ValueError):
        return str(ipaddress.IPv6Address(name.removeprefix("[").removesuffix("]")))
    if not re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", name):
        raise argparse.ArgumentTypeError(
            f"must be a name alone, without scheme, port and path, such as dags.example.org, got {text!r}"
        )
    return name


def lifetime(text: str) -> int | None:
    """A lifetime in milliseconds; None if it is unlimited."""
    if text == "never":
        return None
    found = re.fullmatch(r"(\d+)([dhms])", text)
    if found is None or int(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"must look like 30d, 12h, 90m or 45s, or be 'never', got {text!r}")
    return int(found[1]) * {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}[found[2]]


def add_tokens_option(parser: argparse.ArgumentParser) -> None:
    """Add `--tokens`."""
    parser.add_argument(
        "--tokens",
        metavar="FOLDER",
        help="folder with the hashes of created tokens (default: in Jupyter's data folder)",
    )


def token_store(options: argparse.Namespace) -> Tokens:
    """The tokens in the folder that `--tokens` names."""
    return Tokens(Path(options.tokens) if options.tokens else discovery.tokens_folder())
