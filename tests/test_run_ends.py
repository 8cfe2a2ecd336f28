"""How a run ends with its process: real processes, a real server."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import dagwidget
from dagwidget.server.storage.sqlite import SqliteJournal

from .serving import serving


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    journal = SqliteJournal(tmp_path_factory.mktemp("runs") / "log.sqlite3")
    with serving(journal=journal) as served:
        yield served
    journal.close()


@pytest.fixture
def dag_id(request):
    return request.node.name


HEAD = """
import asyncio, os, sys, threading, time
import dagwidget
run = dagwidget.start_run(sys.argv[2], ["a", "b"], [("a", "b")], url=sys.argv[1])
"""


def script(tmp_path, body, head=HEAD):
    path = tmp_path / "script.py"
    path.write_text(head + textwrap.dedent(body))
    return path


def start(path, url, dag_id, token="a-token-of-the-test"):
    environment = {**os.environ, "DAGWIDGET_TOKEN": token or "", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(path), url, dag_id]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def play(tmp_path, server, dag_id, body, *, head=HEAD, url=None):
    """Run a script to its end: its exit code, its output and what it said on stderr."""
    process = start(script(tmp_path, body, head), url or server.url, dag_id)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def states(server, dag_id):
    """What each run of the DAG came to, newest first."""
    runs = dagwidget.runs(dag_id, url=server.url, token=server.token)
    return [dagwidget.run_state(dag_id, run.run_id, url=server.url, token=server.token) for run in runs]


def state(server, dag_id):
    [only] = states(server, dag_id)
    return only


@pytest.mark.parametrize(
    ("body", "status", "reason", "node"),
    [
        ("with run.node('a'): pass\nrun.complete(7)", "completed", None, "completed"),
        ("with run.node('a'): pass", "cancelled", "its process ended", "completed"),
        ("with run.node('a'): raise ValueError('broken')", "failed", None, "failed"),
        ("with run.node('a'): sys.exit(0)", "cancelled", "", "cancelled"),
        ("with run.node('a'): sys.exit(3)", "failed", None, "failed"),
        ("with run:\n    with run.node('a'): sys.exit(0)", "cancelled", "SystemExit 0", "cancelled"),
        ("with run:\n    with run.node('a'): sys.exit(3)", "failed", None, "failed"),
        ("with run.node('a'): raise KeyboardInterrupt", "cancelled", "interrupted", "cancelled"),
        ("with run:\n    with run.node('a'): raise KeyboardInterrupt", "cancelled", "interrupted", "cancelled"),
        (
            """
            async def main():
                with run:
                    with run.node('a'):
                        raise asyncio.CancelledError
            asyncio.run(main())
            """,
            "cancelled",
            "CancelledError",
            "cancelled",
        ),
    ],
    ids=["complete", "left open", "exception", "exit 0", "exit 3", "with exit 0", "with exit 3", "interrupt",
         "with interrupt", "with cancelled"],
)  # fmt: skip
def test_a_run_ends_with_its_process_and_node_and_run_agree(  # noqa: PLR0917
    tmp_path, server, request, body, status, reason, node
):
    dag_id = f"ends: {request.node.callspec.id}"
    play(tmp_path, server, dag_id, body)
    ended = state(server, dag_id)
    assert ended.status == status
    assert ended.nodes["a"].status == node
    if reason is not None:
        assert reason in (ended.reason or "")


def test_sigterm_ends_the_run_and_the_process_dies_of_it(tmp_path, server, dag_id):
    body = "run.update('a', 'running')\nprint('up', flush=True)\ntime.sleep(100)"
    process = start(script(tmp_path, body), server.url, dag_id)
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    ended = state(server, dag_id)
    assert (ended.status, ended.nodes["a"].status) == ("cancelled", "cancelled")
    assert "SIGTERM" in ended.reason


def test_a_short_script_over_a_host_name_delivers_all(tmp_path, server, dag_id):
    url = server.url.replace("127.0.0.1", "localhost")
    for _ in range(5):
        code, _, err = play(tmp_path, server, dag_id, "with run.node('a'): pass\nrun.complete()", url=url)
        assert (code, err) == (0, "")
    assert [each.status for each in states(server, dag_id)] == ["completed"] * 5


def test_what_could_not_be_delivered_is_one_line_on_stderr(tmp_path, server, dag_id):
    code, _, err = play(tmp_path, server, dag_id, "run.complete()", url="ws://127.0.0.1:1")
    assert code == 0
    [line] = err.splitlines()
    assert re.fullmatch(
        rf"dagwidget: \d+ events of run '\w+' of '{dag_id}' were not delivered: .*ConnectionRefused.*", line
    )


def test_a_room_that_refuses_is_said_by_flush_and_at_the_exit(tmp_path, server, dag_id):
    body = """
    run.update("a", "running")
    print(run.flush(1), run.close(), run.refused)
    """
    process = start(script(tmp_path, body), server.url, dag_id, token="wrong")
    out, err = process.communicate(timeout=120)
    assert out.split() == ["False", "False", "None"]
    assert "were not delivered: the token is wrong, or another program has taken the port" in err


def test_events_after_the_end_of_a_run_are_delivered(tmp_path, server, dag_id):
    body = """
    run.update("a", "running")
    run.complete()
    assert run.flush(60)
    time.sleep(0.2)
    run.update("a", "failed", error="late")
    assert run.flush(60)
    """
    code, _, err = play(tmp_path, server, dag_id, body)
    assert (code, err) == (0, "")
    ended = state(server, dag_id)
    assert (ended.status, ended.nodes["a"].status) == ("completed", "failed")


def test_complete_waits_for_ends_that_come_later(tmp_path, server, dag_id):
    body = """
    run.update("a", "running")
    run.complete(7, wait=60)
    run.update("a", "failed", error="late")
    assert run.flush(60)
    """
    play(tmp_path, server, dag_id, body)
    ended = state(server, dag_id)
    assert (ended.status, ended.results, ended.nodes["a"].status) == ("completed", 7, "failed")


# --- Other processes

WORK = """
def work(run, n):
    with run.node("a", instance=str(n)) as node:
        node.output(n)
    return n
"""


@pytest.mark.parametrize(
    "body",
    [
        """
        pid = os.fork()
        if pid == 0:
            work(run, 0)
            assert not run.owned and run.flush(60)
            os._exit(0)
        os.waitpid(pid, 0)
        done = [work(run, n) for n in range(1, 4)]
        """,
        """
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(2) as pool:
            done = pool.starmap(work, [(run, n) for n in range(4)])
        """,
        """
        import multiprocessing
        pool = multiprocessing.get_context("spawn").Pool(2)
        done = pool.starmap(work, [(run, n) for n in range(4)])
        pool.close(); pool.join()
        """,
        """
        from concurrent.futures import ProcessPoolExecutor
        import multiprocessing
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
            done = list(pool.map(work, [run] * 4, range(4)))
        """,
        """
        from concurrent.futures import ProcessPoolExecutor
        import multiprocessing
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            done = list(pool.map(work, [run] * 4, range(4)))
        """,
        """
        import multiprocessing
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=work, args=(run, n)) for n in range(4)]
        for process in processes: process.start()
        for process in processes: process.join()
        """,
        """
        import joblib
        done = joblib.Parallel(2, backend="loky")(joblib.delayed(work)(run, n) for n in range(4))
        """,
        """
        import joblib
        done = joblib.Parallel(2, backend="multiprocessing")(joblib.delayed(work)(run, n) for n in range(4))
        """,
        """
        import joblib
        done = joblib.Parallel(2, backend="threading")(joblib.delayed(work)(run, n) for n in range(4))
        """,
    ],
    ids=["fork", "pool fork", "pool spawn", "executor fork", "executor spawn", "process fork", "loky",
         "joblib multiprocessing", "joblib threading"],
)  # fmt: skip
def test_workers_publish_into_the_run_and_end_nothing(tmp_path, server, request, body):
    if "joblib" in body:
        pytest.importorskip("joblib")
    dag_id = f"workers: {request.node.callspec.id}"
    head = "import os, sys, time\nimport dagwidget\n" + WORK
    main = "\nif __name__ == '__main__':\n    run = dagwidget.start_run(sys.argv[2], ['a'], url=sys.argv[1])\n"
    main += textwrap.indent(textwrap.dedent(body), "    ") + "\n    run.complete()\n"
    code, _, err = play(tmp_path, server, dag_id, "", head=head + main)
    assert (code, err) == (0, "")
    ended = state(server, dag_id)
    assert ended.status == "completed"
    assert {name: each.output for name, each in ended.nodes["a"].instances.items()} == {str(n): n for n in range(4)}
    assert ended.nodes["a"].counts == {"completed": 4}


def test_a_worker_that_is_terminated_delivers_what_it_published_and_goes(tmp_path, server, dag_id):
    body = """
    import signal
    pid = os.fork()
    if pid == 0:
        os._exit(0 if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL else 1)
    assert os.waitpid(pid, 0)[1] == 0, "a worker without anything to deliver has a handler"
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        run.update("b", "completed", output=1)
        os.write(writer, b"x")
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
    os.read(reader, 1)
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
    run.complete()
    """
    code, _, err = play(tmp_path, server, dag_id, body)
    assert (code, err) == (0, "")
    assert state(server, dag_id).nodes["b"].output == 1


def test_sigterm_ends_a_process_whatever_it_is_about_to_do(tmp_path, server, dag_id):
    # The main thread is interrupted while it holds a lock that the end of the run needs.
    body = "import signal\nwith run._gates._lock, run._channel._lock:\n    os.kill(os.getpid(), signal.SIGTERM)"
    code, _, err = play(tmp_path, server, dag_id, body)
    assert (code, err) == (-signal.SIGTERM, "")
    assert state(server, dag_id).status == "cancelled"


def test_a_forked_child_that_leaves_a_node_of_its_parent_says_nothing_of_it(tmp_path, server, dag_id):
    body = """
    with run.node("a"):
        pid = os.fork()
        if pid != 0:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    if pid == 0:
        run.flush(60)
        os._exit(7)
    run.complete()
    """
    code, _, err = play(tmp_path, server, dag_id, body)
    assert (code, err) == (0, "")
    ended = state(server, dag_id)
    assert (ended.nodes["a"].status, ended.nodes["a"].instances) == ("completed", None)


def test_a_program_that_catches_its_exit_has_not_failed(tmp_path, server, dag_id):
    body = """
    try:
        with run.node("a"):
            sys.exit(2)
    except SystemExit:
        pass
    with run.node("b"):
        pass
    """
    code, _, err = play(tmp_path, server, dag_id, body)
    assert (code, err) == (0, "")
    assert state(server, dag_id).status == "cancelled"


def test_a_closure_that_cloudpickle_sends_takes_the_run_along(tmp_path, server, dag_id):
    pytest.importorskip("cloudpickle")
    body = """
    import cloudpickle, subprocess
    def closure():
        with run.node("b"):
            pass
        assert not run.owned and run.flush(60)
    code = "import sys, pickle; pickle.loads(sys.stdin.buffer.read())()"
    done = subprocess.run([sys.executable, "-c", code], input=cloudpickle.dumps(closure))
    assert done.returncode == 0
    run.complete()
    """
    code, _, err = play(tmp_path, server, dag_id, body)
    assert (code, err) == (0, "")
    ended = state(server, dag_id)
    assert [each.status for each in ended.nodes["b"].instances.values()] == ["completed"]


def test_the_token_is_not_pickled(server, dag_id):
    import pickle

    run = dagwidget.start_run(dag_id, url=server.url, token="a-token-of-the-test")
    assert b"a-token-of-the-test" not in pickle.dumps(run)
    run.complete()
    assert run.flush(60)


# --- Executions


def test_of_overlapping_calls_each_is_an_instance_and_one_that_fails_is_seen(tmp_path, server, dag_id):
    body = """
    barrier = threading.Barrier(20)
    @run.node("a")
    def call(n):
        barrier.wait()
        if n == 7:
            raise ValueError("seven")
    def quiet(n):
        try:
            call(n)
        except ValueError:
            pass
    threads = [threading.Thread(target=quiet, args=(n,)) for n in range(20)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    run.complete()
    """
    play(tmp_path, server, dag_id, body)
    node = state(server, dag_id).nodes["a"]
    assert node.status == "failed"
    assert node.counts == {"completed": 19, "failed": 1}


def test_calls_one_after_the_other_are_attempts_and_a_lone_one_after_many_begins_anew(tmp_path, server, dag_id):
    body = """
    first, second = run.node("a"), run.node("a")
    with first, second: pass
    with run.node("a"): pass
    with run.node("b"): pass
    with run.node("b"): pass
    run.complete()
    """
    play(tmp_path, server, dag_id, body)
    nodes = state(server, dag_id).nodes
    assert (nodes["a"].status, nodes["a"].attempt, nodes["a"].instances) == ("completed", 2, None)
    assert (nodes["b"].status, nodes["b"].attempt, nodes["b"].instances) == ("completed", 2, None)


def test_a_node_that_is_reported_afterwards_spans_its_own_time(server, dag_id):
    with dagwidget.start_run(dag_id, url=server.url, token=server.token) as run:
        run.update("a", "completed", started_at=1_000_000, ended_at=4_600_000)
    assert run.flush(60)
    node = state(server, dag_id).nodes["a"]
    assert node.ended_at - node.started_at == 3_600_000


def test_two_workers_that_ask_at_the_same_node_have_two_gates(server, dag_id):
    run = dagwidget.start_run(dag_id, ["review"], url=server.url, token=server.token)
    assert run.flush(60)
    workers = [dagwidget.attach(server.url, dag_id, token=server.token, run_id=run.run_id) for _ in range(2)]
    gates = [worker.gate("review", title="?") for worker in workers]
    assert gates[0].gate_id != gates[1].gate_id
    assert all(worker.flush(60) for worker in workers)
    with dagwidget.connect(dag_id, url=server.url, token=server.token) as client:
        deadline = time.monotonic() + 60
        while len(client.state.gates) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for number, gate in enumerate(gates):
            client.decide("review", ["approve", "reject"][number], gate_id=gate.gate_id)
        assert [gate.result(60).decision for gate in gates] == ["approve", "reject"]
    run.complete()
    for worker in workers:
        worker.close()
    assert run.flush(60)
