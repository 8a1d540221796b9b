"""What is told of itself: events, metrics, status."""
import json
import re
import signal
import time

import pytest
from prometheus_client.openmetrics import parser

from testenv import paths
from testenv.client import RpcError, until
from testenv.ctl import Ctl
from testenv.expect import fails
from testenv.watcher import Watcher

KEPT = 1024
UNREAD = 20000  # far more than are kept and the sockets hold
CREATE = {"method": "POST", "path": "^/v1/capsules$"}


@pytest.fixture
def watch(daemon):
    """watch(**params): a watcher that goes with the test."""
    made = []

    def start(**params):
        made.append(Watcher(daemon, **params))
        return made[-1]

    yield start
    for watcher in made:
        watcher.client.close()


def kept(daemon, **params):
    """The events that are kept, as daemon.events tells them; and `last`."""
    with Watcher(daemon, follow=False, **{"since": 0, **params}) as watcher:
        events, answer = watcher.rest()
    return events, answer["result"]["last"]


def make_calls(client, count, name="absent"):
    """So many calls that fail at once, each of which is an event."""
    for _ in range(0, count, 200):
        sent = [client.send("capsule.ping", {"capsule": name})
                for _ in range(min(200, count))]
        count -= len(sent)
        for number in sent:
            with pytest.raises(RpcError):
                client.wait(number)


# ---- what is an event ----

def test_a_capsules_life(daemon, client, watch):
    watcher = watch()
    before = time.time()
    made = client.call("capsule.create", {"name": "web"})["id"]
    live = watcher.find("capsule.live")
    assert live == {**live, "capsule": made, "name": "web"}
    assert before - 1 <= live["time"] / 1000 <= time.time() + 1
    client.call("capsule.pause", {"capsule": "web"})
    assert watcher.find("capsule.paused")["capsule"] == made
    client.call("capsule.resume", {"capsule": "web"})
    assert watcher.find("capsule.resumed")["capsule"] == made
    client.call("capsule.destroy", {"capsule": "web"})
    assert watcher.find("capsule.ending")["capsule"] == made
    assert watcher.find("capsule.gone")["capsule"] == made
    numbers = [event["seq"] for event in kept(daemon)[0]]
    assert numbers == list(range(1, len(numbers) + 1))


def test_resumed_for_a_call(cloud, client, capsule, watch):
    watcher = watch(types=["capsule."])
    cloud.set_capsule(capsule, status="paused")
    client.call("exec.run", {"capsule": capsule, "cmd": "true"})
    assert watcher.event() == {
        "seq": 2 + 1, "time": pytest.approx(time.time() * 1000, abs=60000),
        "type": "capsule.resumed", "capsule": capsule}


def test_uncertain(cloud, client, watch):
    watcher = watch(types=["capsule."])
    cloud.fault({"lose_answer": True}, match=CREATE)
    with fails("outcome_unknown"):
        client.call("capsule.create", {"name": "lost"})
    event = watcher.event()
    assert (event["type"], event["name"]) == ("capsule.uncertain", "lost")
    # The ID of its record stands for its own, which is not known.
    assert event["capsule"] == client.call("capsule.list")["capsules"][0]["id"]


def test_calls(daemon, client, capsule, watch):
    """Each call that changes something; its request is the error's, the log's."""
    watcher = watch(types=["call"])
    client.call("capsule.list")
    client.call("capsule.ping", {"capsule": capsule})
    done = watcher.event()
    assert done["method"] == "capsule.ping" and done["capsule"] == capsule
    assert "error" not in done and done["ms"] >= 0
    with fails("not_found") as error:
        client.call("capsule.ping", {"capsule": "absent"})
    failed = watcher.event()
    assert failed["error"] == "not_found"
    assert failed["request"] == error.value.data["request"] != done["request"]
    for event in (done, failed):
        assert re.search(
            rf"call method=capsule.ping request={event['request']} "
            rf"pid={event['pid']} ", daemon.log_text())


def test_an_outage_is_one_event(cloud, daemon, client, watch):
    client.call("capsule.list")
    watcher = watch(types=["upstream."])
    cloud.admin("POST", "/outage", {"seconds": 600})
    try:
        for _ in range(3):
            with fails("unreachable"):
                client.call("capsule.list")
    finally:
        cloud.admin("DELETE", "/outage")
    def answers():
        try:
            return client.call("capsule.list")
        except RpcError:
            return None

    until(answers)
    client.call("capsule.list")
    down = watcher.event()
    assert down["type"] == "upstream.down" and down["why"]
    assert watcher.event()["type"] == "upstream.up"
    events = kept(daemon, types=["upstream."])[0]
    assert [e["type"] for e in events] == ["upstream.down", "upstream.up"]


def test_the_credential(cloud, daemon, client, watch):
    watcher = watch(types=["credential.changed"])
    client.call("auth.set", {"api_key": cloud.key, "persist": False})
    event = watcher.event()
    assert set(event) == {"seq", "time", "type"}


# ---- asking for them ----

def test_since(daemon, client):
    client.call("capsule.create", {"name": "a"})
    everything, last = kept(daemon)
    assert last == everything[-1]["seq"] >= 2
    middle = everything[0]["seq"]
    assert kept(daemon, since=middle) == (everything[1:], last)
    assert kept(daemon, since=last) == ([], last)
    # Of a run before this one, which counted further: all of them.
    assert kept(daemon, since=last + 1000) == (everything, last)
    with Watcher(daemon, follow=False) as watcher:
        assert watcher.rest()[0] == []
    # One that goes on gets the old ones first.
    with Watcher(daemon, since=0) as watcher:
        assert [watcher.event() for _ in everything] == everything
        client.call("capsule.ping", {"capsule": "a"})
        assert watcher.event()["method"] == "capsule.ping"


def test_a_fresh_daemon_has_nothing_to_tell(daemon):
    assert kept(daemon) == ([], 0)


def test_the_oldest_are_forgotten(daemon, client):
    make_calls(client, KEPT + 100)
    with Watcher(daemon, since=0, follow=False) as watcher:
        assert watcher.message() == {
            "call": watcher.number, "type": "gap", "missed": 100}
        events, answer = watcher.rest()
    assert [e["seq"] for e in events] == list(range(101, KEPT + 101))
    assert answer["result"]["last"] == KEPT + 100


def test_filters(daemon, client):
    one = client.call("capsule.create", {"name": "one"})["id"]
    client.call("capsule.create", {"name": "other"})
    client.call("capsule.ping", {"capsule": one})
    client.call("capsule.ping", {"capsule": "other"})

    def types(**params):
        return [e["type"] for e in kept(daemon, **params)[0]]

    assert types(types=["capsule.live"]) == ["capsule.live"] * 2
    assert types(types=["capsule."]) == ["capsule.live"] * 2
    assert types(types=["capsule"]) == []
    assert types(types=["call", "upstream."]) == ["call"] * 4
    assert types(types=[]) == []
    assert sorted(types(capsule=one)) == ["call", "capsule.live"]
    assert types(capsule="one", types=["capsule."]) == ["capsule.live"]
    assert types(capsule="none") == []
    client.call("capsule.destroy", {"capsule": one})
    assert types(capsule=one, types=["capsule."]) == [
        "capsule.live", "capsule.ending", "capsule.gone"]


def test_several_watchers_see_the_same(client, watch):
    watchers = [watch() for _ in range(5)]
    make_calls(client, 20)
    seen = [[watcher.event() for _ in range(20)] for watcher in watchers]
    assert all(events == seen[0] for events in seen)


def test_ends(daemon, client, watch):
    calls = client.call("daemon.status")["calls"]["in_flight"]
    watcher = watch()
    cancel = watcher.client.send("call.cancel", {"call": watcher.number})
    with fails("cancelled"):
        watcher.client.wait(watcher.number)
    assert watcher.client.wait(cancel) == {"cancelled": True}
    watch().client.close()
    until(lambda: client.call("daemon.status")["calls"]["in_flight"] == calls)
    # Whoever follows does not hold up the end.
    with Watcher(daemon) as watcher:
        daemon.process.send_signal(signal.SIGTERM)
        assert watcher.find("daemon.stopping")
        assert daemon.process.wait(timeout=30) == 0


def test_refused_where_it_cannot_stream(client):
    request = {"jsonrpc": "2.0", "method": "daemon.events", "params": {}}
    client.send_bytes(json.dumps([{**request, "id": 7}, request]).encode() + b"\n")
    [answer] = client.read()
    assert answer["id"] == 7
    assert answer["error"]["data"]["name"] == "invalid_request"
    client.notify("daemon.events", {})
    assert client.call("daemon.status")["calls"]["in_flight"] == 1


def test_a_watcher_that_does_not_read(daemon, client, watch):
    """It costs little, and is told once how much it missed."""
    make_calls(client, KEPT, "x" * 64)  # what is kept costs the same from here on
    watcher = watch(types=["call"])
    small = daemon.rss()
    make_calls(client, UNREAD, "x" * 64)
    if not paths.SANITIZED:
        assert daemon.rss() < small + UNREAD * 200 // 2  # bytes of their lines, at least
    seen, missed, gaps = [], 0, 0
    while missed + len(seen) < UNREAD:
        message = watcher.message()
        if message["type"] == "gap":
            gaps += 1
            missed += message["missed"]
        else:
            # In order, and nothing is passed over in silence.
            seen.append(message["event"]["seq"])
            assert seen[-1] == KEPT + len(seen) + missed
    assert gaps == 1 and missed > 0 and len(seen) >= KEPT
    make_calls(client, 1)
    assert watcher.event()["seq"] == KEPT + UNREAD + 1


def test_wrennctl_events(daemon, client):
    ctl = Ctl(daemon)
    made = client.call("capsule.create", {"name": "web"})["id"]
    lines = ctl.ok("-o", "json", "events", "--since", "0", "--no-follow").splitlines()
    assert [json.loads(line) for line in lines] == kept(daemon)[0]
    line = ctl.ok("events", "--since", "0", "--no-follow", "--type", "capsule.")
    assert re.fullmatch(
        rf"\d+  \S+ \S+  capsule\.live  capsule={made} name=web\n", line)
    assert ctl.ok("events", "--since", "0", "--no-follow", "--capsule", "nobody") == ""
    assert ctl.run("events", "--since", "x").returncode == 2
    # Followed, each line comes when it happens; Ctrl-C ends it without words.
    process = ctl.popen("-o", "json", "events", "--type", "call")
    # Its call and the question itself are under way.
    until(lambda: client.call("daemon.status")["calls"]["in_flight"] == 2)
    client.call("capsule.ping", {"capsule": "web"})
    assert json.loads(process.stdout.readline())["method"] == "capsule.ping"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"")


# ---- metrics ----

def figures(daemon):
    """{name or (name, label values): value} of a strictly read exposition."""
    answer = daemon.call("daemon.metrics")
    assert answer["content_type"] == (
        "application/openmetrics-text; version=1.0.0; charset=utf-8")
    return {
        (sample.name, *sample.labels.values()) if sample.labels else sample.name:
        sample.value
        for family in parser.text_string_to_metric_families(answer["text"])
        for sample in family.samples}


def test_metrics(cloud, daemon, client):
    before = figures(daemon)
    version = client.call("daemon.status")["version"]
    assert before["wrennd_build_info", version] == 1
    assert before["wrennd_capsules", "live"] == 0
    assert before["wrennd_upstream_requests_total"] == 0
    for _ in range(3):
        client.call("capsule.create")
    cloud.fault({"lose_answer": True}, match=CREATE)
    with fails("outcome_unknown"):
        client.call("capsule.create")
    with daemon.client():
        after = figures(daemon)
    assert after["wrennd_capsules", "live"] == 3
    assert after["wrennd_capsules", "uncertain"] == 1
    assert after["wrennd_upstream_requests_total"] >= 4
    # daemon.status, four creates and daemon.metrics.
    assert after["wrennd_calls_total"] - before["wrennd_calls_total"] == 6
    assert after["wrennd_calls_in_flight"] == 1
    assert after["wrennd_clients"] == 3
    assert after["wrennd_events_total"] == 3 * 2 + 2
    assert after["wrennd_upstream_up"] == 1
    assert after["wrennd_upstream_connections_total"] >= 1
    assert 0 < after["wrennd_upstream_latency_seconds"] < 60
    assert after["wrennd_store_healthy"] == 1
    assert after["wrennd_uptime_seconds"] > before["wrennd_uptime_seconds"]
    assert after["wrennd_resident_bytes"] == pytest.approx(daemon.rss(), rel=0.5)
    with daemon.client() as more:
        # Two clients more at most are connected while it counts.
        assert abs(figures(daemon)["wrennd_open_descriptors"] - daemon.descriptors()) <= 2
        more.call("daemon.hello")


def test_metrics_of_an_outage(cloud, daemon):
    daemon.call("capsule.list")
    assert figures(daemon)["wrennd_upstream_up"] == 1
    cloud.admin("POST", "/outage", {"seconds": 600})
    try:
        with fails("unreachable"):
            daemon.call("capsule.list")
        after = figures(daemon)
    finally:
        cloud.admin("DELETE", "/outage")
    assert after["wrennd_upstream_up"] == 0
    assert after["wrennd_upstream_errors_total"] >= 1


def test_wrennctl_metrics(daemon, ctl):
    text = ctl.ok("metrics")
    assert text.endswith("\n# EOF\n")
    assert list(parser.text_string_to_metric_families(text))
    assert ctl.json("metrics")["text"].endswith("# EOF\n")


# ---- status, for people ----

def test_status_in_a_narrow_terminal(cloud, daemon):
    """Down, and said so; no line is broken or cut by its width."""
    ctl = Ctl(daemon)
    daemon.call("capsule.create")
    up = ctl.ok("status", env={"COLUMNS": "40"})
    assert re.search(r"^reachable: +up$", up, re.M)
    assert re.search(r"^capsules: +creating 0, live 1, ", up, re.M)
    cloud.admin("POST", "/outage", {"seconds": 600})
    try:
        assert ctl.run("ls").returncode == 7
        done = ctl.run("status", env={"COLUMNS": "40"})
    finally:
        cloud.admin("DELETE", "/outage")
    assert done.returncode == 0 and done.stderr == b""
    text = done.stdout.decode()
    assert re.search(r"^reachable: +down$", text, re.M)
    assert re.search(r"^last error: +\S", text, re.M)
    assert all(re.match(r"[a-zA-Z ]+: +\S", line) for line in text.splitlines())
