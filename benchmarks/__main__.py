"""`python -m benchmarks [part …]`: run the benchmarks, and rewrite results.json."""

from __future__ import annotations

import importlib
import os
import platform
import sys

from . import readme
from .results import merge

PARTS = (
    *("bundle", "imports", "install", "codec", "publish", "kernel", "overhead", "layout", "frame", "latency"),
    *("fanout", "client", "resync", "decision", "sqlite", "reconnect"),
)


def main(asked: list[str]) -> int:
    unknown = set(asked) - set(PARTS)
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for part in asked or PARTS:
        rows = importlib.import_module(f".{part}", __package__).measure()
        merge(rows, part)
        for row in rows:
            peer = f"   ({row.peer}: {row.peer_value:,.4g})" if row.peer_value is not None else ""
            print(f"{row.name:40} {row.value:12,.4g} {row.unit}{peer}", flush=True)
    readme.write()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
