"""A sample of `make chaos`: schedules of each kind of fault, always the same."""

import subprocess
import sys

import pytest

from tests.chaos.plan import KINDS, SAMPLE

SEED = 13


@pytest.mark.skipif(sys.platform != "linux", reason="disks and clocks are spoilt in the way of Linux")
def test_a_schedule_of_each_kind_of_fault_loses_and_doubles_nothing():
    assert {name.partition("/")[0] for name in SAMPLE} == set(KINDS)
    # Playwright's synchronous fixtures hold this process's event loop.
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--seed", str(SEED), "--only", *SAMPLE],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
