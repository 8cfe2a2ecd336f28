"""What imports cost, each in a process of its own: a publisher over bare Python, the whole package over anywidget."""

from __future__ import annotations

import statistics
import subprocess
import sys

from .results import Row

_SCRIPT = """
import time
{before}
began = time.perf_counter()
import {module}
print((time.perf_counter() - began) * 1000)
"""


def measure() -> list[Row]:
    return [
        Row("import/publisher_ms", _milliseconds("dagwidget.publisher"), "ms"),
        Row("imports/over_anywidget_ms", _milliseconds("dagwidget", "import anywidget"), "ms"),
    ]


def _milliseconds(module: str, before: str = "") -> float:
    command = [sys.executable, "-c", _SCRIPT.format(module=module, before=before)]
    times = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(9)]
    return round(statistics.median(times), 1)
