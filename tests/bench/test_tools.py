"""The C programs that measure: what is wrong must not count as fast."""
import json
import pathlib
import socket
import subprocess
import threading

import pytest

from . import machine
from .server import body, capsule_ids

HERE = pathlib.Path(__file__).resolve().parent
CALLS = '"method":"first"\n"method":"second"\n'


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """Where the programs are."""
    folder = tmp_path_factory.mktemp("tools")
    for name in ("load", "spawn"):
        subprocess.run(["cc", "-std=gnu11", "-I", HERE.parents[1], "-o", folder / name,
                        HERE / f"{name}.c"], check=True)
    return folder


class FakeWrennd:
    """Answers each line by answer(message), as text; notes methods and windows."""

    def __init__(self, path, answer):
        self.answer = answer
        self.methods = []
        self.together = 0  # the most lines that came before any was answered
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        sock, _ = self.listener.accept()
        self.listener.close()
        waiting = b""
        with sock:
            while data := sock.recv(1 << 16):
                *lines, waiting = (waiting + data).split(b"\n")
                self.together = max(self.together, len(lines))
                answers = ""
                for message in map(json.loads, lines):
                    self.methods.append(message["method"])
                    answers += self.answer(message)
                sock.sendall(answers.encode())


def good(message):
    return '{"jsonrpc":"2.0","id":%d,"result":{}}\n' % message["id"]


def load(tools, folder, answer, count=10, window=3):
    """The finished load(1) and the wrennd that it met."""
    wrennd = FakeWrennd(folder / "sock", answer)
    done = subprocess.run([tools / "load", folder / "sock", str(count), str(window), "30"],
                          input=CALLS, capture_output=True, text=True, check=False)
    wrennd.thread.join()
    return done, wrennd


def test_load_sends_the_calls_in_turn_and_keeps_its_window(tools, tmp_path):
    done, wrennd = load(tools, tmp_path, good)
    assert done.returncode == 0, done.stderr
    assert wrennd.methods == ["first", "second"] * 5
    assert wrennd.together == 3
    told = json.loads(done.stdout)
    assert told["calls"] == 10
    assert 0 < told["p50_us"] <= told["p99_us"] <= told["seconds"] * 1e6


def test_load_takes_answers_in_any_order(tools, tmp_path):
    held = []

    def in_pairs(message):
        held.insert(0, good(message))
        if len(held) < 2:
            return ""
        both = "".join(held)
        held.clear()
        return both

    done, _ = load(tools, tmp_path, in_pairs, window=2)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("answer, words", [
    (lambda m: '{"jsonrpc":"2.0","id":%d,"error":{}}\n' % m["id"], "no result"),
    (lambda m: good(m) * 2, "nobody waits"),
    (lambda m: good({"id": m["id"] + 100}), "nobody waits"),
    (lambda m: '{"jsonrpc":"2.0","method":"event"}\n', "no answer"),
])
def test_load_fails_when_an_answer_is_no_result(tools, tmp_path, answer, words):
    done, _ = load(tools, tmp_path, answer)
    assert done.returncode == 1
    assert words in done.stderr


def spawn(tools, *arguments):
    return subprocess.run([tools / "spawn", *arguments], capture_output=True, text=True,
                          check=False)


def test_spawn_runs_all_and_times_each(tools, tmp_path):
    done = spawn(tools, "7", "3", "30", "mktemp", "--tmpdir=" + str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["ms"]) == 7
    assert len(list(tmp_path.iterdir())) == 7


def test_spawn_fails_with_its_command(tools):
    assert spawn(tools, "3", "1", "30", "false").returncode == 1
    assert spawn(tools, "3", "1", "30", "/nonexistent").returncode == 1


def test_spawn_ends_in_time(tools):
    done = spawn(tools, "2", "2", "1", "sleep", "1000")
    assert done.returncode == 1


@pytest.mark.parametrize("capsule", ["$id", "cl-$letters"])
def test_the_server_answers_with_a_capsule_of_that_length(capsule):
    name = capsule_ids(1)[0]
    text = body(capsule).replace(capsule, name)
    assert len(text) == 312
    assert json.loads(text)["id"] == name


def test_a_failed_program_is_an_error():
    with pytest.raises(ChildProcessError):
        machine.run(["false"], machine.CLIENT_CORE, 30)
    assert machine.run(["echo", "hello"], machine.CLIENT_CORE, 30)[0] == "hello\n"
