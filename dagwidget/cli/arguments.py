"""Types of command-line arguments; each refuses what it can't be, in one sentence."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from urllib.parse import urlsplit

from .. import discovery
from ..server.auth.token_store import Tokens


def port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535; not {text!r}")
    return int(text)


def node_count(text: str) -> int:
    if not text.isdecimal() or not 5 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"a number from 5 to 100000; not {text!r}")
    return int(text)


def seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"seconds are a number, 0 or more; not {text!r}")
    return seconds


def printable(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"it needs printable characters; not {text!r}")
    return text


def origin(text: str) -> str:
    origin = urlsplit(text)
    if origin.scheme not in ("http", "https") or not origin.hostname or text != f"{origin.scheme}://{origin.netloc}":
        raise argparse.ArgumentTypeError(f"an origin looks like https://hub.example.org; not {text!r}")
    return text


def lifetime(text: str) -> int | None:
    """Milliseconds, or None for ever."""
    if text == "never":
        return None
    found = re.fullmatch(r"(\d+)([dhms])", text)
    if found is None or int(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"a time looks like 30d, 12h, 90m, 45s, or 'never'; not {text!r}")
    return int(found[1]) * {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}[found[2]]


def add_tokens_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", metavar="FOLDER", help="where the tokens that were given out are kept, hashed")


def token_store(options: argparse.Namespace) -> Tokens:
    return Tokens(Path(options.tokens) if options.tokens else discovery.tokens_folder())
