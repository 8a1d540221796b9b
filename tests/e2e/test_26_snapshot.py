"""Snapshots: taken, replaced on both kinds of server, listed, deleted."""
import contextlib
import itertools
import json
import os

import pytest

from testenv.classes import CLASSES, tells_classes_apart
from testenv.client import until
from testenv.expect import fails
from testenv.machine import ANN, BOB, Machine

NUMBERS = itertools.count(1)
POST = {"method": "POST", "path": "/v1/snapshots$"}
DELETE = {"method": "DELETE", "path": "/v1/snapshots/"}


@pytest.fixture
def name(cloud):
    """A name of the test's own; what has it afterwards goes."""
    name = f"snap-{next(NUMBERS)}"
    yield name
    cloud.clear_faults()
    cloud.call("DELETE", "/v1/snapshots/" + name)


@pytest.fixture(params=["ignores overwrite", "knows overwrite"])
def kind(request, cloud):
    knows = request.param == "knows overwrite"
    cloud.admin("POST", "/settings", {"snapshot_overwrite": knows})
    yield knows
    cloud.admin("POST", "/settings", {"snapshot_overwrite": False})


def by_name(client, **params):
    return {s["name"]: s for s in client.call("snapshot.list", params)["snapshots"]}


def asked(cloud):
    return [e["method"] for e in cloud.requests() if e["path"].startswith("/v1/snapshots")]


def test_create_list_delete(cloud, client, name):
    capsule = client.call("capsule.create", {"name": "web", "vcpus": 2, "memory_mb": 256})["id"]
    made = client.call("snapshot.create", {"capsule": "web", "name": name})
    assert (made["name"], made["type"], made["vcpus"], made["memory_mb"]) == (
        name, "snapshot", 2, 256)
    assert cloud.capsules()[capsule]["status"] == "paused"
    listed = by_name(client)
    assert listed[name] == made and listed["minimal"]["type"] == "base"
    assert name in by_name(client, type="snapshot")
    assert name not in by_name(client, type="base")
    child = client.call("capsule.create", {"template": name})
    assert (child["template"], child["vcpus"], child["memory_mb"]) == (name, 2, 256)
    # A paused one can be taken as well, and the server finds a name.
    unnamed = client.call("snapshot.create", {"capsule": capsule[:12]})
    assert unnamed["name"] in by_name(client)
    for one in (name, unnamed["name"]):
        assert client.call("snapshot.delete", {"name": one}) == {}
    assert not {name, unnamed["name"]} & set(by_name(client))
    with fails("not_found"):
        client.call("snapshot.delete", {"name": name})
    for one in ("web", child["id"]):
        client.call("capsule.destroy", {"capsule": one})


# ---- the capsule afterwards ----

def test_it_sleeps_as_if_paused_by_hand(daemon, client, capsule, name):
    """No call wakes it, also after a restart; a resume by hand does."""
    client.call("snapshot.create", {"capsule": capsule, "name": name})
    with fails("capsule_paused") as error:
        client.call("exec.run", {"capsule": capsule, "cmd": "true"})
    assert "by hand" in error.value.message
    daemon.stop()
    daemon.start()
    with daemon.client() as again:
        with fails("capsule_paused"):
            again.call("exec.run", {"capsule": capsule, "cmd": "true"})
        again.call("capsule.resume", {"capsule": capsule})
        assert again.call("exec.run", {"capsule": capsule, "cmd": "true"})["exit_code"] == 0
    # The fixtures of this test go on with the new one.
    client.close()
    client.__init__(daemon.socket)


def test_a_look_while_it_is_taken(cloud, daemon, client, capsule, name):
    """The list still shows it running; it sleeps by hand all the same."""
    cloud.fault({"delay": 0.5}, match=POST)
    number = client.send("snapshot.create", {"capsule": capsule, "name": name})
    with daemon.client() as other:
        until(lambda: asked(cloud))
        assert other.call("capsule.get", {"capsule": capsule})["status"] == "running"
    client.wait(number)
    with fails("capsule_paused"):
        client.call("exec.run", {"capsule": capsule, "cmd": "true"})
    client.call("capsule.resume", {"capsule": capsule})


def test_a_kill_while_it_is_taken(cloud, daemon, capsule, client, name):
    """What is on disk is that it was put to sleep by hand."""
    cloud.fault({"delay_answer": 30}, match=POST)
    client.send("snapshot.create", {"capsule": capsule, "name": name})
    until(lambda: cloud.capsules()[capsule]["status"] == "paused")
    daemon.kill()
    daemon.start()
    client.close()
    client.__init__(daemon.socket)
    with fails("capsule_paused"):
        client.call("exec.run", {"capsule": capsule, "cmd": "true"})
    client.call("capsule.resume", {"capsule": capsule})


def test_a_failure_leaves_it_awake(cloud, client, capsule, name):
    """One that was refused falls asleep by itself later, and is woken then."""
    for action in ({"status": 409, "code": "invalid_state"}, {"status": 502, "code": "agent_error"}):
        cloud.fault(action, match=POST)
        with fails("conflict" if action["status"] == 409 else "agent_error"):
            client.call("snapshot.create", {"capsule": capsule, "name": name})
    cloud.set_capsule(capsule, status="paused")
    done = client.call("exec.run", {"capsule": capsule, "cmd": "true"})
    assert (done["exit_code"], done["resumed"]) == (0, True)


def test_events(client, capsule, name):
    client.call("snapshot.create", {"capsule": capsule, "name": name})
    client.send("daemon.events", {"since": 0, "follow": False})
    events = []
    while "result" not in (message := client.read()):
        events.append(message["params"]["event"])
    assert ("capsule.paused", capsule) in [(e["type"], e.get("capsule")) for e in events]
    assert "snapshot.create" in [e.get("method") for e in events]
    client.call("capsule.resume", {"capsule": capsule})


def test_its_client_may_go(cloud, daemon, capsule, name):
    cloud.fault({"delay": 0.3}, match=POST)
    with daemon.client() as gone:
        gone.send("snapshot.create", {"capsule": capsule, "name": name})
        until(lambda: asked(cloud))
    until(lambda: name in by_name_of(daemon))
    daemon.call("capsule.resume", {"capsule": capsule})


def by_name_of(daemon):
    with daemon.client() as client:
        return by_name(client)


# ---- a name that is taken ----

def test_taken(cloud, client, capsule, name, kind):
    client.call("snapshot.create", {"capsule": capsule, "name": name})
    for params in ({}, {"overwrite": False}):
        with fails("conflict") as error:
            client.call("snapshot.create", {"capsule": capsule, "name": name, **params})
        assert error.value.data["upstream_code"] == "template_name_taken"
    assert asked(cloud) == ["POST"] * 3


def test_overwrite(cloud, client, capsule, name, kind):
    first = client.call("snapshot.create", {"capsule": capsule, "name": name})
    cloud.admin("DELETE", "/ledger")
    again = client.call(
        "snapshot.create", {"capsule": capsule, "name": name, "overwrite": True})
    assert again["name"] == first["name"] == name
    assert asked(cloud) == (["POST"] if kind else ["POST", "DELETE", "POST"])
    assert list(by_name(client)).count(name) == 1


def test_overwrite_what_is_not_there(cloud, client, capsule, name, kind):
    client.call("snapshot.create", {"capsule": capsule, "name": name, "overwrite": True})
    assert asked(cloud) == ["POST"] and name in by_name(client)


def test_overwrite_is_nothing_for_the_platforms(cloud, client, capsule, kind):
    with fails("conflict") as error:
        client.call("snapshot.create", {"capsule": capsule, "name": "minimal", "overwrite": True})
    assert error.value.data["upstream_code"] == "name_reserved"
    assert asked(cloud) == ["POST"] and "minimal" in by_name(client)


def test_the_old_one_is_gone_and_the_new_one_failed(cloud, client, capsule, name):
    params = {"capsule": capsule, "name": name, "overwrite": True}
    for status, code, expected, _ in CLASSES:
        if code == "template_name_taken":
            continue
        cloud.call("POST", "/v1/snapshots", {"sandbox_id": capsule, "name": name})
        cloud.fault({"status": status, "code": code, "message": "it failed"}, match=POST, skip=1)
        with fails(expected) as error:
            client.call("snapshot.create", params)
        cloud.clear_faults()
        assert error.value.message.startswith(
            f"the older snapshot {name} was deleted, but taking the new one failed: it failed")
        assert error.value.data["deleted"] is True
        assert name not in by_name(client)


def test_the_old_one_is_gone_and_nobody_knows_of_the_new_one(cloud, client, capsule, name):
    params = {"capsule": capsule, "name": name}
    client.call("snapshot.create", params)
    cloud.fault({"lose_answer": True}, match=POST, skip=1)
    with fails("outcome_unknown") as error:
        client.call("snapshot.create", {**params, "overwrite": True})
    assert "was deleted" in error.value.message and error.value.data["deleted"] is True
    assert len(cloud.requests(method="POST", path="/v1/snapshots")) == 3


def test_the_old_one_cannot_be_deleted(cloud, client, capsule, name):
    params = {"capsule": capsule, "name": name}
    client.call("snapshot.create", params)
    cloud.fault({"status": 403}, match=DELETE)
    with fails("forbidden") as error:
        client.call("snapshot.create", {**params, "overwrite": True})
    assert f"the older snapshot {name} is still there" in error.value.message
    assert name in by_name(client) and "deleted" not in error.value.data
    # Once its answer is lost it is asked again; "not found" is then as good.
    cloud.fault({"drop_edge": "after"}, match=DELETE)
    client.call("snapshot.create", {**params, "overwrite": True})
    assert name in by_name(client)


@pytest.mark.parametrize("status", ["missing", "error", "pending"])
def test_the_old_one_stays_where_none_can_be_taken(cloud, client, capsule, name, status):
    """The server looks at the name first: its 409 says nothing of the capsule."""
    params = {"capsule": capsule, "name": name}
    client.call("snapshot.create", params)
    cloud.set_capsule(capsule, status=status)
    with fails("conflict") as error:
        client.call("snapshot.create", {**params, "overwrite": True})
    assert f"the older snapshot {name} is still there" in error.value.message
    assert f"(status: {status})" in error.value.message and "deleted" not in error.value.data
    assert name in by_name(client) and "DELETE" not in asked(cloud)


def test_a_lost_answer(cloud, client, capsule, name):
    cloud.fault({"lose_answer": True}, match=POST)
    with fails("outcome_unknown"):
        client.call("snapshot.create", {"capsule": capsule, "name": name})
    assert asked(cloud) == ["POST"]
    with fails("capsule_paused"):
        client.call("exec.run", {"capsule": capsule, "cmd": "true"})
    client.call("capsule.resume", {"capsule": capsule})


# ---- errors ----

def test_error_classes(cloud, client, capsule):
    for method, params in (("snapshot.create", {"capsule": capsule}), ("snapshot.list", {}),
                           ("snapshot.delete", {"name": "x"})):
        tells_classes_apart(cloud, client, method, params, "/v1/snapshots")


@pytest.mark.parametrize("method, params, param", [
    ("snapshot.create", {"capsule": "web", "name": "../x"}, "name"),
    ("snapshot.create", {"capsule": "web", "name": ""}, "name"),
    ("snapshot.create", {"capsule": "web", "name": "x" * 65}, "name"),
    ("snapshot.create", {"capsule": "web", "name": "é"}, "name"),
    ("snapshot.create", {"capsule": "web", "overwrite": True}, "overwrite"),
    ("snapshot.create", {"name": "x"}, "capsule"),
    ("snapshot.delete", {"name": "a/b"}, "name"), ("snapshot.delete", {"name": ".."}, "name"),
    ("snapshot.delete", {"name": "a?b"}, "name"), ("snapshot.delete", {}, "name"),
    ("snapshot.list", {"type": "all"}, "type"),
])
def test_nothing_odd_is_sent(cloud, client, method, params, param):
    with fails("invalid_params") as error:
        client.call(method, params)
    assert error.value.data["param"] == param
    assert cloud.ledger() == []


def test_the_platforms_stay(client):
    with fails("forbidden"):
        client.call("snapshot.delete", {"name": "minimal"})


def test_unknown_capsules(cloud, client):
    with fails("not_found"):
        client.call("snapshot.create", {"capsule": "nothing"})
    assert cloud.ledger() == []
    with fails("not_found"):
        client.call("snapshot.create", {"capsule": "cl-" + "0" * 25})


# ---- several users ----

@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")
def test_users_of_one_machine(cloud, name):
    """They see all and start from all, and destroy none: nothing says whose it is."""
    with contextlib.ExitStack() as stack:
        machine = Machine(cloud)
        stack.callback(machine.remove)
        machine.start()
        ann, bob, root = (stack.enter_context(machine.user(uid)) for uid in (ANN, BOB, 0))
        ann.call("capsule.create", {"name": "web"})
        bob.call("capsule.create", {"name": "mine"})
        ann.call("snapshot.create", {"capsule": "web", "name": name})
        assert name in by_name(bob)
        cloud.admin("DELETE", "/ledger")
        for client in (ann, bob):
            with fails("access_denied"):
                client.call("snapshot.delete", {"name": name})
            with fails("access_denied"):
                client.call("snapshot.create", {
                    "capsule": "web", "name": name, "overwrite": True})
        with fails("not_found"):
            bob.call("snapshot.create", {"capsule": "web", "name": "other"})
        assert cloud.ledger() == []
        with fails("conflict"):
            bob.call("snapshot.create", {"capsule": "mine", "name": name})
        root.call("snapshot.delete", {"name": name})
        ann.call("capsule.destroy", {"capsule": "web"})
        bob.call("capsule.destroy", {"capsule": "mine"})


# ---- wrennctl ----

def test_wrennctl(cloud, ctl, capsule, name):
    done = ctl.run("snapshot", "create", capsule, name)
    assert (done.returncode, done.stdout.decode()) == (0, name + "\n")
    assert f"wrennctl resume {capsule}".encode() in done.stderr
    head, *rows = ctl.ok("snapshot", "ls").splitlines()
    assert head.split() == ["NAME", "TYPE", "CPUS", "MEMORY", "SIZE", "AGE"]
    assert ["snapshot", "1", "512M"] in [r.split()[1:4] for r in rows if r.split()[0] == name]
    assert name in ctl.ok("snapshot", "ls", "-q", "--type", "snapshot").split()
    assert name not in ctl.ok("snapshot", "ls", "-q", "--type", "base").split()
    assert name in [s["name"] for s in ctl.json("snapshot", "ls")["snapshots"]]
    done = ctl.run("-o", "json", "snapshot", "create", capsule, name)
    assert done.returncode == 4
    assert json.loads(done.stderr)["error"]["data"]["upstream_code"] == "template_name_taken"
    assert ctl.json("snapshot", "create", "--overwrite", capsule, name)["name"] == name
    unnamed = ctl.ok("snapshot", "create", capsule).strip()
    done = ctl.run("snapshot", "rm", name, "no-such", unnamed)
    assert done.returncode == 3 and b"no-such" in done.stderr
    assert done.stdout.decode().split() == [name, unnamed]
    for words in (["create"], ["create", "a", "b", "c"], ["create", capsule, "a/b"], ["rm"],
                  ["rm", ".."], ["ls", "x"], ["ls", "--type", "x"], ["create", "--overwrite", capsule],
                  []):
        assert ctl.run("snapshot", *words).returncode == 2, words
    ctl.ok("resume", capsule)


def test_wrennctl_prints_no_name_that_is_none(cloud, ctl, capsule):
    """`wrennctl create -t $(wrennctl snapshot create …)` must not go on with it."""
    cloud.fault({"status": 201, "body": "{}", "content_type": "application/json"}, match=POST)
    done = ctl.run("snapshot", "create", capsule)
    assert (done.returncode, done.stdout) == (1, b"") and b"snapshot ls" in done.stderr
