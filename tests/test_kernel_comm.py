"""A widget's comm, as ipykernel's versions have it, used from threads that know nothing of the kernel."""

import contextvars
import threading

import comm
import pytest
from comm.base_comm import BaseComm

from dagwidget.widget.widget import DAGStreamWidget

from .test_widget import until


class Kernel70Comm(BaseComm):
    """As in ipykernel 7.0: publishing looks up the current request in a context variable."""

    request: contextvars.ContextVar[str] = contextvars.ContextVar("shell_parent")
    published: list[tuple[str, object]]

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        self.published.append((self.request.get(), (data or {}).get("content", msg_type)))


@pytest.fixture
def published(monkeypatch):
    """What is published while a cell runs, by the request that it belongs to."""
    messages: list[tuple[str, object]] = []
    monkeypatch.setattr(Kernel70Comm, "published", messages, raising=False)
    monkeypatch.setattr(comm, "create_comm", Kernel70Comm)
    current = Kernel70Comm.request.set("cell 1")
    yield messages
    Kernel70Comm.request.reset(current)


def in_thread(function) -> None:
    """Call it in a thread with a context of its own, as every thread has that does not copy one."""
    errors: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    for error in errors:
        raise error


def test_a_thread_without_the_kernels_context_cannot_publish_by_itself(published):
    with pytest.raises(LookupError):
        in_thread(Kernel70Comm().send)


def test_a_widgets_own_threads_send(published):
    widget = DAGStreamWidget("dag", url="ws://127.0.0.1:1", token="secret")
    endpoint = {"type": "endpoint", "url": "ws://127.0.0.1:1/api/dags/dag/stream", "token": "secret"}
    until(lambda: ("cell 1", endpoint) in published)
    widget.close()


def test_a_thread_of_the_users_own_decides_sets_traits_and_closes(published):
    widget = DAGStreamWidget("dag", url="ws://127.0.0.1:1")
    live = {"type": "connection", "source": "tab", "n": 1, "connection": {"phase": "live"}}
    widget._handle_custom_msg(live, [])
    # The widget's own thread has published too.
    until(lambda: any("endpoint" in str(content) for _, content in published))
    published.clear()
    in_thread(widget.pause)
    in_thread(lambda: widget.set_trait("snapshot", {"status": "running"}))
    in_thread(widget.close)
    assert len(published) == 3
    assert {request for request, _ in published} == {"cell 1"}
    assert published[-1] == ("cell 1", "comm_close")
