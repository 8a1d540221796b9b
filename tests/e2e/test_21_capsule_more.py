"""Capsules: names, labels, keys, untracked ones, waiting, sleep and waking."""
import pytest

from testenv.client import until
from testenv.expect import fails, good, together
from testenv.transfer import download, upload

CREATE = {"method": "POST", "path": "/v1/capsules"}


def create(client, **params):
    return client.call("capsule.create", params)["id"]


def ids(client, **params):
    return [c["id"] for c in client.call("capsule.list", params)["capsules"]]


def creates(cloud):
    return len(cloud.requests(**CREATE))


# ---- names, labels, prefixes ----

@pytest.mark.parametrize("name", [
    "-x", ".x", "_x", "a b", "a/b", "a\n", "café", "cl-x", "rec-x", "", "x" * 65,
])
def test_invalid_name(cloud, client, name):
    with fails("invalid_params") as error:
        create(client, name=name)
    assert error.value.data["param"] == "name"
    assert creates(cloud) == 0


def test_longest_name(client):
    name = "x" * 64
    made = create(client, name=name)
    assert client.call("capsule.get", {"capsule": name})["id"] == made


def test_name_conflict_and_reuse(cloud, client):
    first = create(client, name="web")
    with fails("conflict"):
        create(client, name="web")
    assert creates(cloud) == 1
    client.call("capsule.destroy", {"capsule": "web"})
    second = create(client, name="web")
    assert second != first
    assert client.call("capsule.get", {"capsule": "web"})["id"] == second


def test_name_is_taken_while_created(make_cloud, make_daemon):
    cloud = make_cloud("--create-delay", "1")
    with make_daemon(cloud).start().client() as client:
        number = client.send("capsule.create", {"name": "web"})
        with fails("conflict"):
            create(client, name="web")
        assert client.wait(number)["name"] == "web"
    assert creates(cloud) == 1


def test_name_is_free_after_failed_create(cloud, client):
    cloud.fault({"status": 503, "code": "no_hosts_available",
                 "message": "no host"}, match=CREATE)
    with fails("host_unavailable"):
        create(client, name="web")
    create(client, name="web")
    assert len(ids(client)) == 1


def test_labels(client):
    a = create(client, labels={"app": "web", "tier": "1"})
    b = create(client, labels={"app": "web", "tier": "2"})
    create(client)
    assert set(ids(client, labels={"app": "web"})) == {a, b}
    assert ids(client, labels={"app": "web", "tier": "2"}) == [b]
    assert ids(client, labels={"app": "db"}) == []
    assert client.call("capsule.get", {"capsule": b})["labels"] == {
        "app": "web", "tier": "2"}


@pytest.mark.parametrize("labels", [
    {f"l{i}": "" for i in range(33)}, {"": "x"}, {"k" * 65: "x"},
    {"k": "v" * 257}, {"k": 1},
])
def test_invalid_labels(cloud, client, labels):
    with fails("invalid_params") as error:
        create(client, labels=labels)
    assert error.value.data["param"] == "labels"
    assert creates(cloud) == 0


def test_names_and_labels_survive(daemon):
    with daemon.client() as client:
        made = create(client, name="kept", labels={"k": "v"})
    daemon.kill()
    daemon.start()
    shown = daemon.call("capsule.get", {"capsule": "kept"})
    assert (shown["id"], shown["labels"]) == (made, {"k": "v"})


def test_ambiguous_prefix(client):
    """37 IDs over 36 first characters: two share theirs."""
    by_prefix = {}
    for _ in range(37):
        made = create(client)
        by_prefix.setdefault(made[:4], []).append(made)
    prefix, pair = next((p, i) for p, i in by_prefix.items() if len(i) > 1)
    with fails("ambiguous") as error:
        client.call("capsule.get", {"capsule": prefix})
    assert str(len(pair)) in error.value.message
    longer = next(n for n in range(5, 29)
                  if sum(i.startswith(pair[0][:n]) for i in pair) == 1)
    assert client.call("capsule.get", {"capsule": pair[0][:longer]})["id"] == pair[0]
    for made in pair[1:]:
        client.call("capsule.destroy", {"capsule": made})
    assert client.call("capsule.get", {"capsule": prefix})["id"] == pair[0]


@pytest.mark.parametrize("prefix", ["cl-", "cl", "c"])
def test_short_prefix(client, prefix):
    create(client)
    with fails("not_found"):
        client.call("capsule.get", {"capsule": prefix})


# ---- leases ----

@pytest.mark.parametrize("lease", [
    {"type": "connection"}, {"type": "process", "pid": 1},
    {"type": "ttl", "seconds": 60},
])
def test_lease_of_another_type(cloud, client, lease):
    with fails("unsupported") as error:
        create(client, lease=lease)
    assert lease["type"] in error.value.message
    assert creates(cloud) == 0


@pytest.mark.parametrize("lease", [{}, {"type": "forever"}, {"type": 1}])
def test_invalid_lease(cloud, client, lease):
    with fails("invalid_params") as error:
        create(client, lease=lease)
    assert error.value.data["param"] == "lease"
    assert creates(cloud) == 0


# ---- what is sent ----

def test_size_and_timeout_are_passed(cloud, client):
    made = create(client, vcpus=3, memory_mb=2048, timeout_sec=77)
    there = cloud.capsule(made)
    assert (there["vcpus"], there["memory_mb"], there["timeout_sec"]) == (
        3, 2048, 77)


def test_default_timeout_holds_a_nonce(cloud, client):
    made = [create(client) for _ in range(8)]
    times = [cloud.capsule(i)["timeout_sec"] for i in made]
    assert all(300 <= t < 1324 for t in times)
    assert len(set(times)) > 1


def test_zero_timeout_only_when_asked_for(cloud, client):
    assert cloud.capsule(create(client, timeout_sec=0))["timeout_sec"] == 0


# ---- idempotency keys ----

def test_key_sequential(cloud, client):
    first = create(client, key="k1", name="one")
    assert create(client, key="k1", name="one") == first
    assert creates(cloud) == 1


def test_key_concurrent(make_cloud, make_daemon):
    cloud = make_cloud("--create-delay", "0.5")
    daemon = make_daemon(cloud).start()
    made = good(together(daemon, 10, lambda c, _: create(c, key="same")))
    assert len(set(made)) == 1
    assert creates(cloud) == 1


def test_key_with_other_parameters(cloud, client):
    create(client, key="k1", vcpus=1)
    with fails("conflict"):
        create(client, key="k1", vcpus=2)
    assert creates(cloud) == 1


def test_key_after_destroy(cloud, daemon):
    with daemon.client() as client:
        first = create(client, key="k1")
        client.call("capsule.destroy", {"capsule": first})
        again = client.call("capsule.create", {"key": "k1"})
        assert (again["id"], again["record"]) == (first, "gone")
    daemon.kill()
    daemon.start()
    again = daemon.call("capsule.create", {"key": "k1"})
    assert (again["id"], again["record"]) == (first, "gone")
    assert creates(cloud) == 1


def test_key_of_failed_create_is_free(cloud, client):
    cloud.fault({"status": 400}, match=CREATE)
    with fails("validation"):
        create(client, key="k1")
    create(client, key="k1")
    assert len(cloud.requests(**CREATE, status=201)) == 1


# ---- creating ----

def test_while_it_is_created(make_cloud, make_daemon):
    cloud = make_cloud("--create-delay", "1")
    with make_daemon(cloud).start().client() as client:
        number = client.send("capsule.create", {"name": "slow"})
        row = client.call("capsule.get", {"capsule": "slow"})
        assert row["record"] == row["status"] == "creating"
        with fails("conflict"):
            client.call("exec.run", {"capsule": "slow", "cmd": "true"})
        made = client.wait(number)
        assert made["status"] == "running" and made["id"].startswith("cl-")


@pytest.mark.parametrize("wait", [True, False])
def test_wait(make_cloud, make_daemon, wait):
    """The server answers the create while the capsule is still starting."""
    cloud = make_cloud("--create-delay", "1")
    with make_daemon(cloud).start().client() as client:
        number = client.send("capsule.create", {"wait": wait})
        pending = until(cloud.alive).pop()
        cloud.set_capsule(pending, status="starting")
        if wait:
            until(lambda: cloud.requests(
                method="GET", path=f"/v1/capsules/{pending}"))
            cloud.set_capsule(pending, status="running")
            assert client.wait(number)["status"] == "running"
        else:
            assert client.wait(number)["status"] == "starting"


def test_client_leaves_during_create(make_cloud, make_daemon):
    """Nobody hangs up on a create: it completes and is recorded."""
    cloud = make_cloud("--create-delay", "0.5")
    daemon = make_daemon(cloud).start()
    with daemon.client() as client:
        client.send("capsule.create", {"name": "left"})
        until(lambda: creates(cloud))
    shown = until(lambda: next(
        (c for c in daemon.call("capsule.list")["capsules"]
         if c["status"] == "running"), None))
    assert (shown["name"], shown["record"]) == ("left", "live")
    assert shown["id"] in cloud.alive()


# ---- capsules of others ----

def test_untracked(cloud, client):
    stranger = cloud.admin("POST", "/capsules", {})["id"]
    own = create(client)
    assert ids(client) == [own]
    assert {stranger, own} <= set(ids(client, untracked=True))
    assert stranger not in ids(client, untracked=True, labels={"a": "b"})
    with fails("not_found"):
        client.call("capsule.get", {"capsule": stranger[:12]})
    shown = client.call("capsule.get", {"capsule": stranger})
    assert (shown["id"], shown["tracked"]) == (stranger, False)
    done = client.call("exec.run", {"capsule": stranger, "cmd": "echo", "args": ["x"]})
    assert done["stdout"] == "x\n"
    client.call("capsule.destroy", {"capsule": stranger})
    assert stranger not in cloud.alive()


@pytest.mark.parametrize("method, more", [
    ("capsule.get", {}), ("capsule.destroy", {}), ("capsule.ping", {}),
    ("capsule.pause", {}), ("capsule.resume", {}), ("capsule.wait", {}),
    ("exec.run", {"cmd": "true"}), ("file.list", {"path": "/"}),
    ("file.read", {"path": "/etc/passwd"}),
])
def test_capsule_of_another_team(cloud, client, method, more):
    team = cloud.admin("POST", "/keys", {
        "key": "wrn_" + "7" * 32, "new_team": True})["team"]
    theirs = cloud.admin("POST", "/capsules", {"team": team})["id"]
    with fails("not_found"):
        client.call(method, {"capsule": theirs, **more})
    assert theirs not in ids(client, untracked=True)
    assert cloud.capsule(theirs)["status"] == "running"


def test_stopped_elsewhere(cloud, client):
    made = create(client, name="web")
    cloud.set_capsule(made, status="stopped")
    assert client.call("capsule.get", {"capsule": "web"})["status"] == "stopped"
    assert ids(client) == []
    create(client, name="web")


# ---- waiting ----

def test_wait_for_what_is_already(client, capsule):
    shown = client.call("capsule.wait", {"capsule": capsule})
    assert (shown["id"], shown["status"]) == (capsule, "running")


def test_wait_for_paused(cloud, client, capsule):
    number = client.send("capsule.wait", {"capsule": capsule, "status": "paused"})
    until(lambda: cloud.requests(method="GET", path=f"/v1/capsules/{capsule}"))
    client.call("capsule.pause", {"capsule": capsule})
    assert client.wait(number)["status"] == "paused"
    client.call("capsule.resume", {"capsule": capsule})


def test_wait_times_out(client, capsule):
    with fails("timeout") as error:
        client.call("capsule.wait", {
            "capsule": capsule, "status": "paused", "timeout_sec": 1})
    assert "it is running" in error.value.message


def test_waiters_share_one_poll(cloud, client, capsule):
    """Were each to poll by itself, requests would follow upon each other."""
    def polls():
        return cloud.requests(method="GET", path=f"/v1/capsules/{capsule}")

    numbers = []
    for looks in range(4):
        numbers += [client.send("capsule.wait", {
            "capsule": capsule, "status": "paused"}) for _ in range(5)]
        until(lambda: len(polls()) > looks)
    cloud.set_capsule(capsule, status="paused")
    for number in numbers:
        assert client.wait(number)["status"] == "paused"
    times = [e["time"] for e in polls()]
    assert all(b - a > 0.08 for a, b in zip(times, times[1:])), times
    cloud.set_capsule(capsule, status="running")


@pytest.mark.parametrize("status", ["stopped", "error"])
def test_wait_for_what_will_not_be(cloud, client, status):
    made = create(client)
    number = client.send("capsule.wait", {"capsule": made, "status": "paused"})
    until(lambda: cloud.requests(method="GET", path=f"/v1/capsules/{made}"))
    cloud.set_capsule(made, status=status)
    with fails("conflict") as error:
        client.wait(number)
    assert status in error.value.message


# ---- by hand ----

def test_pause_and_resume(cloud, client, capsule):
    assert client.call("capsule.pause", {"capsule": capsule})["status"] == "paused"
    assert cloud.capsule(capsule)["status"] == "paused"
    with fails("conflict") as error:
        client.call("capsule.pause", {"capsule": capsule})
    assert error.value.data["http_status"] == 409
    assert client.call("capsule.resume", {"capsule": capsule})["status"] == "running"
    with fails("conflict"):
        client.call("capsule.resume", {"capsule": capsule})


def test_ping(cloud, client, capsule):
    assert client.call("capsule.ping", {"capsule": capsule}) == {}
    assert cloud.capsule(capsule)["pings"] == 1
    client.call("capsule.pause", {"capsule": capsule})
    with fails("conflict"):
        client.call("capsule.ping", {"capsule": capsule})


def test_paused_by_hand_stays_so(cloud, daemon):
    with daemon.client() as client:
        made = create(client)
        client.call("capsule.pause", {"capsule": made})
    daemon.kill()
    daemon.start()
    with daemon.client() as client:
        for params in ({}, {"auto_resume": True}):
            with fails("capsule_paused") as error:
                client.call("exec.run", {"capsule": made, "cmd": "true", **params})
            assert "wrennctl resume" in error.value.message
        assert not cloud.requests(path=f"/v1/capsules/{made}/resume")
        client.call("capsule.resume", {"capsule": made})
        client.call("exec.run", {"capsule": made, "cmd": "true"})


# ---- sleep and waking ----

@pytest.fixture
def sleepy_cloud(make_cloud):
    """A stand-in that looks for inactivity ten times a second."""
    return make_cloud("--pause-check", "0.1")


def lull(cloud, capsule):
    """Lets the server pause it for inactivity."""
    cloud.set_capsule(capsule, idle_for=3600)
    until(lambda: cloud.capsule(capsule)["status"] == "paused")


def resumes(cloud, capsule):
    return len(cloud.requests(
        method="POST", path=f"/v1/capsules/{capsule}/resume"))


def test_exec_wakes_once_for_all(sleepy_cloud, make_daemon):
    daemon = make_daemon(sleepy_cloud).start()
    made = daemon.call("capsule.create", {"timeout_sec": 60})["id"]
    lull(sleepy_cloud, made)
    answers = good(together(daemon, 10, lambda c, i: c.call("exec.run", {
        "capsule": made, "cmd": "echo", "args": [str(i)]})))
    assert [a["stdout"] for a in answers] == [f"{i}\n" for i in range(10)]
    assert any(a.get("resumed") is True for a in answers)
    assert resumes(sleepy_cloud, made) == 1
    runs = sleepy_cloud.requests(path=f"/v1/capsules/{made}/exec", status=200)
    assert len(runs) == 10
    awake = daemon.call("exec.run", {"capsule": made, "cmd": "true"})
    assert "resumed" not in awake


FILE_CALLS = {
    "read": lambda c, i: c.call("file.read", {"capsule": i, "path": "/root/f"}),
    "write": lambda c, i: c.call(
        "file.write", {"capsule": i, "path": "/root/g", "text": "x"}),
    "list": lambda c, i: c.call("file.list", {"capsule": i, "path": "/root"}),
    "stat": lambda c, i: c.call("file.stat", {"capsule": i, "path": "/root/f"}),
    "mkdir": lambda c, i: c.call("file.mkdir", {"capsule": i, "path": "/root/d"}),
    "remove": lambda c, i: c.call("file.remove", {"capsule": i, "path": "/root/g"}),
    "download": lambda c, i: download(c, i, "/root/f"),
    "upload": lambda c, i: upload(c, i, "/root/u", b"bytes" * 1000),
}


def test_file_calls_wake(sleepy_cloud, make_daemon):
    with make_daemon(sleepy_cloud).start().client() as client:
        made = create(client, timeout_sec=60)
        client.call("file.write", {"capsule": made, "path": "/root/f", "text": "hi"})
        answers = {}
        for count, (name, call) in enumerate(FILE_CALLS.items(), 1):
            lull(sleepy_cloud, made)
            answers[name] = call(client, made)
            assert resumes(sleepy_cloud, made) == count, name
        assert answers["read"]["text"] == "hi"
        assert answers["download"] == (b"hi", {"size": 2})
        assert answers["upload"] == {"size": 5000}
        read = client.call("file.read", {"capsule": made, "path": "/root/u"})
        assert read["text"] == "bytes" * 1000


NO_RESUME = "[ownership]\nauto_resume = no"


@pytest.mark.parametrize("settings, capsule, call, wakes", [
    ("", {}, {}, True),
    ("", {}, {"auto_resume": False}, False),
    ("", {"auto_resume": False}, {}, False),
    ("", {"auto_resume": False}, {"auto_resume": True}, True),
    (NO_RESUME, {}, {}, False),
    (NO_RESUME, {"auto_resume": True}, {}, True),
    (NO_RESUME, {}, {"auto_resume": True}, True),
])
def test_auto_resume_switches(cloud, make_daemon, settings, capsule, call, wakes):
    with make_daemon(settings=settings).start().client() as client:
        made = create(client, **capsule)
        cloud.set_capsule(made, status="paused")
        run = {"capsule": made, "cmd": "true", **call}
        if wakes:
            assert client.call("exec.run", run)["resumed"] is True
        else:
            with fails("capsule_paused") as error:
                client.call("exec.run", run)
            assert "auto_resume" in error.value.message
            assert resumes(cloud, made) == 0


def test_keepalive_while_a_command_runs(sleepy_cloud, make_daemon):
    with make_daemon(sleepy_cloud).start().client() as client:
        made = create(client, timeout_sec=2)
        number = client.send("exec.run", {
            "capsule": made, "cmd": "sleep", "args": ["6"]})
        until(lambda: sleepy_cloud.capsule(made)["pids"])
        seen = set()
        while client.call("daemon.status")["calls"]["in_flight"] > 1:
            seen.add(sleepy_cloud.capsule(made)["status"])
        assert client.wait(number)["exit_code"] == 0
        assert seen == {"running"}
        pings = sleepy_cloud.capsule(made)["pings"]
        assert pings >= 3
        # Nobody keeps it awake any more: it sleeps, and was not pinged.
        until(lambda: sleepy_cloud.capsule(made)["status"] == "paused")
        assert sleepy_cloud.capsule(made)["pings"] == pings


def test_keepalive_off(sleepy_cloud, make_daemon):
    with make_daemon(sleepy_cloud).start().client() as client:
        made = create(client, timeout_sec=1, keepalive=False)
        client.send("exec.run", {
            "capsule": made, "cmd": "sleep", "args": ["20"]})
        until(lambda: sleepy_cloud.capsule(made)["status"] == "paused")
        assert sleepy_cloud.capsule(made)["pings"] == 0
        client.call("capsule.destroy", {"capsule": made})
