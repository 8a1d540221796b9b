"""exec.stream: live output, its end, connections that drop, callers that go."""
import base64
import random
import signal

import pytest

from testenv import paths
from testenv.client import until
from testenv.expect import fails, good, together
from testenv.stream import Stream

FIRST = "/exec/stream$"
AGAIN = "/processes/[0-9]+/stream$"
KILL = {"method": "DELETE"}


@pytest.fixture
def stream(client, capsule):
    """stream(cmd, *args, **more): it runs in the test's capsule."""
    made = []

    def start(cmd, *args, **more):
        made.append(Stream(client, capsule, cmd, *args, **more))
        return made[-1]

    yield start
    for one in made:
        one.drop()


def fault(cloud, path, ws=None, **rule):
    action = {"ws": ws} if ws is not None else rule.pop("action")
    cloud.admin("POST", "/faults", {
        "match": {"path": path}, "action": action, **rule})


def running(cloud, capsule, word):
    """How many processes of the capsule have the word among their arguments."""
    found = 0
    for pid in cloud.capsule(capsule)["pids"]:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                found += word.encode() in line.read().split(b"\0")
        except OSError:
            pass  # ended meanwhile
    return found


def starts(cloud):
    """Requests that have started a command on a stream."""
    return [e for e in cloud.ledger()
            if e["path"].endswith("/exec/stream") and e["executed"]]


def script(stream, line, **more):
    return stream("sh", "-c", line, **more)


# ---- output and exits ----

def test_output_comes_while_it_runs(stream, client, capsule):
    one = script(stream, "echo first; while [ ! -e go ]; do sleep 0.02; done; echo last")
    assert one.until("start")["pid"] > 0
    assert one.until("stdout")["text"] == "first\n"
    client.send("file.write", {"capsule": capsule, "path": "/root/go", "text": ""})
    while one.answer is None:
        message = client.read()
        if message.get("method") == "event":
            one.events.append(message["params"])
        elif message["id"] == one.number:
            one.answer = message
    assert one.text() == "first\nlast\n"
    assert one.answer["result"]["exit_code"] == 0


def test_both_streams_apart(stream):
    one = script(stream, "echo out; echo err >&2; exit 37")
    done = one.result()
    assert (one.text(), one.text("stderr")) == ("out\n", "err\n")
    assert done == {"exit_code": 37, "pid": one.events[0]["pid"], "lossy": False, "gap": False}
    assert one.types() == ["start"]


@pytest.mark.parametrize("line, code", [
    ("exit 0", 0), ("exit 255", 255), ("kill -9 $$", -1), ("kill -TERM $$", -1),
])
def test_exit_codes(stream, line, code):
    assert script(stream, line).result()["exit_code"] == code


def test_what_cannot_be_run(stream):
    one = stream("/nonexistent")
    assert one.result()["exit_code"] == 127
    assert "nonexistent" in one.text("stderr")
    assert stream("/etc/passwd").result()["exit_code"] == 126


ODD = ["", "two words", "'", "$HOME", "`id`", "*", "a\nb\n", "-n", "zażółć 🐦", "\x01"]


@pytest.mark.parametrize("more", [{}, {"cwd": "/tmp"}, {"envs": {"A": "1"}}])
def test_arguments_as_given(stream, more):
    one = stream("printf", "<%s>", *ODD, **more)
    assert one.result()["exit_code"] == 0
    assert one.text() == "".join(f"<{a}>" for a in ODD)


def test_folder_and_variables(stream):
    one = script(stream, 'pwd; printf %s "$A"', cwd="/tmp", envs={"A": "$(id)"})
    one.result()
    assert one.text() == "/tmp\n$(id)"
    with fails("invalid_params"):
        script(stream, "true", envs={"A=B;id": "1"}).result()


def test_nul_and_what_is_no_utf8(stream):
    one = stream("printf", "a\\0b")
    assert not one.result()["lossy"]
    assert one.text() == "a\0b"
    one = stream("printf", "a\\377b")
    assert one.result()["lossy"]
    assert one.text() == "a\ufffdb"


# ---- data sockets ----

def test_sockets_bring_the_same(stream):
    one = script(stream, "echo out; echo err >&2", sockets=("stdout", "stderr")).read_sockets()
    assert one.result()["exit_code"] == 0
    assert (one.data["stdout"], one.data["stderr"]) == (b"out\n", b"err\n")
    assert one.types() == ["start"] and len(one.events) == 1


def test_one_socket_is_enough(stream):
    one = script(stream, "echo out; echo err >&2", sockets=("stderr",)).read_sockets()
    one.result()
    assert (one.text(), one.data["stderr"]) == ("out\n", b"err\n")


def test_names_of_descriptors(stream):
    for names in (("stdout", "stdout"), ("data",)):
        with fails("invalid_params"):
            script(stream, "true", sockets=names).result()


def test_much_output_is_whole(stream):
    one = stream("seq", "1000000", sockets=("stdout",)).read_sockets()
    done = one.result()
    assert done["exit_code"] == 0 and not done["gap"]
    assert one.data["stdout"] == "".join(f"{i}\n" for i in range(1, 1000001)).encode()


def test_much_output_as_events(stream):
    one = stream("seq", "200000")
    assert one.result()["exit_code"] == 0
    assert one.text() == "".join(f"{i}\n" for i in range(1, 200001))


def test_reader_that_stops(stream, daemon, capsule):
    """It loses nothing, wrennd does not grow, and others go on."""
    before = daemon.rss()
    one = script(stream, "head -c 60000000 /dev/zero | tr '\\0' x", sockets=("stdout",))
    one.until("start")
    for _ in range(20):
        with daemon.client() as other:
            two = Stream(other, capsule, "echo", "hi")
            assert two.result()["exit_code"] == 0 and two.text() == "hi\n"
    if not paths.SANITIZED:
        assert daemon.rss() - before < 16 * 1024 * 1024
    one.read_sockets()
    assert one.result()["exit_code"] == 0
    assert len(one.data["stdout"]) == 60000000


def test_closed_socket_takes_all(stream):
    one = script(stream, "seq 100000; exit 4", sockets=("stdout",))
    one.drop()
    assert one.result()["exit_code"] == 4


def test_reader_of_events_that_stops(daemon, capsule):
    with daemon.client() as slow:
        one = Stream(slow, capsule, "sh", "-c", "seq 300000; echo done >&2")
        with daemon.client() as other:
            two = Stream(other, capsule, "echo", "hi")
            two.result()
        assert one.result()["exit_code"] == 0
        assert one.text() == "".join(f"{i}\n" for i in range(1, 300001))


def test_a_hundred_at_once(daemon, capsule):
    def work(client, index):
        one = Stream(client, capsule, "sh", "-c", f"echo {index}; sleep 0.2; exit {index}")
        return one.result()["exit_code"], one.text()

    before = daemon.descriptors()
    assert good(together(daemon, 100, work)) == [(i, f"{i}\n") for i in range(100)]
    until(lambda: daemon.descriptors() <= before + 2)


def test_nothing_is_left(daemon, capsule):
    def work(client, index):
        one = Stream(client, capsule, "seq", "20000", sockets=("stdout",)).read_sockets()
        return one.result()["exit_code"]

    assert not any(good(together(daemon, 20, work)))
    descriptors, memory = daemon.descriptors(), daemon.rss()
    for _ in range(4):
        assert not any(good(together(daemon, 20, work)))
    until(lambda: daemon.descriptors() <= descriptors)
    if not paths.SANITIZED:
        assert daemon.rss() - memory < 8 * 1024 * 1024


# ---- connections that drop ----

TICKS = "i=0; while [ $i -lt {n} ]; do i=$((i+1)); echo $i; sleep 0.01; done; exit 7"


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("after", [1, 2, 7])
def test_dropped_stream_is_picked_up(stream, cloud, how, after):
    fault(cloud, FIRST, {"after": after, "cut": how})
    one = script(stream, TICKS.format(n=60))
    done = one.result()
    assert (done["exit_code"], done["gap"]) == (7, True)
    assert one.types() == ["start", "reconnecting", "gap"]
    seen = [int(n) for n in one.text().split()]
    assert seen == sorted(set(seen)) and seen[-1] == 60
    assert len(starts(cloud)) == 1


def test_edge_that_dies(stream, cloud):
    fault(cloud, FIRST, {"after": 3, "cut": "edge"})
    one = script(stream, TICKS.format(n=200))
    done = one.result()
    assert (done["exit_code"], done["gap"]) == (7, True)
    assert len(starts(cloud)) == 1


def test_drops_at_random_places(stream, cloud):
    places = random.Random(28)
    for _ in range(5):
        cloud.clear_faults()
        fault(cloud, FIRST, {"after_bytes": places.randrange(60, 1000), "cut": "reset"})
        fault(cloud, AGAIN, {"after_bytes": places.randrange(60, 1000), "cut": "end"})
        one = script(stream, TICKS.format(n=150))
        done = one.result()
        assert done["exit_code"] == 7
        assert done["gap"] == ("gap" in one.types())
        seen = [int(n) for n in one.text().split()]
        assert seen == sorted(set(seen))
    assert len(starts(cloud)) == 5


def test_server_that_says_goodbye(stream, cloud):
    fault(cloud, FIRST, {"after": 2, "close": 1012, "reason": "restart"})
    one = script(stream, TICKS.format(n=40))
    assert one.result()["exit_code"] == 7
    assert one.types() == ["start", "reconnecting", "gap"]


@pytest.mark.parametrize("what", [
    {"bad_utf8": True}, {"huge": 5000000}, {"raw": base64.b64encode(b"\xff\xff").decode()},
])
def test_stream_that_breaks_the_rules(stream, cloud, what):
    fault(cloud, FIRST, {"after": 2, **what})
    one = script(stream, TICKS.format(n=40))
    assert one.result()["exit_code"] == 7
    assert "reconnecting" in one.types()


SEQ = "".join(f"{i}\n" for i in range(1, 2001))


def test_messages_in_pieces(stream, cloud):
    fault(cloud, FIRST, {"fragment": 1})
    one = stream("seq", "2000")
    assert one.result()["exit_code"] == 0
    assert one.text() == SEQ
    assert one.types() == ["start"]


def test_messages_among_pings(stream, client, cloud):
    """It is cancelled: an exit that is followed by PONGs may be lost on the way."""
    fault(cloud, FIRST, {"fragment": 1, "pings": 50})
    one = script(stream, "seq 2000; sleep 60")
    while one.text() != SEQ:
        one.step()
    assert one.types() == ["start"]
    client.notify("call.cancel", {"call": one.number})
    with fails("cancelled"):
        one.result()


def test_dead_server_is_noticed(make_daemon, cloud):
    daemon = make_daemon(profile="ping_after = 200ms\nping_timeout = 200ms\n").start()
    with daemon.client() as client:
        made = client.call("capsule.create")["id"]
        fault(cloud, FIRST, {"after": 2, "silent": True})
        one = Stream(client, made, "sh", "-c", "echo a; sleep 2; echo b; exit 7")
        assert one.result()["exit_code"] == 7
        assert one.types() == ["start", "reconnecting", "gap"]
        assert one.text() == "a\nb\n"
        client.call("capsule.destroy", {"capsule": made})


def test_it_ends_while_the_connection_is_down(stream, cloud):
    fault(cloud, FIRST, {"after": 1, "cut": "reset"})
    fault(cloud, AGAIN, action={"delay": 1})
    with fails("truncated"):
        script(stream, "sleep 0.2; exit 0").result()


def test_lost_start_is_not_repeated(stream, cloud, client, capsule):
    fault(cloud, FIRST, {"cut": "reset"})
    with fails("outcome_unknown"):
        script(stream, "echo x >> count").result()
    assert len(starts(cloud)) <= 1


def test_server_that_is_back_soon(stream, cloud):
    fault(cloud, FIRST, action={"drop_edge": "before"})
    assert script(stream, "exit 5").result()["exit_code"] == 5
    assert len(starts(cloud)) == 1


@pytest.mark.parametrize("action, name", [
    ({"status": 404, "code": "not_found"}, "not_found"),
    ({"status": 401, "code": "unauthorized"}, "unauthorized"),
    ({"status": 302}, "bad_answer"),
])
def test_refusals(stream, cloud, action, name):
    fault(cloud, FIRST, action=action)
    with fails(name):
        stream("true").result()


# ---- callers that go ----

def test_client_that_goes_ends_it(daemon, cloud, capsule):
    with daemon.client() as client:
        one = Stream(client, capsule, "sleep", "4711")
        one.until("start")
        assert running(cloud, capsule, "4711") == 1
    until(lambda: running(cloud, capsule, "4711") == 0)
    until(lambda: daemon.call("daemon.status")["calls"]["in_flight"] <= 1)


def test_client_that_goes_before_the_start_event(daemon, cloud, capsule):
    fault(cloud, FIRST, {"delay": 0.5})
    with daemon.client() as client:
        Stream(client, capsule, "sleep", "4712")
        until(lambda: running(cloud, capsule, "4712"))
    until(lambda: running(cloud, capsule, "4712") == 0)


def test_client_that_goes_while_it_is_opened(daemon, cloud, capsule):
    fault(cloud, FIRST, action={"delay": 0.5})
    with daemon.client() as client:
        Stream(client, capsule, "sleep", "4713")
        until(lambda: daemon.call("daemon.status")["calls"]["in_flight"] > 1)
    until(lambda: daemon.call("daemon.status")["calls"]["in_flight"] <= 1)
    assert not starts(cloud) and running(cloud, capsule, "4713") == 0


def test_client_that_goes_while_the_stream_is_down(daemon, cloud, capsule):
    fault(cloud, FIRST, {"after": 1, "cut": "reset"})
    fault(cloud, AGAIN, action={"status": 503, "code": "host_unavailable"}, count=-1)
    with daemon.client() as client:
        one = Stream(client, capsule, "sleep", "4714")
        one.until("reconnecting")
        assert running(cloud, capsule, "4714") == 1
    until(lambda: running(cloud, capsule, "4714") == 0)


def test_client_that_goes_with_output_held(daemon, cloud, capsule):
    with daemon.client() as client:
        one = Stream(client, capsule, "sh", "-c", "yes | head -c 30000000; exec sleep 4715",
                     sockets=("stdout",))
        one.until("start")
        until(lambda: running(cloud, capsule, "4715"))
    until(lambda: running(cloud, capsule, "4715") == 0)
    one.drop()


def test_cancel_ends_it(stream, client, daemon, cloud, capsule):
    one = stream("sleep", "4716")
    one.until("start")
    with fails("cancelled"):
        client.notify("call.cancel", {"call": one.number})
        one.result()
    until(lambda: running(cloud, capsule, "4716") == 0)


def test_time_is_over(stream, cloud, capsule):
    one = script(stream, "echo before; exec sleep 4717", timeout_sec=1)
    with fails("timeout"):
        one.result()
    assert one.text() == "before\n"
    until(lambda: running(cloud, capsule, "4717") == 0)
    assert script(stream, "exit 3", timeout_sec=60).result()["exit_code"] == 3


def test_wrennd_that_stops_ends_it(make_daemon, cloud):
    daemon = make_daemon(settings="drain_timeout = 200ms\n").start()
    with daemon.client() as client:
        made = client.call("capsule.create")["id"]
        one = Stream(client, made, "sleep", "4718")
        one.until("start")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(timeout=30) == 0
    assert running(cloud, made, "4718") == 0
    assert cloud.requests(method="DELETE", status=204)


# ---- the capsule ----

def test_it_is_resumed_first(stream, cloud, capsule):
    cloud.set_capsule(capsule, status="paused")
    one = script(stream, "exit 6")
    done = one.result()
    assert (done["exit_code"], done["resumed"]) == (6, True)
    cloud.set_capsule(capsule, status="paused")
    with fails("capsule_paused"):
        stream("true", auto_resume=False).result()


def test_capsule_destroyed_under_it(daemon, cloud, client):
    made = client.call("capsule.create")["id"]
    one = Stream(client, made, "sleep", "60")
    one.until("start")
    daemon.call("capsule.destroy", {"capsule": made})
    with pytest.raises(Exception) as info:
        one.result()
    assert info.value.name in ("not_found", "conflict", "truncated", "capsule_gone"), info.value


def test_it_keeps_its_capsule_awake(make_daemon, cloud):
    daemon = make_daemon().start()
    with daemon.client() as client:
        made = client.call("capsule.create", {"timeout_sec": 3})["id"]
        one = Stream(client, made, "sh", "-c", "sleep 6; exit 9")
        assert one.result()["exit_code"] == 9
        assert cloud.requests(method="POST", path=f"/v1/capsules/{made}/ping")
        client.call("capsule.destroy", {"capsule": made})


def test_unknown_capsule(client):
    with fails("not_found"):
        Stream(client, "nosuch", "true").result()


# ---- how it is asked ----

def test_no_batch_and_no_notification(client, capsule, cloud):
    params = {"capsule": capsule, "cmd": "true"}
    client.send_bytes(
        b'[{"jsonrpc":"2.0","id":1,"method":"exec.stream","params":{"capsule":"%s","cmd":"true"}}]\n'
        % capsule.encode())
    (answer,) = client.read()
    assert answer["error"]["data"]["name"] == "invalid_request"
    client.notify("exec.stream", params)
    client.call("daemon.hello")
    assert not starts(cloud)
