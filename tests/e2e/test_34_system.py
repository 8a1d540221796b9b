"""One wrennd for several users, and a user's own that is for nobody else."""
import contextlib
import json
import os

import pytest

from testenv.client import RpcError, until
from testenv.expect import fails
from testenv.machine import ANN, BOB, EVE, Machine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")

ABSENT = "cl-" + "0" * 25


@pytest.fixture
def make_machine(cloud):
    made = []

    def make(**kwargs):
        made.append(Machine(cloud, **kwargs))
        return made[-1].start()

    yield make
    for machine in made:
        machine.remove()


@pytest.fixture
def machine(make_machine):
    return make_machine()


@pytest.fixture
def users(machine):
    """Clients of three users and of root, by uid."""
    with contextlib.ExitStack() as stack:
        yield {uid: stack.enter_context(machine.user(uid)) for uid in (ANN, BOB, EVE, 0)}


def error_of(client, method, params):
    """(name, message, data but for what is each request's own)."""
    with pytest.raises(RpcError) as info:
        client.call(method, params)
    data = {k: v for k, v in info.value.data.items() if k != "request"}
    return info.value.name, info.value.message, data


# ---- whose capsules ----

def test_names_and_keys_do_not_meet(cloud, machine, users):
    params = {"name": "web", "key": "job-1", "labels": {"team": "a"}}
    made = {uid: client.call("capsule.create", params)["id"] for uid, client in users.items()}
    assert len(set(made.values())) == 4

    def check(uid, client):
        assert client.call("capsule.create", params)["id"] == made[uid]
        assert client.call("capsule.get", {"capsule": "web"})["id"] == made[uid]
        assert [c["id"] for c in client.call("capsule.list")["capsules"]] == [made[uid]]
        assert [c["id"] for c in client.call(
            "capsule.list", {"labels": {"team": "a"}})["capsules"]] == [made[uid]]

    for uid, client in users.items():
        check(uid, client)
    # The record says whose they are.
    machine.kill()
    machine.start()
    for uid in users:
        with machine.user(uid) as client:
            check(uid, client)
    with machine.user(ANN) as client:
        client.call("capsule.destroy", {"capsule": "web"})
    assert cloud.alive() >= set(made.values()) - {made[ANN]} and made[ANN] not in cloud.alive()


CALLS = [
    ("capsule.get", {}), ("capsule.wait", {"timeout_sec": 5}), ("capsule.destroy", {}),
    ("capsule.pause", {}), ("capsule.resume", {}), ("capsule.ping", {}),
    ("capsule.metrics", {"range": "5m"}),
    ("snapshot.create", {"name": "s"}),
    ("exec.run", {"cmd": "true"}), ("exec.stream", {"cmd": "true"}),
    ("file.read", {"path": "/f"}),
    ("file.write", {"path": "/f", "text": "x"}), ("file.list", {"path": "/"}),
    ("file.stat", {"path": "/f"}), ("file.mkdir", {"path": "/d"}),
    ("file.remove", {"path": "/f"}), ("process.start", {"cmd": "true"}),
    ("process.list", {}), ("process.kill", {"tag": "t"}),
]


def test_calls_is_complete(users):
    methods = users[ANN].call("rpc.discover")["methods"]
    assert {m["name"] for m in methods if any(
        p["name"] == "capsule" and p["required"] for p in m["params"])} == {
            name for name, _ in CALLS}


@pytest.mark.parametrize("method, more", CALLS, ids=[name for name, _ in CALLS])
def test_a_foreign_capsule_is_like_none(cloud, machine, users, method, more):
    """By ID, prefix and name; also to root, who has users of their own."""
    made = users[ANN].call("capsule.create", {"name": "web"})["id"]
    asked = len(cloud.ledger())
    for uid in (BOB, 0):
        for ref, absent in ((made, ABSENT), (made[:12], ABSENT[:12]), ("web", "wob")):
            foreign = error_of(users[uid], method, {"capsule": ref, **more})
            if uid == 0 and len(absent) == 28:
                # Root may ask upstream for what nobody here made.
                assert foreign[0] == "not_found"
                continue
            none = error_of(users[uid], method, {"capsule": absent, **more})
            assert foreign[0] == none[0] == "not_found"
            assert foreign[1].replace(ref, "REF") == none[1].replace(absent, "REF")
            assert foreign[2] == none[2]
    # Nothing was asked of the server: not even how long it took tells.
    assert len(cloud.ledger()) == asked
    assert cloud.capsules()[made]["status"] == "running"


def test_what_nobody_here_made(cloud, users):
    """Hidden from plain users; root works on it by its full ID."""
    stray = cloud.create()
    for uid in (ANN, BOB):
        listed = users[uid].call("capsule.list", {"untracked": True})["capsules"]
        assert stray not in [c["id"] for c in listed]
        foreign = error_of(users[uid], "capsule.destroy", {"capsule": stray})
        absent = error_of(users[uid], "capsule.destroy", {"capsule": ABSENT})
        assert foreign[0] == "not_found"
        assert foreign[1].replace(stray, "") == absent[1].replace(ABSENT, "")
    listed = users[0].call("capsule.list", {"untracked": True})["capsules"]
    assert stray in [c["id"] for c in listed]
    assert stray in cloud.alive()
    users[0].call("capsule.destroy", {"capsule": stray})
    assert stray not in cloud.alive()


# ---- who may do what ----

def test_access(machine, users):
    for uid, client in users.items():
        hello = client.call("daemon.hello")
        assert (hello["uid"], hello["access"]) == (uid, "use" if uid else "admin")
    methods = users[ANN].call("rpc.discover")["methods"]
    admin = {m["name"] for m in methods if m["x-access"] == "admin"}
    assert {"daemon.shutdown", "daemon.reload", "auth.set", "auth.login", "auth.logout",
            "api.request", "capsule.stats", "capsule.usage"} <= admin
    assert {m["name"] for m in methods if m["name"].startswith(("host.", "key."))} <= admin
    # A parameter that no method has: nobody's call gets further than that.
    for method in (m["name"] for m in methods):
        for uid, client in users.items():
            name, message, _ = error_of(client, method, {"no such": 1})
            if uid != 0 and method in admin:
                assert name == "access_denied" and method in message
            else:
                assert name == "invalid_params", (uid, method)
    for client in (users[ANN], users[BOB]):
        with fails("access_denied"):
            client.call("daemon.shutdown")
        with fails("access_denied"):
            client.call("auth.set", {"api_key": "wrn_" + "1" * 32})
    assert machine.process.poll() is None
    users[0].call("daemon.reload")
    assert users[0].call("daemon.shutdown") is not None
    assert machine.process.wait(timeout=30) == 0


def test_the_services_user_administers(cloud, make_machine):
    machine = make_machine(run_as=EVE)
    stray = cloud.create()
    for uid, access in ((ANN, "use"), (EVE, "admin"), (0, "admin")):
        with machine.user(uid) as client:
            assert client.call("daemon.hello")["access"] == access
            listed = client.call("capsule.list", {"untracked": True})["capsules"]
            assert (stray in [c["id"] for c in listed]) is (access == "admin")
            client.call("capsule.create", {"name": "web"})
    with machine.user(EVE) as client:
        client.call("daemon.shutdown")
    assert machine.process.wait(timeout=30) == 0


def test_calls_are_logged_with_their_user(machine, users):
    made = users[BOB].call("capsule.create")["id"]
    users[BOB].call("capsule.ping", {"capsule": made})
    line = next(l for l in machine.log_text().splitlines() if "call method=capsule.ping" in l)
    assert f" uid={BOB} " in line + " "


def test_wrennctl(machine):
    made = json.loads(machine.ctl(ANN, "-o", "json", "create", "--name", "web").stdout)["id"]
    assert made in machine.ctl(ANN, "ls").stdout.decode()
    assert made not in machine.ctl(BOB, "ls", "-a").stdout.decode()
    done = machine.ctl(BOB, "exec", made, "--", "true")
    assert done.returncode == 125 and b"no capsule of yours" in done.stderr
    done = machine.ctl(BOB, "api", "GET", "/health")
    assert done.returncode == 6 and b"root" in done.stderr, done
    assert machine.ctl(0, "api", "GET", "/health").returncode == 0


# ---- what others notice ----

def events_of(client, number=None):
    """All events, up to the answer of that number, or to the end."""
    events = []
    while (message := client.read()) is not None:
        if message.get("method") == "event":
            events.append(message["params"]["event"])
        elif message["id"] == number:
            return events, message["result"]["last"]
    return events, None


def test_events_are_their_users(cloud, machine, users):
    for uid in (ANN, BOB):
        users[uid].send("daemon.events")
        users[uid].call("daemon.hello")  # so that the first has begun
    with machine.user(ANN) as client:
        made = client.call("capsule.create", {"name": "secret-plan"})["id"]
        client.call("capsule.destroy", {"capsule": made})
    users[0].call("auth.set", {"api_key": cloud.key, "persist": False})
    machine.stop()
    kinds = {uid: [e["type"] for e in events_of(users[uid])[0]] for uid in (ANN, BOB)}
    assert kinds[ANN] == ["capsule.live", "call", "capsule.ending", "capsule.gone", "call",
                          "credential.changed", "daemon.stopping"]
    assert kinds[BOB] == ["credential.changed", "daemon.stopping"]


def test_reading_the_past_ends_although_the_rest_is_anothers(users):
    users[ANN].call("capsule.create")
    users[BOB].call("capsule.create")
    def past(client):
        return events_of(client, client.send("daemon.events", {"since": 0, "follow": False}))

    events, last = past(users[ANN])
    assert sorted(e["type"] for e in events) == ["call", "capsule.live"] and last == 4
    assert past(users[EVE]) == ([], 4)


def test_a_cancel_reaches_only_ones_own(users):
    number = users[ANN].send("daemon.events")
    assert users[BOB].call("call.cancel", {"call": number}) == {"cancelled": False}
    assert users[ANN].call("call.cancel", {"call": number}) == {"cancelled": True}


def test_the_limit_of_clients_is_each_users(make_machine):
    machine = make_machine(settings="[limits]\nclients_per_user = 3")
    with contextlib.ExitStack() as stack:
        def connect(uid):
            return stack.enter_context(machine.user(uid))

        ann = [connect(ANN) for _ in range(3)]
        for client in ann:
            client.call("daemon.hello")
        refused = connect(ANN)
        assert refused.read()["error"]["data"]["name"] == "busy"
        assert refused.read() is None
        for uid in (BOB, 0):
            assert connect(uid).call("daemon.hello")["uid"] == uid
        ann.pop().close()

        def again():
            client = connect(ANN)
            with contextlib.suppress(ConnectionError, RpcError, KeyError):
                return client.call("daemon.hello")["uid"] == ANN
            return False

        until(again)


# ---- a user's own ----

def test_a_users_own_is_for_nobody_else(make_machine):
    """The socket's mode keeps others out; where it does not, wrennd does."""
    machine = make_machine(run_as=EVE, system=False)
    with machine.user(BOB) as stranger:
        with contextlib.suppress(BrokenPipeError):
            stranger.send("capsule.list")
        answer = stranger.read()
        assert answer["id"] is None
        assert answer["error"]["data"]["name"] == "access_denied"
        with contextlib.suppress(ConnectionResetError):
            assert stranger.read() is None
    assert "client refused: another user" in machine.log_text()
    assert f"uid={BOB}" in machine.log_text()
    with machine.user(EVE) as client:
        made = client.call("capsule.create", {"name": "web"})["id"]
    # Root acts for its owner.
    with machine.user(0) as client:
        hello = client.call("daemon.hello")
        assert (hello["uid"], hello["access"]) == (EVE, "admin")
        assert client.call("capsule.get", {"capsule": "web"})["id"] == made
