"""Takes the README's pictures in a real JupyterLab: `make screenshots`, or those that are named as arguments."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Locator, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.browser.lab import CHROMIUM, CHROMIUM_ARGUMENTS, Notebook, notebook, running_lab

IMAGES = Path(__file__).parent / "images"

SETUP = """
import asyncio
import dagwidget
w = dagwidget.DAGStreamWidget({name!r})
w
"""

RUN = """
NODES = [
    {"id": "plan", "label": "plan"},
    {"id": "search", "label": "search the web", "group": "research"},
    {"id": "papers", "label": "read papers", "group": "research"},
    {"id": "rank", "label": "rank sources", "group": "research"},
    {"id": "write", "label": "write the draft"},
    {"id": "critic", "label": "criticise"},
    {"id": "review", "label": "human review"},
    {"id": "publish", "label": "publish"},
]
EDGES = [
    ("plan", "search"), ("plan", "papers"), ("search", "rank"), ("papers", "rank"), ("rank", "write"),
    ("write", "critic"), {"from": "critic", "to": "write", "label": "revise", "conditional": True},
    {"from": "critic", "to": "review", "label": "good", "conditional": True}, ("review", "publish"),
]

async def step(run, name, cost=0.0, tokens=0, **output):
    async with run.node(name) as node:
        await asyncio.sleep(0.15)
        if tokens:
            node.cost(cost, tokens_in=tokens, tokens_out=tokens // 4)
        if output:
            node.output(output)

async def play(until, name=None):
    run = dagwidget.start_run(NAME, nodes=NODES, edges=EDGES, budget=0.50, name=name)
    await step(run, "plan", 0.021, 2100, steps=["history", "numbers"])
    await asyncio.gather(step(run, "search", 0.034, 5200, pages=12), step(run, "papers", 0.058, 9100, papers=3))
    await step(run, "rank", 0.012, 2400, kept=7)
    if until == "running":
        node = run.node("write")
        node.__enter__()
        node.progress(0.6, "paragraph 3 of 5")
        return run
    await step(run, "write", 0.11, 16000, words=1204)
    if until == "failed":
        try:
            with run.node("critic"):
                raise TimeoutError("the model did not answer in 60 s")
        except TimeoutError as error:
            run.fail(error)
        return run
    await step(run, "critic", 0.04, 7000, verdict="good")
    gate = run.gate("review", title="Publish this answer?", body="The draft has **1,204 words** from 7 sources.",
                    data={"title": "Why bridges sing", "words": 1204, "sources": 7})
    if until == "waiting":
        return run
    await gate
    await step(run, "publish", url="https://example.org/bridges")
    run.complete({"url": "https://example.org/bridges", "words": 1204})
    return run
"""


# What is played after the cells above, by the name of its picture.
START = {
    "running": "run = await play('running')",
    "waiting": "run = await play('waiting')",
    "failed": "run = await play('failed')",
    "complete": "task = asyncio.create_task(play('complete'))\nawait w.wait_for()",
    "replay": "task = asyncio.create_task(play('complete'))\nawait w.wait_for()",
    "runs": """
runs = [await play("failed", "prompt v5"), await play("running", "prompt v6")]
runs[1].complete({"words": 980})
runs += [await play("waiting", "prompt v7"), await play("running", "prompt v8")]
""",
    # An engine in a process of its own, which is killed.
    "gone": """
import subprocess, sys
source = "import asyncio, time, dagwidget\\n" + SOURCE + "\\nasyncio.run(play('running'))\\ntime.sleep(600)"
engine = subprocess.Popen([sys.executable, "-c", source])
while "write" not in w.nodes or w.nodes["write"].message is None:
    await asyncio.sleep(0.05)
engine.kill()
""",
}


def _play(book: Notebook, until: str) -> None:
    book.run(0, 3)
    widget = book.page.locator(".dagwidget")
    if until in ("complete", "replay"):
        widget.get_by_role("button", name="Approve", exact=True).click()
        book.page.wait_for_timeout(300)
    expected = {
        "waiting": "Publish this answer?",
        "failed": "Failed",
        "runs": "run 4 of 4 · 2 live · 1 decision waits elsewhere",
        "gone": "engine gone since",
    }
    if until != "running":
        widget.get_by_text(expected.get(until, "Completed")).first.wait_for()
    book.page.wait_for_timeout(2500)
    if until == "replay":
        _scrub(widget)
    if until == "runs":
        widget.get_by_text(expected["runs"]).click()


def _scrub(widget: Locator) -> None:
    """Go to a moment in the middle of the run."""
    widget.get_by_role("button", name="Replay").click()
    slider = widget.get_by_role("slider", name="Moment of the run")
    slider.press("Home")
    while widget.locator(".dw-counts").get_by_text("4 completed").count() == 0:
        slider.press("ArrowRight")
    for _ in range(3):
        slider.press("ArrowRight")
    widget.page.wait_for_timeout(500)


def _take(browser: Browser, until: str, theme: str) -> None:
    run = RUN.replace("NAME", repr("research-agent"))
    cells = [SETUP.format(name="research-agent"), f"SOURCE = {run!r}\nexec(SOURCE)", START[until]]
    # A JupyterLab for each, so that none shows the runs of another.
    with tempfile.TemporaryDirectory() as folder, running_lab(Path(folder)) as lab:
        source = notebook(lab.root / "picture.ipynb", *cells)
        with lab.open(browser, source, theme=theme, device_scale_factor=2) as book:
            # As high as the widget with an open gate: what is scrolled away is not in a picture.
            book.page.set_viewport_size({"width": 1280, "height": 1400})
            _play(book, until)
            book.page.locator(".dagwidget").screenshot(path=IMAGES / f"{until}-{theme}.png")


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        for theme in ("light", "dark"):
            for until in sys.argv[1:] or START:
                _take(browser, until, theme)
        browser.close()


if __name__ == "__main__":
    main()
