"""`python -m benchmarks [part …]`: run the benchmarks, and rewrite results.json."""

from __future__ import annotations

import importlib
import keyword
import os
import platform
import sys
from types import ModuleType

from . import readme
from .results import merge

PARTS = (
    *("bundle", "import", "install", "codec", "publish", "kernel", "overhead", "layout", "frame", "latency"),
    *("fanout", "client", "resync", "decision", "sqlite", "reconnect"),
)


def module(part: str) -> ModuleType:
    """The module of a part; `import` is no name for one."""
    return importlib.import_module(f".{part}{'_' * keyword.iskeyword(part)}", __package__)


def main(asked: list[str]) -> int:
    unknown = set(asked) - set(PARTS)
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for part in asked or PARTS:
        rows = module(part).measure()
        merge(rows, part)
        for row in rows:
            peer = f"   ({row.peer}: {row.peer_value:,.4g})" if row.peer_value is not None else ""
            print(f"{row.name:40} {row.value:12,.4g} {row.unit}{peer}", flush=True)
    readme.write()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
