import argparse
import importlib.metadata
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from dagwidget import discovery
from dagwidget import protocol as p
from dagwidget.cli import serve
from dagwidget.cli.main import main
from dagwidget.demo.signals import deferred, interruptible
from dagwidget.server.auth.token_store import Tokens

PYTHON = sys.executable
SECRET = "a-token-of-the-test"
# Soon enough for a test that waits for the server to stop by itself.
BRIEFLY = ("--port", "0", "--idle-seconds", "0.05")


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.delenv("DAGWIDGET_TOKEN", raising=False)
    return tmp_path / "runtime"


def fails(capsys, *arguments: str) -> str:
    """The one line that says why."""
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    [line] = said.err.splitlines()
    assert line.startswith("dagwidget: ")
    return line


# --- What can't be


def test_no_auth_is_for_loopback_only(capsys):
    line = fails(capsys, "serve", "--no-auth", "--host", "0.0.0.0")
    assert "0.0.0.0" in line
    assert "loopback only" in line


def test_the_machines_own_server_always_has_a_token(capsys):
    assert "--embedded always requires a token" in fails(capsys, "serve", "--no-auth", "--embedded")


@pytest.mark.parametrize("given", ["--certificate", "--key"])
def test_tls_needs_both_its_files(capsys, given):
    assert "--certificate FILE and --key FILE" in fails(capsys, "serve", given, "x.pem")


def test_tls_files_that_can_not_be_used_are_named(capsys, tmp_path):
    missing, nonsense = tmp_path / "missing.pem", tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for certificate in (missing, nonsense):
        line = fails(capsys, "serve", "--certificate", str(certificate), "--key", str(nonsense))
        assert str(certificate) in line


def test_a_port_that_is_taken_is_named(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"can't listen on 127.0.0.1:{port}" in fails(capsys, "serve", "--port", str(port))


def test_a_runtime_folder_that_can_not_be_written_is_named(capsys, runtime):
    runtime.write_text("a file, not a folder")
    assert f"can't write {discovery.runtime_file()}" in fails(capsys, "serve", "--embedded")


@pytest.mark.parametrize("arguments", [[], ["dance"], ["serve", "--port", "x"], ["schema", "--loud"]])
def test_what_is_no_command_is_refused_with_the_usage(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: dagwidget" in capsys.readouterr().err


# --- What is printed


def test_version_prints_the_installed_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"dagwidget {importlib.metadata.version('dagwidget')}\n"


def test_schema_prints_the_protocols_json_schema(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(p.schema()))


@pytest.mark.parametrize("by_file", [True, False])
def test_serve_prints_where_it_is_and_no_token_that_it_was_given_and_stops_when_idle(
    capsys, tmp_path, monkeypatch, by_file
):
    given = [] if by_file else ["--token-file", str(tmp_path / "token")]
    if by_file:
        monkeypatch.setenv("DAGWIDGET_TOKEN", SECRET)
    (tmp_path / "token").write_text(f"{SECRET}\n")
    assert main(["serve", *BRIEFLY, *given]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "serving at ws://127.0.0.1:" in said.out
    assert "export DAGWIDGET_URL=ws://127.0.0.1:" in said.out
    assert "TOKEN" not in said.out
    assert SECRET not in said.out
    assert not discovery.runtime_file().exists()


def test_no_token_is_taken_from_the_list_of_processes(capsys):
    assert "--token-file" in fails(capsys, "serve", *BRIEFLY, "--token", SECRET)


@pytest.mark.parametrize("token", ["", "short", "not printable \x00 at all", "not ascii: é é é é é é"])
def test_a_token_that_can_be_guessed_or_not_sent_is_refused(capsys, tmp_path, token):
    (tmp_path / "token").write_text(token)
    assert "16 or more" in fails(capsys, "serve", *BRIEFLY, "--token-file", str(tmp_path / "token"))


@pytest.mark.parametrize("option", ["--embedded", "--no-auth"])
def test_a_token_file_is_not_ignored(capsys, tmp_path, option):
    (tmp_path / "token").write_text(SECRET)
    line = fails(capsys, "serve", *BRIEFLY, option, "--token-file", str(tmp_path / "token"))
    assert f"--token-file has no effect with {option}" in line


def test_a_token_file_has_one_line_and_is_read_before_the_log_is_opened(capsys, tmp_path):
    (tmp_path / "token").write_text(f"{SECRET}\n{SECRET}\n")
    log = tmp_path / "log.sqlite3"
    given = ("--token-file", str(tmp_path / "token"), "--log", str(log))
    assert "one line, got 2 lines" in fails(capsys, "serve", *BRIEFLY, *given)
    assert not log.exists()


def test_a_token_file_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "token").write_text(f"{SECRET}\n", encoding="utf-8-sig")
    options = argparse.Namespace(token=None, embedded=False, no_auth=False, token_file=str(tmp_path / "token"))
    assert serve._given_token(options) == SECRET


def test_a_token_file_that_is_not_there_is_an_error(capsys, tmp_path):
    assert "can't read --token-file" in fails(capsys, "serve", *BRIEFLY, "--token-file", str(tmp_path / "nowhere"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0", "::0", "", "*", "0x0", "::ffff:0.0.0.0"])
def test_a_server_for_every_interface_must_be_told_its_name(capsys, host):
    assert "--allow-host" in fails(capsys, "serve", *BRIEFLY, "--host", host)


@pytest.mark.parametrize("name", ["Dags.Example.org", "dags.example.org"])
def test_a_server_for_every_interface_prints_the_name_that_it_answers_to(capsys, name):
    assert main(["serve", *BRIEFLY, "--host", "0.0.0.0", "--allow-host", name, "--allow-host", "other"]) == 0
    said = capsys.readouterr().out
    assert "export DAGWIDGET_URL=ws://dags.example.org:" in said
    assert "0.0.0.0" not in said


def test_a_token_is_made_where_none_is_given_and_never_twice(capsys):
    tokens = set()
    for _ in range(2):
        main(["serve", *BRIEFLY])
        tokens.add(capsys.readouterr().out.split("DAGWIDGET_TOKEN=")[1].strip())
    assert len(tokens) == 2
    assert all(len(token) >= 32 for token in tokens)


def test_no_auth_is_loud(capsys):
    assert main(["serve", *BRIEFLY, "--no-auth"]) == 0
    said = capsys.readouterr().out
    assert "WARNING: --no-auth" in said
    assert "TOKEN" not in said


@pytest.mark.skipif(shutil.which("openssl") is None, reason="a certificate is made by openssl")
def test_with_a_certificate_it_serves_wss(capsys, tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    assert main(["serve", *BRIEFLY, "--certificate", str(certificate), "--key", str(key)]) == 0
    assert "serving at wss://127.0.0.1:" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_answers_until_it_is_told_to_stop(number):
    process = subprocess.Popen(
        [sys.executable, "-m", "dagwidget.cli", "serve", "--port", "0"],
        env={**os.environ, "DAGWIDGET_TOKEN": SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = process.stdout.readline().removeprefix("serving at ws").strip()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(f"http{url}/api/dags", headers={"Authorization": f"Bearer {SECRET}"})
        with opener.open(request, timeout=10) as response:
            assert json.load(response) == []
        os.kill(process.pid, number)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, errors) == (0, "")


# --- The demo


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files. What is left there fails the test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert [*folder.iterdir()] == []


@pytest.fixture
def fake_lab(tmp_path, monkeypatch):
    """Has the demo run a shell script in place of JupyterLab."""

    def fake(script: str) -> Path:
        path = tmp_path / "fake-lab"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(path))
        return path

    return fake


@pytest.mark.usefixtures("temporary")
def test_the_demo_says_that_its_port_is_in_use(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = fails(capsys, "demo", "--no-browser", "--port", str(port))
    assert f"can't use port {port}: " in line
    assert "Choose another with --port" in line


@pytest.mark.usefixtures("temporary")
def test_the_demo_says_that_jupyterlab_is_missing(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    line = fails(capsys, "demo", "--no-browser")
    assert line.endswith('requires JupyterLab, which is not installed: pip install "dagwidget[demo]"')


def test_the_demo_says_that_jupyterlab_is_missing_also_where_none_of_jupyter_is_there(capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "dagwidget.demo.notebook")
    monkeypatch.setitem(sys.modules, "nbformat", None)
    assert 'pip install "dagwidget[demo]"' in fails(capsys, "demo", "--no-browser")


@pytest.mark.usefixtures("temporary")
@pytest.mark.skipif(os.name != "posix", reason="JupyterLab is played by a shell script")
@pytest.mark.parametrize(
    ("script", "options", "says"),
    [
        ("echo no such option; exit 3", (), "JupyterLab ended with exit code 3 before it was ready: run `jupyter lab`"),
        (
            "echo no such option; exec sleep 600",
            ("--timeout", "1"),
            "did not start within 1 s: allow more time with --ti",
        ),
    ],
)
def test_the_demo_says_that_jupyterlab_did_not_start_and_what_it_printed(capsys, fake_lab, script, options, says):
    fake_lab(script)
    assert main(["demo", "--no-browser", *options]) == 1
    said = capsys.readouterr().err
    assert says in said.splitlines()[0]
    assert said.endswith("The end of JupyterLab's log:\nno such option\n")


@pytest.mark.skipif(os.name != "posix", reason="JupyterLab is played by a shell script")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_demo_that_is_interrupted_leaves_nothing_behind(tmp_path, temporary, fake_lab, name):
    started = tmp_path / "started"
    lab = fake_lab(f"echo $$ > {started}.part; mv {started}.part {started}; exec sleep 600")
    code = f"import sys; from dagwidget.cli import main; sys.executable = {str(lab)!r}; sys.exit(main(['demo']))"
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen([PYTHON, "-c", code], env=environment, stdout=subprocess.DEVNULL) as demo:
        while not started.exists():
            assert demo.poll() is None
        demo.send_signal(getattr(signal, name))
        assert demo.wait(30) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_a_second_signal_does_not_interrupt_the_cleanup():
    before = signal.getsignal(signal.SIGTERM)
    cleaned = []

    def work():
        with interruptible():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)
                cleaned.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert cleaned == [True]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_that_arrives_while_jupyterlab_is_started_waits_until_it_is():
    done = []

    def work():
        with interruptible():
            with deferred():
                signal.raise_signal(signal.SIGTERM)
                done.append("started")
            done.append("never")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["started"]


# --- Tokens


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "tokens")


def test_a_token_is_given_out_listed_and_taken_back(capsys, folder):
    assert main(["token", "create", "Ana Lima", "--role", "operate", "--dag", "my-dag", "--tokens", folder]) == 0
    secret = capsys.readouterr().out.strip()
    assert secret.startswith("dagw_")
    assert main(["token", "list", "--tokens", folder]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"(\w{8})  operate  my-dag +until \d{4}-\d\d-\d\d \d\d:\d\d +Ana Lima", line)
    assert main(["token", "revoke", line[:8], "--tokens", folder]) == 0
    assert "Ana Lima is revoked" in capsys.readouterr().out
    assert line[:8] in fails(capsys, "token", "revoke", line[:8], "--tokens", folder)


@pytest.mark.parametrize(
    ("lifetime", "seconds"), [("30d", 30 * 86_400), ("12h", 43_200), ("90m", 5400), ("5s", 5), ("never", None)]
)
def test_a_token_is_good_for_as_long_as_was_asked(capsys, folder, lifetime, seconds):
    main(["token", "create", "ana", "--expires", lifetime, "--tokens", folder])
    token = Tokens(Path(folder)).find(capsys.readouterr().out.strip())
    assert (token.role, token.dag_id) == ("view", None)
    assert (token.expires_at and (token.expires_at - token.created_at) / 1000) == seconds
    main(["token", "list", "--tokens", folder])
    assert ("never expires" if seconds is None else "until") in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        ("--port", "65536"),
        ("--port", "-1"),
        ("--idle-seconds", "-1"),
        ("--idle-seconds", "nan"),
        ("--allow-origin", "hub.example.org"),
        ("--allow-origin", "https://hub.example.org/path"),
        ("--allow-origin", "ftp://hub"),
        ("--allow-host", ""),
        ("--allow-host", "http://x.y/"),
        ("--allow-host", "x.y:8899"),
        ("--allow-host", "*.x.y"),
    ],
)
def test_what_a_server_can_not_be_told_is_refused_with_the_usage(capsys, wrong):
    with pytest.raises(SystemExit):
        main(["serve", *wrong])
    assert f"argument {wrong[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [("--expires", "soon"), ("--expires", "0d"), ("--role", "king"), ("",), ()])
def test_what_no_token_can_have_is_refused(folder, capsys, wrong):
    name = ["ana"] if wrong and wrong[0] else []
    with pytest.raises(SystemExit):
        main(["token", "create", *name, *wrong, "--tokens", folder])
    assert "usage" in capsys.readouterr().err
    assert not Path(folder).exists()
