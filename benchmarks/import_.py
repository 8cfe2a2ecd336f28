"""What imports cost, each in a process of its own: a publisher over bare Python, the widget over anywidget."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

from .results import Row

RUNS = 10
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
        Row("import/over_anywidget_ms", _milliseconds("dagwidget.widget", "import anywidget"), "ms"),
    ]


def _milliseconds(module: str, before: str = "") -> float:
    command = [sys.executable, "-c", _SCRIPT.format(module=module, before=before)]
    with tempfile.TemporaryDirectory() as cache:
        # An installed package is compiled; this one may not be.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        times = [
            float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
            for _ in range(RUNS)
        ]
    # The first one compiles.
    return round(statistics.median(times[1:]), 1)
