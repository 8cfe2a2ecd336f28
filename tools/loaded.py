"""`python tools/loaded.py ROUNDS`: the tests that hold a clock, again and again while both cores are busy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUSY = 2
# Some ten times what a round takes: only a hang gets here.
ROUND_SECONDS = 1800


def main(rounds: int) -> int:
    tests = [sys.executable, "-m", "pytest", "-q", "-m", "clock", "tests", "--ignore=tests/browser"]
    failed = 0
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
    try:
        for number in range(1, rounds + 1):
            print(f"round {number} of {rounds}", flush=True)
            try:
                failed += subprocess.run(tests, cwd=ROOT, check=False, timeout=ROUND_SECONDS).returncode != 0
            except subprocess.TimeoutExpired:
                print(f"stopped after {ROUND_SECONDS} s: a test hangs", flush=True)
                failed += 1
    finally:
        for process in busy:
            process.kill()
            process.wait()
    print(f"{rounds - failed} rounds passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
