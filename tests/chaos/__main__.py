"""`python -m tests.chaos`: performs schedules, several at a time, and prints what was lost and doubled by each kind."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import SystemRandom

from playwright.async_api import Browser, async_playwright

from tests.browser.lab import CHROMIUM, CHROMIUM_ARGUMENTS

from .clock import library
from .plan import KINDS, Schedule, schedules
from .play import Broken, Play, told
from .server import NotStarted, Unreadable
from .verdict import Verdict, judge
from .viewers import serving_page

_LANES = 6


def main() -> int:
    options = _options()
    if library() is None:
        print("chaos: libfaketime is missing: install Debian's package of that name", file=sys.stderr)
        return 2
    seed = SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    chosen = _chosen(seed, options)
    began = time.monotonic()
    verdicts = asyncio.run(_perform(chosen, options.lanes))
    for verdict in verdicts:
        if not verdict.is_good:
            _explain(verdict)
    _table(verdicts)
    print(f"{len(verdicts)} schedules in {time.monotonic() - began:.0f} s")
    return 0 if all(verdict.is_good for verdict in verdicts) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="what everything is drawn from (default: any)")
    parser.add_argument("--schedules", type=int, default=240, help="how many (default: %(default)s)")
    parser.add_argument(
        "--only", metavar="KIND[/NUMBER]", nargs="+", default=[], help="the schedules of a kind, or one of them"
    )
    parser.add_argument("--lanes", type=int, default=_LANES, help="how many at a time (default: %(default)s)")
    return parser.parse_args()


def _chosen(seed: int, options: argparse.Namespace) -> list[Schedule]:
    if not options.only:
        return schedules(seed, options.schedules)
    chosen: list[Schedule] = []
    for name in options.only:
        kind, _, number = name.partition("/")
        if kind not in KINDS:
            raise SystemExit(f"chaos: no kind {kind!r}: choose one of {', '.join(KINDS)}")
        if number:
            chosen.append(Schedule(seed, kind, int(number)))
        else:
            chosen += [each for each in schedules(seed, options.schedules) if each.kind == kind]
    return chosen


async def _perform(chosen: list[Schedule], lanes: int) -> list[Verdict]:
    """Each schedule's verdict, in order."""
    free = asyncio.Semaphore(lanes)
    with tempfile.TemporaryDirectory(prefix="dagwidget-chaos-") as folder, serving_page() as page:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)

            async def one(i: int, schedule: Schedule) -> Verdict:
                async with free:
                    mine = Path(folder) / str(i)
                    mine.mkdir()
                    verdict = await _judged(schedule, mine, browser, page)
                    print("." if verdict.is_good else f"\n{schedule.name} failed", end="", flush=True)
                    return verdict

            verdicts = await asyncio.gather(*(one(i, schedule) for i, schedule in enumerate(chosen)))
            await browser.close()
    return list(verdicts)


async def _judged(schedule: Schedule, folder: Path, browser: Browser, page: str) -> Verdict:
    try:
        return judge(await Play(schedule, folder, browser, page).perform())
    except (Broken, Unreadable) as error:
        return Verdict(schedule, faults=(str(error),))
    except NotStarted as error:
        return Verdict(schedule, faults=(f"the server did not start: {error}",))
    except Exception:
        return Verdict(schedule, faults=(traceback.format_exc(),))


def _explain(verdict: Verdict) -> None:
    print(f"\n{verdict.schedule.name}: {told(verdict.schedule)}")
    counts = ", ".join(f"{getattr(verdict, name)} {name}" for name in ("lost", "doubled", "acknowledged", "kept"))
    print(f"  {counts}")
    for fault in verdict.faults:
        print(f"  {fault}")
    print(f"  again: make chaos SEED={verdict.schedule.seed} ONLY={verdict.schedule.name}", flush=True)


_COLUMNS = ("events", "lost", "doubled", "acknowledged", "kept", "astray", "said")


def _table(verdicts: list[Verdict]) -> None:
    print(f"\n{'':12}{'schedules':>12}" + "".join(f"{name:>14}" for name in _COLUMNS) + f"{'failed':>10}")
    for kind in KINDS:
        mine = [verdict for verdict in verdicts if verdict.schedule.kind == kind]
        if mine:
            _row(kind, mine)
    _row("all", verdicts)


def _row(name: str, verdicts: list[Verdict]) -> None:
    sums = [sum(getattr(verdict, column) for verdict in verdicts) for column in _COLUMNS]
    failed = sum(not verdict.is_good for verdict in verdicts)
    print(f"{name:12}{len(verdicts):12}" + "".join(f"{number:14,}" for number in sums) + f"{failed:10}")


if __name__ == "__main__":
    sys.exit(main())
