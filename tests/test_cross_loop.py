"""Waiting for a condition that another thread or loop fulfils."""

import asyncio

import pytest

from dagwidget.client.cross_loop import Waiters


@pytest.mark.parametrize("steps", range(6))
async def test_a_wait_that_is_cancelled_as_it_ends_is_cancelled_or_has_ended(steps):
    waiters, ready = Waiters(), False
    went_on = False

    async def wait():
        nonlocal went_on
        await waiters.wait(lambda: ready, 60, "it")
        went_on = True
        await asyncio.sleep(60)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    ready = True
    waiters.wake()
    for _ in range(steps):
        await asyncio.sleep(0)
    waiting.cancel()
    done, _ = await asyncio.wait([waiting], timeout=10)
    assert done, f"the cancellation was lost; went on: {went_on}"
    assert waiting.cancelled()


async def test_a_wait_for_what_is_true_ends_without_time_left():
    await Waiters().wait(lambda: True, 0, "it")


async def test_a_wait_in_vain_says_for_what():
    with pytest.raises(TimeoutError, match=r"timed out after 0\.01 s waiting for the end"):
        await Waiters().wait(lambda: False, 0.01, "the end")
