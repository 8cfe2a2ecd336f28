"""A widget's comm, as ipykernel's versions have it, used from threads that know nothing of the kernel."""

import contextlib
import contextvars
import threading
from unittest.mock import Mock

import comm
import ipywidgets
import pytest
import zmq
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
    ipywidgets.Widget.close_all()
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


def announced(published) -> DAGStreamWidget:
    """A widget whose own thread has said where the server is."""
    widget = DAGStreamWidget("dag", url="ws://127.0.0.1:1")
    until(lambda: any("endpoint" in str(content) for _, content in published))
    return widget


def test_a_thread_without_the_kernels_context_cannot_publish_by_itself(published):
    with pytest.raises(LookupError):
        in_thread(Kernel70Comm().send)


def test_a_widgets_own_threads_send(published):
    widget = DAGStreamWidget("dag", url="ws://127.0.0.1:1", token="secret")
    endpoint = {"type": "endpoint", "url": "ws://127.0.0.1:1/api/dags/dag/stream", "token": "secret"}

    def announced(request, content) -> bool:
        # It also holds how that server is to prove itself, another way each time.
        return request == "cell 1" and isinstance(content, dict) and endpoint.items() <= content.items()

    until(lambda: any(announced(*each) for each in list(published)))
    widget.close()


def test_a_thread_of_the_users_own_follows_a_run_sets_traits_and_closes(published):
    widget = announced(published)
    published.clear()
    in_thread(lambda: widget.follow("run"))
    in_thread(lambda: widget.set_trait("snapshot", {"status": "running"}))
    in_thread(widget.close)
    contents = [content for _, content in published]
    assert {"type": "follow", "run": "run", "pin": True, "all": True} in contents
    # A trait's message has no content of ours.
    assert "comm_msg" in contents
    assert "comm_close" in contents
    assert {request for request, _ in published} == {"cell 1"}


@pytest.mark.parametrize(("number", "dropped"), [(zmq.ENOTSOCK, True), (zmq.EAGAIN, False)])
def test_what_is_sent_while_the_kernel_closes_its_sockets_is_dropped(published, monkeypatch, number, dropped):
    widget = announced(published)
    fail = Mock(side_effect=zmq.ZMQError(number))
    with monkeypatch.context() as closing:
        closing.setattr(Kernel70Comm, "request", Mock(get=fail))
        with contextlib.nullcontext() if dropped else pytest.raises(zmq.ZMQError):
            widget.send({})
    assert fail.called
    widget.close()
