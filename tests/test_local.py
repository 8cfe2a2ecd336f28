"""How this machine's server is found: its file in the runtime folder, and the processes that write it."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dagwidget import discovery
from dagwidget.discovery import Endpoint, check_url
from dagwidget.errors import ServerNotFound

from .serving import serving

pytestmark = pytest.mark.slow

# Far longer than anything takes: only a fault gets here.
PATIENCE = 30


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    """A machine of its own: an empty runtime folder, and nothing in the environment."""
    folder = tmp_path / "runtime"
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
    for name in ("DAGWIDGET_URL", "DAGWIDGET_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def server():
    """One that answers, in this process."""
    with serving() as server:
        yield server


def described() -> dict:
    return json.loads(discovery.runtime_file().read_text())


def describe(**fields) -> None:
    path = discovery.runtime_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"url": "ws://127.0.0.1:9", "token": "stale", "pid": os.getpid(), **fields}))


def ended_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(PATIENCE)
    return process.pid


@contextlib.contextmanager
def answering(body: bytes | None):
    """A port that answers every request with `body`, or with what is not even HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            if body is None:
                self.wfile.write(b"220 mail.example.org\r\n")
                return
            super().handle()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"ws://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()


# --- The file


def test_nothing_is_found_where_nothing_runs():
    assert discovery.find() is None


def test_a_server_that_claims_the_machine_is_found(server):
    assert discovery.claim(server.url, server.token)
    assert discovery.find() == Endpoint(server.url, server.token)
    assert discovery.ensure_server() == Endpoint(server.url, server.token)


def test_the_file_is_for_its_user_alone_and_nothing_else_is_left(server, runtime):
    before = os.umask(0)
    try:
        discovery.claim(server.url, server.token)
    finally:
        os.umask(before)
    [path] = runtime.iterdir()
    assert path == discovery.runtime_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert described() == {"url": server.url, "token": server.token, "pid": os.getpid()}


def test_the_second_server_does_not_take_the_place_of_one_that_answers(server, runtime):
    assert discovery.claim(server.url, server.token)
    assert not discovery.claim("ws://127.0.0.1:9", "other")
    assert described()["url"] == server.url
    assert len([*runtime.iterdir()]) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        "[]",
        "{}",
        '{"url": 7, "pid": 1}',
        '{"url": "ws://127.0.0.1:9", "pid": "1"}',
        '{"url": "nonsense", "pid": 1}',
        b"\xff\xfe",
    ],
)
def test_a_file_that_makes_no_sense_is_no_server_and_is_replaced(text, server, runtime):
    runtime.mkdir()
    discovery.runtime_file().write_bytes(text if isinstance(text, bytes) else text.encode())
    assert discovery.find() is None
    assert discovery.claim(server.url, server.token)
    assert discovery.find() == Endpoint(server.url, server.token)
    assert len([*runtime.iterdir()]) == 1


def test_the_file_of_a_process_that_is_gone_is_replaced(server):
    describe(pid=ended_pid(), url=server.url)
    assert discovery.find() is None
    assert discovery.claim(server.url, server.token)
    assert discovery.find() == Endpoint(server.url, server.token)


def test_a_process_that_got_the_number_of_the_one_that_is_gone_is_no_server(server):
    describe(url="ws://127.0.0.1:9")
    assert discovery.find() is None


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"pid": 1}', b"<html>", b"", None])
def test_another_service_on_the_port_is_not_taken_for_the_server(body, server):
    with answering(body) as url:
        describe(url=url)
        assert discovery.find() is None
        assert discovery.claim(server.url, server.token)


def test_a_server_is_found_past_a_proxy(server, monkeypatch):
    discovery.claim(server.url, server.token)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert discovery.find() == Endpoint(server.url, server.token)


def test_of_two_that_find_a_stale_file_the_slower_does_not_remove_the_faster_ones(server, monkeypatch, runtime):
    describe(pid=ended_pid())
    really = discovery._running
    asked = []

    def running(path):
        if not asked:
            # While this one looks at the stale file, another server puts its own there.
            asked.append(path)
            path.unlink()
            describe(url=server.url, token=server.token)
            return None
        return really(path)

    monkeypatch.setattr(discovery, "_running", running)
    assert not discovery.claim("ws://127.0.0.1:9", "slower")
    assert discovery.find() == Endpoint(server.url, server.token)
    assert len([*runtime.iterdir()]) == 1


def test_a_server_takes_back_its_own_file_and_no_other(server):
    discovery.claim(server.url, server.token)
    discovery.release()
    assert not discovery.runtime_file().exists()
    discovery.release()
    describe(pid=os.getppid())
    discovery.release()
    assert described()["pid"] == os.getppid()


# --- Where the files are


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"APPDATA": "/users/ada/AppData/Roaming", "XDG_DATA_HOME": "/data"},
        {"JUPYTER_DATA_DIR": "/jupyter/data"},
        {"JUPYTER_RUNTIME_DIR": "/jupyter/runtime"},
        {"JUPYTER_DATA_DIR": "/jupyter/data", "JUPYTER_RUNTIME_DIR": "/jupyter/runtime"},
    ],
    ids=" ".join,
)
def test_the_files_are_in_jupyters_folders_also_without_jupyter(platform, environment, tmp_path, monkeypatch):
    from jupyter_core import paths

    for name in [name for name in os.environ if name.startswith(("JUPYTER_", "XDG_"))] + ["APPDATA"]:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    for name, value in {"HOME": str(tmp_path / "link"), **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert str(discovery.data_folder()) == paths.jupyter_data_dir()
    assert str(discovery.runtime_file().parent) == paths.jupyter_runtime_dir()


# --- The environment


def test_the_environment_comes_first(server, monkeypatch):
    discovery.claim(server.url, server.token)
    monkeypatch.setenv("DAGWIDGET_URL", "https://hub.example.org/dag")
    assert discovery.find() == discovery.ensure_server() == Endpoint("wss://hub.example.org/dag", None)
    monkeypatch.setenv("DAGWIDGET_TOKEN", "secret")
    assert discovery.find() == Endpoint("wss://hub.example.org/dag", "secret")


def test_an_environment_that_names_no_server_is_an_error(monkeypatch):
    monkeypatch.setenv("DAGWIDGET_URL", "localhost:8899")
    with pytest.raises(ValueError, match="looks like ws://"):
        discovery.find()


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("ws://localhost:1", "ws://localhost:1"),
        ("http://localhost:1/x", "ws://localhost:1/x"),
        ("https://example.org", "wss://example.org"),
        ("wss://[::1]:8899/a/b/", "wss://[::1]:8899/a/b/"),
    ],
)
def test_a_servers_url_is_one_of_websockets(url, checked):
    assert check_url(url) == checked


@pytest.mark.parametrize(
    "url", ["", "localhost", "localhost:1", "ftp://localhost", "ws://", "ws:///path", "ws://h?token=x", "ws://h#x"]
)
def test_what_is_no_servers_url_is_refused(url):
    with pytest.raises(ValueError, match="stream server"):
        check_url(url)


def test_a_dags_name_is_quoted_whole_in_its_urls():
    endpoint = Endpoint("ws://localhost:1/base/")
    assert endpoint.stream_url("a/b ?#é") == "ws://localhost:1/base/api/dags/a%2Fb%20%3F%23%C3%A9/stream"
    assert endpoint.publish_url("x") == "ws://localhost:1/base/api/dags/x/publish"


# --- Processes


def serve_embedded(*options: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "dagwidget.cli", "serve", "--embedded", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_server_is_started_where_there_is_none_and_found_by_the_next(runtime):
    endpoint = discovery.ensure_server()
    pid = described()["pid"]
    try:
        assert pid != os.getpid()
        assert endpoint == Endpoint(described()["url"], described()["token"])
        assert discovery.ensure_server() == discovery.find() == endpoint
        assert described()["pid"] == pid
        assert endpoint.token not in (runtime / "dagwidget-server.log").read_text()
        # It outlives the Ctrl+C of whoever started it.
        assert os.getsid(pid) != os.getsid(0)
    finally:
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert discovery.find() is None
    assert not discovery.runtime_file().exists()


@pytest.mark.clock
def test_a_server_stops_when_it_is_idle_and_takes_its_file_along():
    process = serve_embedded("--idle-seconds", "0.2")
    try:
        assert process.stdout.readline().startswith("serving at ws://127.0.0.1:")
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, output) == (0, "")
    assert not discovery.runtime_file().exists()


@pytest.mark.clock
def test_of_two_servers_that_start_at_once_one_wins_and_the_other_goes():
    describe(pid=ended_pid())
    processes = [serve_embedded(), serve_embedded()]
    try:
        said = [process.stdout.readline() for process in processes]
        [winner] = [process for process, line in zip(processes, said, strict=True) if line.startswith("serving at")]
        [loser] = [process for process in processes if process is not winner]
        assert any("already has a server" in line for line in said)
        assert loser.wait(PATIENCE) == 0
        assert described()["pid"] == winner.pid
        assert discovery.find() is not None
        winner.terminate()
        assert winner.wait(PATIENCE) == 0
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_server_that_does_not_start_is_an_error_that_says_why(tmp_path, monkeypatch):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(ServerNotFound, match="no such luck") as caught:
        discovery.ensure_server()
    assert "serve --embedded" in str(caught.value)


def test_a_port_that_nobody_listens_on_is_no_server():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        describe(url=f"ws://127.0.0.1:{bound.getsockname()[1]}")
        assert discovery.find() is None
