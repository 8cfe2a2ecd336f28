"""The view in fixed states, at a fixed moment, as it was looked at and stored: `make pictures` stores it anew."""

import io
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image, ImageChops

STORED = Path(__file__).parents[1] / "pictures"
MOMENT = datetime(2026, 11, 23, 12, 3, tzinfo=UTC)
# How far a pixel may be off (of 255) and how many may be farther, as a share: edges of letters differ by a little.
SHADE, SHARE = 48, 0.002


def keys(*names):
    def act(page):
        page.locator(".dw-surface").focus()
        for name in names:
            page.keyboard.press(name)
            # The next picture starts from this one.
            laid_out(page)

    return act


def timeline(page):
    page.get_by_role("button", name="Timeline").click()


def replay(page):
    page.get_by_role("button", name="Replay").click()
    page.get_by_role("slider", name="Moment of the run").press("Home")
    for _ in range(14):
        page.keyboard.press(".")


PICTURES = {
    "empty": ("empty", 900, None),
    "running": ("running", 1000, None),
    "narrow": ("running", 360, None),
    "gate": ("gate", 900, None),
    "gates": ("gates", 900, None),
    "failed": ("failed", 1000, keys("f", "Enter")),
    "complete": ("complete", 900, None),
    "stale": ("stale", 900, None),
    "runs": ("runs", 900, keys("n", "ArrowDown")),
    "runs, narrow": ("runs", 360, keys("n", "ArrowDown")),
    "past run": ("past", 900, None),
    "engine gone": ("gone", 900, None),
    "engine gone at a gate": ("gone at a gate", 900, None),
    "lost": ("lost", 900, lambda page: page.get_by_role("button", name="Give up").click()),
    "not confirmed": ("cancelling", 900, None),
    "over budget": ("over", 900, None),
    "300 nodes": ("n300", 1000, None),
    "10000 nodes": ("n10000", 1000, None),
    "only what is active": ("n300", 1000, keys("o")),
    "fan": ("fan", 1000, keys("f", "Enter")),
    "collapsed": ("fan", 1000, keys("E", "E", "0")),
    "timeline": ("running", 900, timeline),
    "replay": ("complete", 900, replay),
    "values": ("values&select=load", 1000, None),
}


# As it looks in a bare page it looks in an output area of JupyterLab, with all style rules of that: the same pictures.
INSIDE = [(name, theme) for name in PICTURES if name != "10000 nodes" for theme in ("light", "dark")]
CONTRASTING = {"running", "gates", "failed", "timeline", "runs"}
LOOKS = [(name, theme) for name in PICTURES for theme in ("light", "dark")]
LOOKS += [(name, f"{theme} contrast") for name in PICTURES if name in CONTRASTING for theme in ("light", "dark")]


@pytest.mark.parametrize(("name", "theme"), LOOKS)
def test_it_looks_as_it_was_stored(browser, view_page, tmp_path, name, theme):
    compare(take(browser, view_page, name, theme), name, theme, tmp_path)


@pytest.mark.parametrize(("name", "theme"), INSIDE)
def test_it_looks_the_same_in_an_output_of_jupyterlab(browser, output_page, tmp_path, name, theme):
    compare(take(browser, output_page(theme), name, theme), name, theme, tmp_path)


def take(browser, address, name, theme):
    """A picture of the view in a page."""
    state, width, act = PICTURES[name]
    context = browser.new_context(
        viewport={"width": width + 32, "height": 900},
        reduced_motion="reduce",
        contrast="more" if "contrast" in theme else "no-preference",
        timezone_id="UTC",
        locale="en-US",
    )
    try:
        page = context.new_page()
        page.clock.set_fixed_time(MOMENT)
        page.goto(f"{address}?state={state}&theme={theme.split()[0]}&width={width}")
        laid_out(page)
        if act:
            act(page)
            laid_out(page)
        return settled(page)
    finally:
        context.close()


def compare(taken, name, theme, tmp_path):
    """Compare a picture with the one that is stored, or store it."""
    stored = STORED / f"{name}.{theme}.png".replace(",", "").replace(" ", "-")
    if os.environ.get("PICTURES") == "store":
        STORED.mkdir(exist_ok=True)
        taken.quantize(256, dither=Image.Dither.NONE).save(stored, optimize=True)
        return
    assert stored.exists(), f"{stored} is not there: look at what `make pictures` stores"
    said = difference(taken, Image.open(stored).convert("RGB"))
    if said:
        taken.save(tmp_path / "taken.png")
    assert not said, f"{said}: compare {stored} with {tmp_path / 'taken.png'}; if it is meant, `make pictures`"


def laid_out(page):
    page.wait_for_function("() => window.page?.draw")
    if page.evaluate("() => window.page.state.nodes.size > 0"):
        page.evaluate("() => window.page.draw('svg').then(() => undefined)")


def settled(page):
    """What is seen, as soon as it is the same twice."""
    before = None
    for _ in range(40):
        picture = Image.open(io.BytesIO(page.locator("#view").screenshot(animations="disabled"))).convert("RGB")
        if before is not None and ImageChops.difference(before, picture).getbbox() is None:
            return picture
        before = picture
        page.wait_for_timeout(150)
    raise AssertionError("the picture never came to rest")


def difference(taken, stored):
    """What sets two pictures apart, in words; empty where that is next to nothing."""
    if taken.size != stored.size:
        return f"it is {taken.width} × {taken.height} px and was {stored.width} × {stored.height}"
    bands = ImageChops.difference(taken, stored).split()
    worst = ImageChops.lighter(ImageChops.lighter(bands[0], bands[1]), bands[2])
    off = sum(worst.histogram()[SHADE:])
    box = worst.point(lambda shade: 255 if shade >= SHADE else 0).getbbox()
    return f"{off} pixels differ, within {box}" if off > SHARE * taken.width * taken.height else ""


def test_what_differs_is_told():
    one = Image.new("RGB", (100, 100), "white")
    other = one.copy()
    other.paste((0, 0, 0), (10, 20, 20, 30))
    assert difference(one, one) == ""
    assert difference(one, other) == "100 pixels differ, within (10, 20, 20, 30)"
    assert difference(one, one.crop((0, 0, 50, 100))) == "it is 100 × 100 px and was 50 × 100"
