"""What `import dagwidget` costs over `import anywidget`, in processes of their own."""

from __future__ import annotations

import statistics
import subprocess
import sys

from .results import Row

_SCRIPT = """
import time, anywidget
began = time.perf_counter()
import dagwidget
print((time.perf_counter() - began) * 1000)
"""


def measure() -> list[Row]:
    times = [
        float(subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True).stdout)
        for _ in range(9)
    ]
    return [Row("imports/over_anywidget_ms", round(statistics.median(times), 1), "ms")]
