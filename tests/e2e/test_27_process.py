"""Processes in the background: start, list, kill, and what gets lost."""
import pytest

from testenv.client import until
from testenv.expect import fails

EXEC = {"method": "POST", "path": "/exec$"}
SIGNAL = {"method": "DELETE", "path": "/processes/"}


@pytest.fixture
def start(client, capsule):
    """start(cmd, *args, **params): the answer of process.start."""
    return lambda cmd, *args, **params: client.call("process.start", {
        "capsule": capsule, "cmd": cmd, "args": list(args), **params})


@pytest.fixture
def listed(client, capsule):
    """listed(): what process.list shows."""
    return lambda: client.call("process.list", {"capsule": capsule})["processes"]


@pytest.fixture
def kill(client, capsule):
    return lambda **params: client.call("process.kill", {"capsule": capsule, **params})


@pytest.fixture
def text(client, capsule):
    """text(path): the content of a file in the capsule, once it is there."""
    def read(path):
        done = client.call("exec.run", {"capsule": capsule, "cmd": "cat", "args": [path]})
        return done["stdout"]

    return lambda path: until(lambda: read(path))


def sent(cloud, method, path):
    return [e for e in cloud.requests(method=method) if e["path"].endswith(path)]


# ---- start and list ----

def test_start_and_list(start, listed):
    first = start("sleep", "600")
    assert set(first) == {"pid", "tag"} and first["tag"].startswith("proc-")
    second = start("sleep", "601", tag="web.server-1_a")
    assert second["tag"] == "web.server-1_a"
    assert listed() == [
        {**first, "cmd": "sleep", "args": ["600"]},
        {**second, "cmd": "sleep", "args": ["601"]}]


def test_tags_that_are_made_up_differ(start):
    assert len({start("sleep", "600")["tag"] for _ in range(20)}) == 20


def test_what_has_ended_is_not_listed(start, listed, text):
    start("sh", "-c", "echo on > /root/out")
    assert text("/root/out") == "on\n"
    until(lambda: listed() == [])


def test_arguments_envs_and_folder(start, text):
    """As given, none of them through a shell."""
    start("sh", "-c", 'printf "%s|" "$PWD" "$A" "$B" "$@" > /root/t; mv /root/t /root/out',
          "sh", "it's $(id)", "", "-x", "a\nb",
          cwd="/tmp", envs={"A": "$HOME \"q\"", "B": "zażółć\n"})
    assert text("/root/out") == "/tmp|$HOME \"q\"|zażółć\n|it's $(id)||-x|a\nb|"


def test_it_outlives_its_client(daemon, cloud):
    made = daemon.call("capsule.create")["id"]
    with daemon.client() as client:
        pid = client.call("process.start", {
            "capsule": made, "cmd": "sleep", "args": ["600"]})["pid"]
    assert [p["pid"] for p in daemon.call("process.list", {"capsule": made})[
        "processes"]] == [pid]


def test_a_start_is_not_cancelled(cloud, client, capsule, listed):
    """Nor is one whose client goes: nobody would know of the process."""
    client.call("exec.run", {"capsule": capsule, "cmd": "true"})
    cloud.fault({"delay": 1}, match=EXEC)
    params = {"capsule": capsule, "cmd": "sleep", "args": ["600"], "tag": "kept"}
    number = client.send("process.start", params)
    assert client.call("call.cancel", {"call": number}) == {"cancelled": False}
    assert client.wait(number)["tag"] == "kept"
    assert [p["tag"] for p in listed()] == ["kept"]


@pytest.mark.parametrize("tag", [
    "", "-x", ".x", "_x", "a b", "a/b", "..", "a?b", "a%2fb", "a\n", "é", "4711", "x" * 65])
def test_invalid_tag(cloud, start, tag):
    with fails("invalid_params") as error:
        start("true", tag=tag)
    assert error.value.data["param"] == "tag"
    assert not sent(cloud, "POST", "/exec")


@pytest.mark.parametrize("params, name", [
    ({"envs": {"A B": "x"}}, "envs"), ({"timeout_sec": 5}, "timeout_sec"),
    ({"args": "x"}, "args"), ({"cwd": ""}, "cwd"), ({"cmd": ""}, "cmd")])
def test_invalid_command(cloud, client, capsule, params, name):
    with fails("invalid_params") as error:
        client.call("process.start", {"capsule": capsule, "cmd": "true", **params})
    assert error.value.data["param"] == name
    assert not sent(cloud, "POST", "/exec")


def test_what_cannot_be_started(start, listed):
    with fails("command_not_found"):
        start("no-such-program")
    with fails("command_not_executable"):
        start("/etc/passwd")
    with fails("agent_error") as error:
        start("true", cwd="/no/such/folder")
    assert "/no/such/folder" in error.value.message
    assert listed() == []


# ---- kill ----

def test_a_portals_page_is_no_kill(cloud, start, listed, kill):
    pid = start("sleep", "600")["pid"]
    cloud.fault({"status": 200, "body": "<html>log in</html>", "content_type": "text/html"},
                match={"method": "DELETE"})
    with fails("bad_answer"):
        kill(pid=pid)
    assert [p["pid"] for p in listed()] == [pid]


def test_kill_by_pid_and_by_tag(cloud, start, listed, kill):
    first, second = start("sleep", "600"), start("sleep", "601", tag="web")
    assert kill(tag="web") == {"pid": second["pid"]}
    until(lambda: [p["pid"] for p in listed()] == [first["pid"]])
    assert kill(pid=first["pid"]) == {"pid": first["pid"]}
    until(lambda: listed() == [])
    assert [e["query"] for e in cloud.requests(method="DELETE")] == ["signal=SIGKILL"] * 2


def test_signals(cloud, start, listed, kill, text):
    """SIGTERM can be caught, SIGKILL cannot, and is the default."""
    start("sh", "-c", "trap 'echo caught >> /root/out' TERM; touch /root/ready;"
          " while :; do sleep 0.01; done", tag="t")
    start("sh", "-c", "until test -e /root/ready; do sleep 0.01; done; echo y > /root/set")
    assert text("/root/set") == "y\n"
    kill(tag="t", signal="SIGTERM")
    assert text("/root/out") == "caught\n"
    assert [p["tag"] for p in listed()] == ["t"]
    kill(tag="t", signal="SIGKILL")
    until(lambda: listed() == [])
    assert [e["query"] for e in cloud.requests(method="DELETE")] == [
        "signal=SIGTERM", "signal=SIGKILL"]


def test_one_of_several_with_a_tag_is_not_guessed(cloud, start, listed, kill):
    pids = [start("sleep", "600", tag="twin")["pid"] for _ in range(2)]
    with fails("ambiguous") as error:
        kill(tag="twin")
    assert "2 processes" in error.value.message
    assert not cloud.requests(method="DELETE") and len(listed()) == 2
    kill(pid=pids[0])
    until(lambda: [p["pid"] for p in listed()] == [pids[1]])
    assert kill(tag="twin") == {"pid": pids[1]}


def test_a_tag_that_others_gave(cloud, client, capsule, listed, kill):
    """Upstream and its SDK take any text."""
    for tag in ("a b/../c?d=e#f%", "4711", "\x1b[31m"):
        cloud.call("POST", f"/v1/capsules/{capsule}/exec", {
            "cmd": "sleep", "args": ["600"], "background": True, "tag": tag})
        [process] = listed()
        assert process["tag"] == tag
        assert kill(tag=tag) == {"pid": process["pid"]}
        until(lambda: listed() == [])


@pytest.mark.parametrize("which", [{"pid": 2147483647}, {"tag": "nosuch"}, {"tag": "600"}])
def test_no_such_process(start, listed, kill, which):
    start("sleep", "600", tag="web")
    with fails("not_found"):
        kill(**which)
    assert len(listed()) == 1


@pytest.mark.parametrize("params, name", [
    ({}, None), ({"pid": 1, "tag": "a"}, None), ({"pid": 0}, "pid"), ({"pid": -1}, "pid"),
    ({"pid": 2**31}, "pid"), ({"pid": "1"}, "pid"), ({"tag": ""}, "tag"),
    ({"pid": 1, "signal": "SIGHUP"}, "signal"), ({"pid": 1, "signal": "KILL"}, "signal"),
    ({"pid": 1, "signal": 9}, "signal")])
def test_invalid_kill(cloud, kill, params, name):
    with fails("invalid_params") as error:
        kill(**params)
    assert error.value.data.get("param") == name
    assert not cloud.requests(method="DELETE")


# ---- sleep and waking ----

def lull(cloud, capsule):
    """The server pauses it, as for inactivity."""
    cloud.set_capsule(capsule, status="paused")


def test_a_sleeping_capsule_is_resumed(cloud, client, capsule, start, listed, kill):
    lull(cloud, capsule)
    first = start("sleep", "600", tag="web")
    assert first.pop("resumed") is True
    lull(cloud, capsule)
    assert [p["pid"] for p in listed()] == [first["pid"]]
    lull(cloud, capsule)
    assert kill(tag="web") == {"pid": first["pid"]}
    until(lambda: listed() == [])
    assert len(sent(cloud, "POST", "/resume")) == 3
    # The one that met a sleeping capsule was not carried out.
    assert [e["executed"] for e in sent(cloud, "POST", "/exec")] == [False, True]


CALLS = [("process.start", {"cmd": "true"}), ("process.list", {}),
         ("process.kill", {"pid": 4711}), ("process.kill", {"tag": "web"})]


@pytest.mark.parametrize("method, more", CALLS)
def test_a_sleeping_capsule_is_left_asleep(cloud, client, capsule, method, more):
    """When the call says so, or when it was paused by hand."""
    lull(cloud, capsule)
    with fails("capsule_paused") as error:
        client.call(method, {"capsule": capsule, "auto_resume": False, **more})
    assert "auto_resume" in error.value.message
    client.call("capsule.resume", {"capsule": capsule})
    client.call("capsule.pause", {"capsule": capsule})
    with fails("capsule_paused"):
        client.call(method, {"capsule": capsule, **more})
    assert len(sent(cloud, "POST", "/resume")) == 1


def test_a_look_does_not_pass_for_activity(make_cloud, make_daemon):
    """The server counts no list, so that pings go on beside a long command."""
    cloud = make_cloud("--pause-check", "0.1")
    with make_daemon(cloud).start().client() as client:
        made = client.call("capsule.create", {"timeout_sec": 2})["id"]
        number = client.send("exec.run", {"capsule": made, "cmd": "sleep", "args": ["5"]})
        while client.call("daemon.status")["calls"]["in_flight"] > 1:
            client.call("process.list", {"capsule": made, "auto_resume": False})
        assert client.wait(number)["exit_code"] == 0
        assert not [e for e in cloud.ledger() if e["path"].endswith("/resume")]


# ---- what gets lost ----

@pytest.mark.parametrize("action, runs", [
    ({"lose_answer": True}, 1), ({"drop_edge": "after"}, 1), ({"cut_after": 10}, 1),
    ({"status": 502, "body": "<html>"}, 0), ({"reset_before": True}, 0)])
def test_a_start_is_never_sent_again(cloud, client, capsule, listed, action, runs):
    cloud.fault(action, match=EXEC)
    with fails("outcome_unknown") as error:
        client.call("process.start", {"capsule": capsule, "cmd": "sleep", "args": ["600"]})
    tag = error.value.data["tag"]
    assert error.value.message.endswith(f"its tag is {tag}")
    assert len(sent(cloud, "POST", "/exec")) == 1
    assert [p["tag"] for p in listed()] == [tag] * runs


@pytest.mark.parametrize("action", [
    {"bad_json": True}, {"status": 202, "body": "{}", "content_type": "application/json"},
    {"status": 202, "body": '{"pid":"x"}', "content_type": "application/json"}])
def test_an_answer_to_a_start_that_cannot_be_read(cloud, client, capsule, action):
    cloud.fault(action, match=EXEC)
    with fails("bad_answer") as error:
        client.call("process.start", {"capsule": capsule, "cmd": "sleep", "args": ["600"],
                                      "tag": "web"})
    assert error.value.data["tag"] == "web" and "web" in error.value.message
    assert len(sent(cloud, "POST", "/exec")) == 1


def test_a_wake_that_is_lost_has_started_nothing(cloud, client, capsule, listed):
    lull(cloud, capsule)
    cloud.fault({"status": 500}, match={"path": "/resume$"}, count=-1)
    with fails("upstream_internal") as error:
        client.call("process.start", {"capsule": capsule, "cmd": "sleep", "args": ["600"]})
    assert "tag" not in error.value.data
    cloud.clear_faults()
    assert listed() == []


def test_a_list_is_sent_again(cloud, start, listed):
    pid = start("sleep", "600")["pid"]
    cloud.fault({"reset_before": True}, match={"path": "/processes$"}, count=2)
    assert [p["pid"] for p in listed()] == [pid]


@pytest.mark.parametrize("body", ["[]", "{}", '{"processes":5}', "null"])
def test_what_is_no_list(cloud, start, listed, kill, body):
    start("sleep", "600", tag="web")
    action = {"status": 200, "body": body, "content_type": "application/json"}
    cloud.fault(action, match={"path": "/processes$"}, count=2)
    with fails("bad_answer"):
        listed()
    with fails("bad_answer"):
        kill(tag="web")
    assert len(listed()) == 1 and not cloud.requests(method="DELETE")


@pytest.mark.parametrize("action, after", [
    ({"reset_before": True}, None), ({"drop_edge": "before"}, None),
    # It was ended by the first try, so that the second finds none.
    ({"lose_answer": True}, "not_found"), ({"drop_edge": "after"}, "not_found")])
def test_sigkill_is_sent_again(cloud, start, listed, kill, action, after):
    pid = start("sleep", "600")["pid"]
    cloud.fault(action, match=SIGNAL)
    if after:
        with fails(after):
            kill(pid=pid)
    else:
        assert kill(pid=pid) == {"pid": pid}
    until(lambda: listed() == [])
    assert len(cloud.requests(method="DELETE")) == 2


@pytest.mark.parametrize("action", [
    {"reset_before": True}, {"drop_edge": "after"}, {"lose_answer": True},
    {"status": 504, "body": ""}])
def test_sigterm_is_never_sent_again(cloud, start, kill, action):
    """Some programs take a second one for "at once"."""
    pid = start("sleep", "600")["pid"]
    cloud.fault(action, match=SIGNAL)
    with fails("outcome_unknown"):
        kill(pid=pid, signal="SIGTERM")
    assert len(cloud.requests(method="DELETE")) == 1
