"""Commands and background processes."""
import asyncio
import base64
import signal
import time

import pytest

from .harness import alive, eventually, state_letter
from .process import LAG_MAX, Fan


def execute(server, capsule, cmd, *args, **more):
    return server.call("POST", f"/v1/capsules/{capsule}/exec",
                       {"cmd": cmd, "args": list(args), **more})


def shell(server, capsule, line, **more):
    return execute(server, capsule, "sh", "-c", line, **more)


def test_the_answer(server, capsule):
    answer = shell(server, capsule, "echo out; echo err >&2; exit 7")
    assert answer.status == 200
    fields = answer.json
    assert fields.pop("duration_ms") < 5000
    assert fields == {
        "sandbox_id": capsule, "cmd": "sh", "stdout": "out\n",
        "stderr": "err\n", "exit_code": 7, "encoding": "utf-8"}


def test_no_shell_comes_between(server, capsule):
    answer = execute(server, capsule, "printf", "%s|", "$HOME", "a b", "*",
                     "é", "")
    assert answer.json["stdout"] == "$HOME|a b|*|é||"


@pytest.mark.parametrize("line, stdout, stderr", [
    (r"printf '\377'; printf ok >&2", b"\xff", b"ok"),
    (r"printf ok; printf '\303' >&2", b"ok", b"\xc3"),
])
def test_base64_for_both_if_either_is_not_utf8(
        server, capsule, line, stdout, stderr):
    fields = shell(server, capsule, line).json
    assert fields["encoding"] == "base64"
    assert base64.b64decode(fields["stdout"]) == stdout
    assert base64.b64decode(fields["stderr"]) == stderr


def test_killed_by_a_signal_is_minus_one(server, capsule):
    assert shell(server, capsule, "kill -9 $$").json["exit_code"] == -1


def test_envs_and_cwd_are_ignored_in_the_foreground(server, capsule):
    fields = shell(server, capsule, "pwd; echo [$A]", cwd="/",
                   envs={"A": "1"}).json
    pwd, value = fields["stdout"].splitlines()
    assert pwd != "/" and value == "[]"


@pytest.mark.parametrize("cmd, message", [
    ("nosuch", 'exec: "nosuch": executable file not found in $PATH'),
    ("/nosuch", "fork/exec /nosuch: no such file or directory"),
    ("/etc/passwd", "fork/exec /etc/passwd: permission denied"),
    ("/", "fork/exec /: permission denied"),
    ("a\0b/", "fork/exec a\0b/: invalid argument"),
])
def test_programs_that_cannot_start(server, capsule, cmd, message):
    answer = execute(server, capsule, cmd)
    assert (answer.status, answer.code) == (502, "agent_error")
    assert answer.message == message


@pytest.mark.parametrize("body", [
    {}, {"cmd": ""}, {"cmd": 1}, {"cmd": "true", "args": "x"},
    {"cmd": "true", "args": [1]}, {"cmd": "true", "timeout_sec": "x"},
    {"cmd": "true", "background": "yes"},
    {"cmd": "true", "background": True, "envs": {"A": 1}},
])
def test_bad_requests(server, capsule, body):
    answer = server.call("POST", f"/v1/capsules/{capsule}/exec", body)
    assert (answer.status, answer.code) == (400, "invalid_request")


def test_timeout(server, capsule):
    answer = execute(server, capsule, "sleep", "30", timeout_sec=1)
    assert (answer.status, answer.code) == (502, "agent_error")
    assert answer.message.endswith("context deadline exceeded")
    eventually(lambda: not server.capsule(capsule)["pids"])


def test_a_caller_that_goes_takes_its_command_along(server, capsule):
    connection = server.send("POST", f"/v1/capsules/{capsule}/exec",
                             {"cmd": "sh", "args": ["-c", "sleep 60; true"]})
    pids = eventually(lambda: len(server.capsule(capsule)["pids"]) == 2
                      and server.capsule(capsule)["pids"])
    connection.close()
    eventually(lambda: not any(alive(pid) for pid in pids))
    eventually(lambda: server.ledger()[-1]["seconds"] is not None)
    assert server.ledger()[-1]["status"] is None


def test_what_a_command_leaves_behind_does_not_hold_its_answer(
        server, capsule):
    started = time.monotonic()
    answer = shell(server, capsule, "sleep 60 & echo started")
    assert answer.json["stdout"] == "started\n"
    assert time.monotonic() - started < 10
    assert len(server.capsule(capsule)["pids"]) == 1


def test_large_output_is_whole(server, capsule):
    line = "head -c 20000000 /dev/zero | tr '\\0' x; echo end >&2"
    fields = shell(server, capsule, line).json
    assert fields["stdout"] == "x" * 20000000
    assert fields["stderr"] == "end\n"


def test_too_large_output_is_an_error(server, capsule):
    answer = execute(server, capsule, "cat", "/dev/zero")
    assert (answer.status, answer.code) == (502, "agent_error")
    eventually(lambda: not server.capsule(capsule)["pids"])


def test_large_arguments_and_many_at_once(server, capsule):
    big = "y" * 100000
    assert execute(server, capsule, "printf", "%s%s%s%s%s", big, big, big,
                   big, big).json["stdout"] == big * 5
    pending = [
        server.send("POST", f"/v1/capsules/{capsule}/exec",
                    {"cmd": "sh", "args": ["-c", f"echo {number}"]})
        for number in range(30)
    ]
    for number, connection in enumerate(pending):
        body = connection.getresponse().read()
        assert f'"stdout": "{number}\\n"'.encode() in body
        connection.close()


def test_pause_stops_and_resume_continues(server, capsule):
    started = execute(server, capsule, "sh", "-c",
                      "while :; do :; done", background=True)
    assert started.status == 202
    pid = server.capsule(capsule)["pids"][0]
    server.call("POST", f"/v1/capsules/{capsule}/pause")
    eventually(lambda: state_letter(pid) == "T")
    server.call("POST", f"/v1/capsules/{capsule}/resume")
    eventually(lambda: state_letter(pid) in "RS")
    server.call("DELETE", f"/v1/capsules/{capsule}")
    assert not alive(pid)


def test_a_call_under_way_goes_on_after_a_resume(server, capsule):
    connection = server.send("POST", f"/v1/capsules/{capsule}/exec", {
        "cmd": "sh", "args": ["-c", "until test -e go; do :; done; echo on"]})
    eventually(lambda: server.capsule(capsule)["pids"])
    server.call("POST", f"/v1/capsules/{capsule}/pause")
    server.call("POST", f"/v1/capsules/{capsule}/resume")
    server.upload(f"/v1/capsules/{capsule}/files/write",
                  [("path", b"/root/go"), ("file", b"")])
    assert b'"stdout": "on\\n"' in connection.getresponse().read()
    connection.close()


def test_destroy_ends_a_call_under_way(server, capsule):
    connection = server.send("POST", f"/v1/capsules/{capsule}/exec",
                             {"cmd": "sleep", "args": ["60"]})
    pids = eventually(lambda: server.capsule(capsule)["pids"])
    server.call("DELETE", f"/v1/capsules/{capsule}")
    assert not any(alive(pid) for pid in pids)
    assert connection.getresponse().status == 502
    connection.close()


def test_background_list_and_kill(server, capsule):
    path = f"/v1/capsules/{capsule}/processes"
    first = execute(server, capsule, "sleep", "60", background=True).json
    assert first.pop("tag").startswith("proc-")
    assert first == {"sandbox_id": capsule, "cmd": "sleep",
                     "pid": first["pid"]}
    execute(server, capsule, "cat", "/dev/zero", background=True, tag="web")
    rows = server.call("GET", path).json["processes"]
    assert [(row["cmd"], row["args"]) for row in rows] == [
        ("sleep", ["60"]), ("cat", ["/dev/zero"])]
    assert rows[1]["tag"] == "web"
    for selector, query in ((first["pid"], "?signal=SIGTERM"), ("web", "")):
        assert server.call(
            "DELETE", f"{path}/{selector}{query}").status == 204
    eventually(lambda: server.call("GET", path).json == {"processes": []})
    answer = server.call("DELETE", path + "/web")
    assert (answer.status, answer.code) == (404, "not_found")


def test_sigterm_can_be_caught_and_sigkill_not(server, capsule):
    path = f"/v1/capsules/{capsule}/processes"
    line = "trap 'echo caught > trap' TERM; while :; do sleep 0.01; done"
    execute(server, capsule, "sh", "-c", line, background=True, tag="t")
    pid = server.capsule(capsule)["pids"][0]
    term = 1 << (signal.SIGTERM - 1)
    eventually(lambda: int(caught_signals(pid), 16) & term)
    server.call("DELETE", path + "/t?signal=SIGTERM")
    eventually(lambda: server.call(
        "POST", f"/v1/capsules/{capsule}/files/read",
        {"path": "/root/trap"}).body == b"caught\n")
    assert server.call("GET", path).json["processes"]
    server.call("DELETE", path + "/t")
    eventually(lambda: not server.call("GET", path).json["processes"])


def caught_signals(pid):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("SigCgt:"):
                return line.split()[1]
    raise AssertionError("no SigCgt line")


def test_background_honours_envs_and_cwd(server, capsule):
    answer = execute(
        server, capsule, "sh", "-c", 'echo "$PWD $A" > $HOME/made',
        background=True, envs={"A": "it's"}, cwd="/tmp")
    assert answer.status == 202
    read = f"/v1/capsules/{capsule}/files/read"
    eventually(lambda: server.call(
        "POST", read, {"path": "/root/made"}).body == b"/tmp it's\n")
    answer = execute(server, capsule, "true", background=True, cwd="/nosuch")
    assert answer.message == "chdir /nosuch: no such file or directory"


def test_a_fan_reaches_who_listens_and_skips_for_the_slow():
    async def scenario():
        fan = Fan()
        fan.publish("stdout", b"before")
        tally = {"missed": 0}
        subscription = fan.subscribe(tally)
        for number in range(LAG_MAX + 5):
            fan.publish("stdout", number)
        assert tally["missed"] == 5
        assert await subscription.get() == ("stdout", 5)
        fan.unsubscribe(subscription)
        fan.publish("exit", 0)
        assert subscription.queue.qsize() == LAG_MAX - 1

    asyncio.run(scenario())
