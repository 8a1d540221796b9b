"""exec -d, ps and kill as a person and a script use them."""
import json
import re

import pytest

from testenv import paths
from testenv.client import until
from testenv.terminal import Terminal


@pytest.fixture
def web(ctl):
    """The ID of a running capsule called "web"."""
    made = ctl.json("create", "--name", "web")["id"]
    yield made
    ctl.run("rm", made)


def tags(ctl):
    return [p["tag"] for p in ctl.json("ps", "web")["processes"]]


# --- exec -d


def test_detached_prints_the_tag_alone(ctl, web):
    done = ctl.run("exec", "-d", "web", "--", "sleep", "600")
    assert (done.returncode, done.stderr) == (0, b"")
    assert re.fullmatch(rb"proc-[0-9a-f]{8}\n", done.stdout)
    assert ctl.ok("exec", "--detach", "--tag", "srv", "web", "sleep", "600") == "srv\n"
    assert tags(ctl) == [done.stdout.decode().strip(), "srv"]
    answer = ctl.json("exec", "-d", "--tag", "js", "web", "sleep", "600")
    assert answer["tag"] == "js" and answer["pid"] > 0


def test_detached_with_folder_variables_and_shell(ctl, web):
    ctl.ok("exec", "-d", "-e", "A=1 2", "-e", "B", "-w", "/tmp", "--shell", "web",
           'echo "$PWD $A $B" > /root/t; mv /root/t /root/out', env={"B": "b"})
    until(lambda: ctl.run("fs", "cat", "web:/root/out").stdout == b"/tmp 1 2 b\n")


def test_on_a_terminal_it_says_how_to_go_on(ctl, web):
    with Terminal([paths.WRENNCTL, "exec", "-d", "--tag", "srv", "web", "sleep", "600"],
                  env=ctl.env) as terminal:
        terminal.wait_for(b"wrennctl kill web srv")
        assert b"wrennctl ps web" in terminal.shown


@pytest.mark.parametrize("words, status, told", [
    (("-d", "web"), 125, b"no command"),
    (("-d", "--timeout", "5m", "web", "true"), 125, b"--timeout"),
    (("--tag", "x", "web", "true"), 125, b"-d"),
    (("-d", "--tag", "7", "web", "true"), 125, b"tag"),
    (("-d", "--tag", "a/b", "web", "true"), 125, b"tag"),
    (("-d", "--shell", "web", "two", "words"), 125, b"--shell"),
    (("-d", "web", "nosuch-program"), 127, b"nosuch-program"),
    (("-d", "web", "/etc/passwd"), 126, b"/etc/passwd"),
    (("-d", "-w", "/nosuch", "web", "true"), 125, b"/nosuch"),
    (("-d", "cl-nobody", "true"), 125, b"cl-nobody"),
])
def test_what_is_not_started(ctl, web, words, status, told):
    done = ctl.run("exec", *words)
    assert (done.returncode, done.stdout) == (status, b"")
    assert done.stderr.startswith(b"wrennctl: ") and told in done.stderr
    assert tags(ctl) == []


def test_a_lost_start_names_the_tag(cloud, ctl, web):
    cloud.fault({"lose_answer": True}, match={"path": "/exec$"})
    done = ctl.run("-o", "json", "exec", "-d", "web", "sleep", "600")
    assert (done.returncode, done.stdout) == (125, b"")
    data = json.loads(done.stderr)["error"]["data"]
    assert data["name"] == "outcome_unknown" and tags(ctl) == [data["tag"]]


def test_a_capsule_that_sleeps(cloud, ctl, web):
    cloud.set_capsule(web, status="paused")
    for words in (("exec", "-d", "--no-resume", "web", "true"), ("ps", "--no-resume", "web"),
                  ("kill", "--no-resume", "web", "x")):
        done = ctl.run(*words)
        assert (done.returncode, done.stdout) == (125 if words[0] == "exec" else 4, b"")
    done = ctl.run("exec", "-d", "--tag", "x", "web", "sleep", "600")
    assert (done.stdout, done.returncode) == (b"x\n", 0)
    assert b"has been resumed" in done.stderr


# --- ps


def test_ps_as_table_pids_and_json(ctl, web):
    assert ctl.ok("ps", "web").split() == ["PID", "TAG", "COMMAND"]
    assert ctl.ok("ps", "-q", "web") == "" and ctl.json("ps", "web") == {"processes": []}
    ctl.ok("exec", "-d", "--tag", "one", "web", "sleep", "600")
    ctl.ok("exec", "-d", "--tag", "two", "web", "sh", "-c", "sleep 600; \x1b[31m")
    rows = ctl.json("ps", "web")["processes"]
    lines = [line.split(maxsplit=2) for line in ctl.ok("ps", "web").splitlines()[1:]]
    assert lines == [[str(rows[0]["pid"]), "one", "sleep 600"],
                     [str(rows[1]["pid"]), "two", r"sh -c sleep 600; \x1b[31m"]]
    assert ctl.ok("ps", "-q", "web").split() == [str(row["pid"]) for row in rows]
    assert ctl.run("ps", "nosuch").returncode == 3
    assert ctl.run("ps").returncode == ctl.run("ps", "web", "web").returncode == 2


def test_ps_of_a_server_that_answers_oddly(cloud, ctl, web):
    """In the order of PIDs, whatever the server's is; nothing breaks."""
    rows = [{"pid": 30, "cmd": "c"}, {"pid": 4, "tag": "t", "cmd": "a", "args": ["b", 5]},
            None, {"pid": "x"}, 7]
    action = {"status": 200, "body": json.dumps({"processes": rows}),
              "content_type": "application/json"}
    cloud.fault(action, match={"path": "/processes$"})
    assert [line.split() for line in ctl.ok("ps", "web").splitlines()[1:]] == [
        ["0", "-", "-"]] * 3 + [["4", "t", "a", "b", "-"], ["30", "-", "c"]]


# --- kill


@pytest.mark.parametrize("words, sent", [
    ((), "SIGKILL"), (("-s", "KILL"), "SIGKILL"), (("-9",), "SIGKILL"), (("-KILL",), "SIGKILL"),
    (("--signal", "sigterm"), "SIGTERM"), (("-TERM",), "SIGTERM"), (("-15",), "SIGTERM"),
    (("-SIGTERM",), "SIGTERM"), (("-s15",), "SIGTERM")])
def test_kill_sends_the_signal(cloud, ctl, web, words, sent):
    ctl.ok("exec", "-d", "--tag", "srv", "web", "sleep", "600")
    assert ctl.ok("kill", *words, "web", "srv") == "srv\n"
    until(lambda: tags(ctl) == [])
    assert [e["query"] for e in cloud.requests(method="DELETE")] == ["signal=" + sent]


def test_kill_takes_several_and_goes_on_after_a_failure(ctl, web):
    pid = ctl.json("exec", "-d", "web", "sleep", "600")["pid"]
    ctl.ok("exec", "-d", "--tag", "srv", "web", "sleep", "600")
    done = ctl.run("kill", "web", "nosuch", pid, "2000000000", "srv")
    assert done.returncode == 3
    assert done.stdout.decode().split() == [str(pid), "srv"]
    assert [line.split(b":")[:2] for line in done.stderr.splitlines()] == [
        [b"wrennctl", b" nosuch"], [b"wrennctl", b" 2000000000"]]
    until(lambda: tags(ctl) == [])
    for _ in "ab":
        ctl.ok("exec", "-d", "--tag", "twin", "web", "sleep", "600")
    # The status of the first failure, which is not the last one's.
    assert ctl.run("kill", "web", "twin", "nosuch").returncode == 2


def test_kill_tells_as_json(ctl, web):
    pids = [ctl.json("exec", "-d", "--tag", tag, "web", "sleep", "600")["pid"] for tag in "ab"]
    done = ctl.run("-o", "json", "kill", "web", "a", "nosuch", "b")
    assert done.returncode == 3
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"pid": pid} for pid in pids]
    assert json.loads(done.stderr)["error"]["data"]["name"] == "not_found"


@pytest.mark.parametrize("words", [
    ("-s", "HUP", "web", "1"), ("-HUP", "web", "1"), ("-1", "web", "1"), ("-s", "", "web", "1"),
    ("-s", "9x", "web", "1"), ("-9", "-15", "web", "1"), ("web",), ("-9", "web"), ()])
def test_kill_refuses(cloud, ctl, web, words):
    assert web
    done = ctl.run("kill", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"wrennctl: ")
    assert cloud.requests(method="DELETE") == []


def test_kill_names_what_signals_there_are(ctl, web):
    done = ctl.run("kill", "-USR1", "web", "x")
    assert b"KILL and TERM" in done.stderr and b"USR1" in done.stderr


def test_a_word_behind_two_dashes_is_no_signal(cloud, ctl, web):
    cloud.call("POST", f"/v1/capsules/{web}/exec", {
        "cmd": "sleep", "args": ["600"], "background": True, "tag": "-9"})
    assert ctl.ok("kill", "web", "--", "-9") == "-9\n"
    until(lambda: tags(ctl) == [])
