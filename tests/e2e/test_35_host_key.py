"""What takes a person who is logged in: hosts and API keys."""
import json
import re

import pytest

from testenv.classes import tells_classes_apart
from testenv.expect import fails

NO_HOST = "host-" + "0" * 25
NO_KEY = "key-" + "0" * 25


@pytest.fixture
def people(cloud, daemon):
    """A client of a daemon that holds a token beside its key."""
    with daemon.client() as client:
        client.call("auth.login", {
            "email": cloud.ready["email"], "password": cloud.ready["password"],
            "persist": False})
        yield client


@pytest.fixture
def host(people):
    made = people.call("host.create", {"type": "regular"})["host"]["id"]
    yield made
    if made in [h["id"] for h in people.call("host.list")["hosts"]]:
        people.call("host.delete", {"host": made, "force": True})


HOST_CALLS = [
    ("host.get", {}), ("host.delete", {}), ("host.delete_preview", {}),
    ("host.regenerate_token", {}), ("host.list_tags", {}), ("host.add_tag", {"tag": "x"}),
    ("host.remove_tag", {"tag": "x"}),
]
CALLS = [(name, {"host": NO_HOST, **more}) for name, more in HOST_CALLS] + [
    ("host.create", {"type": "regular"}), ("host.list", {}), ("key.create", {}),
    ("key.list", {}), ("key.delete", {"key": NO_KEY}),
]


def test_calls_is_complete(client):
    methods = {m["name"] for m in client.call("rpc.discover")["methods"]}
    assert {m for m in methods if m.startswith(("host.", "key."))} == {name for name, _ in CALLS}


@pytest.mark.parametrize("method, params", CALLS, ids=[name for name, _ in CALLS])
def test_a_key_is_not_enough(cloud, client, method, params):
    """Nothing is sent: the server would say no."""
    with fails("no_credential") as error:
        client.call(method, params)
    assert "wrennctl login" in error.value.message
    assert cloud.ledger() == []


@pytest.mark.parametrize("method, params", CALLS, ids=[name for name, _ in CALLS])
def test_error_classes(cloud, people, method, params):
    tells_classes_apart(cloud, people, method, params, "/v1/(hosts|api-keys)")


# ---- hosts ----

def test_hosts(cloud, people):
    team = cloud.ready["teams"][0]
    made = people.call("host.create", {
        "type": "byoc", "team_id": team, "provider": "own & co", "availability_zone": "eu-1"})
    row = made["host"]
    assert len(made["registration_token"]) > 30
    assert (row["type"], row["status"], row["team_id"], row["provider"],
            row["availability_zone"]) == ("byoc", "pending", team, "own & co", "eu-1")
    assert people.call("host.get", {"host": row["id"]}) == row
    assert row in people.call("host.list")["hosts"]
    again = people.call("host.regenerate_token", {"host": row["id"]})
    assert again["host"]["id"] == row["id"]
    assert again["registration_token"] != made["registration_token"]
    cloud.admin("POST", "/hosts/" + row["id"], {"status": "online"})
    with fails("conflict") as error:
        people.call("host.regenerate_token", {"host": row["id"]})
    assert error.value.data["upstream_code"] == "invalid_state"
    assert people.call("host.delete", {"host": row["id"]}) == {}
    with fails("not_found"):
        people.call("host.get", {"host": row["id"]})
    assert {e["auth"] for e in cloud.requests() if "/hosts" in e["path"]} == {"jwt"}


def test_a_host_with_capsules(cloud, people, host):
    alive = cloud.create()
    cloud.admin("POST", "/hosts/" + host, {"capsules": [alive]})
    preview = people.call("host.delete_preview", {"host": host})
    assert (preview["host"]["id"], preview["sandbox_ids"]) == (host, [alive])
    for force in ({}, {"force": False}):
        with fails("host_has_capsules") as error:
            people.call("host.delete", {"host": host, **force})
        assert error.value.data["capsule_ids"] == [alive]
        assert error.value.data["class"] == "WrennHostHasCapsulesError"
    assert alive in cloud.alive()
    people.call("host.delete", {"host": host, "force": True})
    assert alive not in cloud.alive()


@pytest.mark.parametrize("code", ["host_has_sandboxes", "host_has_capsules",
                                  "has_active_sandboxes"])
@pytest.mark.parametrize("key", ["sandbox_ids", "capsule_ids"])
@pytest.mark.parametrize("inside", [True, False])
def test_the_capsules_are_found_wherever_they_are(cloud, people, code, key, inside):
    error = {"code": code, "message": "not empty"}
    body = {"error": {**error, key: ["cl-1"]}} if inside else {"error": error, key: ["cl-1"]}
    cloud.fault({"status": 409, "body": json.dumps(body), "content_type": "application/json"},
                match={"method": "DELETE"})
    with fails("host_has_capsules") as info:
        people.call("host.delete", {"host": NO_HOST})
    assert info.value.data["capsule_ids"] == ["cl-1"]


def test_who_may_not(cloud, daemon):
    cloud.admin("POST", "/users", {"email": "plain@example.com", "password": "p"})
    with daemon.client() as client:
        client.call("auth.login", {"email": "plain@example.com", "password": "p",
                                   "persist": False})
        with fails("forbidden"):
            client.call("host.create", {"type": "regular"})
        assert client.call("host.list") == {"hosts": []}


def test_tags(cloud, people, host):
    hard = ["gpu", "a b", "é?x=1#y&z", "100%", "%2e%2e", "...", "x" * 256]
    for tag in hard:
        assert people.call("host.add_tag", {"host": host, "tag": tag}) == {}
    assert people.call("host.list_tags", {"host": host}) == {"tags": hard}
    for tag in hard:
        assert people.call("host.remove_tag", {"host": host, "tag": tag}) == {}
    assert people.call("host.list_tags", {"host": host}) == {"tags": []}


def test_a_tag_climbs_nowhere(cloud, people, host):
    """DELETE …/tags/.. would be a DELETE of the host itself."""
    asked = len(cloud.ledger())
    for tag in (".", "..", "../..", "a/b", "/", "a\\b", "a\nb", "\x7f", "", "x" * 257):
        for method in ("host.remove_tag", "host.add_tag"):
            with fails("invalid_params") as error:
                people.call(method, {"host": host, "tag": tag})
            assert error.value.data["param"] == "tag"
    assert len(cloud.ledger()) == asked


@pytest.mark.parametrize("params, param", [
    ({"host": "host-1"}, "host"), ({"host": "../me"}, "host"), ({"host": NO_KEY}, "host"),
    ({"host": NO_HOST + "/tags"}, "host"), ({"host": NO_HOST.upper()}, "host"),
    ({}, "host"), ({"host": NO_HOST, "x": 1}, "x"),
])
@pytest.mark.parametrize("method, more", HOST_CALLS, ids=[name for name, _ in HOST_CALLS])
def test_nothing_odd_is_sent(cloud, client, method, more, params, param):
    with fails("invalid_params") as error:
        client.call(method, {**more, **params})
    if param == "x" and method != "host.delete":
        assert error.value.data["param"] == "x"
    elif "host" not in more:
        assert error.value.data["param"] == param
    assert cloud.ledger() == []


def test_lost_answers(cloud, people):
    """What makes something is sent once; what removes it, until it is answered."""
    for method, params, path in (
            ("host.create", {"type": "regular"}, "/v1/hosts"), ("key.create", {}, "/v1/api-keys")):
        cloud.fault({"lose_answer": True}, match={"method": "POST", "path": path + "$"})
        with fails("outcome_unknown"):
            people.call(method, params)
        assert len(cloud.requests(method="POST", path=path)) == 1
    for host in people.call("host.list")["hosts"]:
        people.call("host.delete", {"host": host["id"]})
    key = people.call("key.list")["keys"][-1]["id"]
    cloud.fault({"reset_before": True}, match={"method": "DELETE"})
    assert people.call("key.delete", {"key": key}) == {}


def test_lists_must_be_lists(cloud, people, host):
    for method, params, path in (
            ("host.list", {}, "/hosts$"), ("key.list", {}, "/api-keys$"),
            ("host.list_tags", {"host": host}, "/tags$"), ("host.get", {"host": host}, "/host-")):
        for body in ('"x"', "null", "7", "{}" if method != "host.get" else "[]"):
            cloud.fault({"status": 200, "body": body, "content_type": "application/json"},
                        match={"method": "GET", "path": path})
            with fails("bad_answer"):
                people.call(method, params)


# ---- keys ----

def test_keys(cloud, daemon, people):
    made = people.call("key.create", {"name": "ci \"1\""})
    key = made.pop("key")
    assert re.fullmatch(r"wrn_\w{32}", key)
    assert made["name"] == "ci \"1\"" and key.startswith(made["key_prefix"])
    assert cloud.call("GET", "/v1/capsules", key=key).status == 200
    listed = people.call("key.list")["keys"]
    assert made["id"] in [k["id"] for k in listed]
    assert not any("key" in k for k in listed)
    # wrennd goes on with its own.
    assert people.call("auth.status")["api_key"]["source"] == "file"
    assert people.call("key.delete", {"key": made["id"]}) == {}
    assert cloud.call("GET", "/v1/capsules", key=key).status == 401
    with fails("not_found"):
        people.call("key.delete", {"key": made["id"]})
    unnamed = people.call("key.create")
    assert unnamed["name"]
    people.call("key.delete", {"key": unnamed["id"]})


def test_a_secret_is_no_id(cloud, people):
    """Who confuses the two finds neither the log nor the error to hold it."""
    asked = len(cloud.ledger())
    with fails("invalid_params") as error:
        people.call("key.delete", {"key": cloud.key})
    assert error.value.data["param"] == "key" and cloud.key not in error.value.message
    assert len(cloud.ledger()) == asked


# ---- wrennctl ----

def test_wrennctl_keys(cloud, people, ctl):
    done = ctl.run("key", "create", "ci")
    key = done.stdout.decode().strip()
    assert done.returncode == 0 and re.fullmatch(r"wrn_\w{32}", key)
    assert key.encode() not in done.stderr
    number = re.search(rb"key-\w{25}", done.stderr)[0].decode()
    head, *rows = ctl.ok("key", "ls").splitlines()
    assert head.split() == ["ID", "NAME", "BEGINS", "AGE", "USED", "BY"]
    row = next(r for r in rows if r.startswith(number)).split()
    assert row[1:3] == ["ci", key[:12]]
    assert number in ctl.ok("key", "ls", "-q").split()
    assert number in [k["id"] for k in ctl.json("key", "ls")["keys"]]
    second = ctl.json("key", "create")
    assert second["key"].startswith("wrn_")
    done = ctl.run("key", "rm", number, NO_KEY, second["id"])
    assert done.returncode == 3
    assert done.stdout.decode().split() == [number, second["id"]]
    assert NO_KEY.encode() in done.stderr
    assert not {number, second["id"]} & set(ctl.ok("key", "ls", "-q").split())
    for words in (["create", "a", "b"], ["ls", "x"], ["rm"], ["rm", "ci"], [], ["x"]):
        assert ctl.run("key", *words).returncode == 2, words


def test_wrennctl_hosts(cloud, people, ctl):
    done = ctl.run("host", "create", "--type", "regular", "--provider", "own", "--zone", "eu")
    assert done.returncode == 0 and len(done.stdout.split()) == 1 and len(done.stdout) > 30
    host = re.search(rb"host-\w{25}", done.stderr)[0].decode()
    head, *rows = ctl.ok("host", "ls").splitlines()
    assert head.split() == [
        "ID", "STATUS", "TYPE", "CPUS", "MEMORY", "SEEN", "PROVIDER", "ZONE"]
    assert [r.split()[0:3] for r in rows] == [[host, "pending", "regular"]]
    assert ctl.ok("host", "ls", "-q").split() == [host]
    assert ctl.json("host", "get", host)["provider"] == "own"
    assert "pending" in ctl.ok("host", "get", host)
    assert len(ctl.ok("host", "token", host)) > 30
    assert ctl.json("host", "token", host)["host"]["id"] == host
    assert ctl.ok("host", "tag", host, "gpu", "big one") == ""
    # Both at once: the server has them in the order in which they came.
    assert sorted(ctl.ok("host", "tags", host).splitlines()) == ["big one", "gpu"]
    assert sorted(ctl.json("host", "tags", host)["tags"]) == ["big one", "gpu"]
    ctl.ok("host", "untag", host, "big one")
    assert ctl.ok("host", "tags", host) == "gpu\n"
    capsule = cloud.create()
    cloud.admin("POST", "/hosts/" + host, {"capsules": [capsule]})
    assert ctl.ok("host", "rm", "--dry-run", host) == capsule + "\n"
    assert ctl.json("host", "rm", "--dry-run", host)["sandbox_ids"] == [capsule]
    done = ctl.run("host", "rm", host)
    assert (done.returncode, done.stdout) == (4, b"") and capsule.encode() in done.stderr
    done = ctl.run("-o", "json", "host", "rm", host)
    assert json.loads(done.stderr)["error"]["data"]["capsule_ids"] == [capsule]
    assert ctl.ok("host", "rm", "--force", host) == host + "\n"
    assert capsule not in cloud.alive()
    for words in (["create"], ["create", "--type", "x"], ["get"], ["rm"], ["rm", "x"], ["tag", host],
                  ["tag", host, ".."], ["token", "x", "y"], []):
        assert ctl.run("host", *words).returncode == 2, words


def test_wrennctl_without_a_token(ctl):
    for words in (["host", "ls"], ["key", "ls"], ["key", "create"]):
        done = ctl.run(*words)
        assert done.returncode == 5 and b"wrennctl login" in done.stderr


def test_wrennctl_says_where_to_look(cloud, people, ctl, host, capsule):
    """Whether a key was made is not to be seen among the capsules."""
    cloud.fault({"lose_answer": True}, match={"method": "POST"}, count=-1)
    for words, look in (
            (["key", "create"], "key ls"), (["host", "create", "--type", "regular"], "host ls"),
            (["host", "token", host], "host ls"), (["snapshot", "create", capsule], "snapshot ls"),
            (["exec", "-d", capsule, "true"], "ps"), (["create"], "ls -a")):
        done = ctl.run(*words)
        assert done.returncode == (125 if words[0] == "exec" else 9), words
        assert f"look with `wrennctl {look}` before".encode() in done.stderr, (words, done)
    cloud.clear_faults()


def test_wrennctl_prints_what_grows(cloud, people, ctl, host):
    """Each of these takes three times its place once it can be seen."""
    rule = {"match": {"path": "/host-"}, "action": {
        "status": 200, "content_type": "application/json",
        "body": '{"id":"%s"}' % ("\u0085" * 3_500_000)}}
    connection, answer = cloud.open(
        "POST", "/_standin/faults", json.dumps(rule, ensure_ascii=False).encode(), key="")
    assert answer.status == 201
    connection.close()
    done = ctl.run("host", "get", host)
    assert done.returncode == 0 and done.stderr == b""
    assert done.stdout.count(rb"\u{85}") == 3_500_000


def test_wrennctl_names_the_host_in_an_error(people, ctl, host):
    done = ctl.run("host", "rm", "--dry-run", host, NO_HOST)
    assert done.returncode == 3 and NO_HOST.encode() in done.stderr
