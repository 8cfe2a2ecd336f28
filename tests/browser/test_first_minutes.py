"""What the widget says before there is a run to show, and when there will be none: what happened, and what to do."""

import pytest
from playwright.sync_api import expect

import dagwidget
from tests.serving import serving

from .lab import free_port, notebook

SLOW = 30_000
LOCAL = "import dagwidget\nw = dagwidget.DAGStreamWidget('first-minutes')\nw"
AT = "import dagwidget\ndagwidget.DAGStreamWidget('first-minutes', url={url!r}, token={token!r})"


def shown(book):
    """What stands in place of nodes while there are none, and how the connection is said to be."""
    widget = book.page.locator(".dagwidget")
    return widget.locator(".dw-placeholder"), widget.locator(".dw-connection-text")


def paste(book, cell, text):
    book.page.evaluate(
        "([i, text]) => window.jupyterapp.shell.currentWidget.content.model.cells.get(i).sharedModel.setSource(text)",
        [cell, text],
    )


def restart(book):
    book.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")


def test_before_the_first_run_it_says_so_and_its_lines_start_one(lab, browser, tmp_path):
    path = notebook(tmp_path / "first.ipynb", LOCAL, "None")
    with lab.open(browser, path, permissions=["clipboard-read", "clipboard-write"]) as book:
        book.run(0)
        place, connection = shown(book)
        expect(place).to_contain_text("Connected. Waiting for the first run of first-minutes.", timeout=SLOW)
        expect(connection).to_have_text("live")
        expect(book.page.locator(".dw-word")).to_have_text("No run yet")
        place.get_by_role("button", name="Copy").click()
        lines = book.page.evaluate("() => navigator.clipboard.readText()")
        assert 'dagwidget.start_run("first-minutes"' in lines
        paste(book, 1, lines)
        book.run(1)
        widget = book.page.locator(".dagwidget")
        expect(widget.get_by_text("Completed", exact=True)).to_be_visible(timeout=SLOW)
        expect(place).to_be_hidden()
        expect(widget.locator(".dw-counts li:visible")).to_have_text(["2 completed"])
        assert book.problems == []


def test_a_server_that_cannot_be_reached_is_named_and_found_as_soon_as_it_is_there(lab, browser, tmp_path):
    port = free_port()
    path = notebook(tmp_path / "away.ipynb", AT.format(url=f"ws://127.0.0.1:{port}", token=None))
    with lab.open(browser, path) as book:
        book.run(0)
        place, connection = shown(book)
        expect(connection).to_contain_text("server unreachable · retry in", timeout=SLOW)
        expect(place).to_contain_text(f"Cannot reach the server at ws://127.0.0.1:{port}.")
        expect(place).to_contain_text("Check that the server is running (dagwidget serve)")
        with serving(port=port, auth=False):
            expect(place).to_contain_text("Waiting for the first run", timeout=60_000)


def test_a_wrong_token_is_said_until_it_is_right(lab, browser, tmp_path):
    with serving() as server:
        path = notebook(tmp_path / "token.ipynb", AT.format(url=server.url, token="wrong"))
        with lab.open(browser, path) as book:
            book.run(0)
            place, connection = shown(book)
            expect(connection).to_contain_text("server unreachable", timeout=SLOW)
            expect(place).to_contain_text("What answers there does not know the token: it is wrong")
            paste(book, 0, AT.format(url=server.url, token=server.token))
            book.run(0)
            expect(place).to_contain_text("Waiting for the first run", timeout=SLOW)


def test_a_token_that_cannot_be_had_is_told_with_its_reason(lab, browser, tmp_path):
    cell = AT.format(url="ws://127.0.0.1:9", token=None).replace("None", "lambda: 1 / 0")
    with lab.open(browser, notebook(tmp_path / "fault.ipynb", cell)) as book:
        book.run(0)
        place, connection = shown(book)
        expect(connection).to_contain_text("not connected: token() raised ZeroDivisionError", timeout=SLOW)
        expect(place).to_contain_text("Correct this, then run this cell again.")


@pytest.mark.parametrize("begun", [False, True], ids=["no run", "a run"])
def test_a_kernel_that_was_restarted_is_told_of_and_another_run_of_the_cell_connects(lab, browser, tmp_path, begun):
    with serving() as server:
        run = begun and dagwidget.start_run("first-minutes", nodes=["a"], url=server.url, token=server.token)
        path = notebook(tmp_path / "restart.ipynb", AT.format(url=server.url, token=server.token))
        with lab.open(browser, path) as book:
            book.run(0)
            place, connection = shown(book)
            expect(connection).to_have_text("live", timeout=SLOW)
            restart(book)
            expect(connection).to_have_text("the kernel was restarted", timeout=SLOW)
            said = book.page.locator(".dw-notice") if begun else place
            expect(said).to_contain_text("The kernel was restarted.")
            expect(said).to_contain_text("Run this cell again to reconnect.")
            book.run(0)
            expect(connection).to_have_text("live", timeout=SLOW)
        if run:
            run.complete()
