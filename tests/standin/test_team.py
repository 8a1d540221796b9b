"""What belongs to a team: API keys, hosts, snapshots."""
import json
import re

import pytest

from .conftest import KEYS
from .test_api import UNKNOWN, bearer, token_of

NO_HOST = "host-" + "0" * 25


@pytest.fixture
def people(server):
    """people(method, path, body): a call of the first user, logged in."""
    headers = bearer(token_of(server))
    return lambda method, path, body=None: server.call(
        method, path, body, headers, key="")


def other_user(server, **more):
    user = {"email": "other@example.com", "password": "p", **more}
    server.admin("POST", "/users", user)
    token = token_of(server, user["email"], user["password"])
    return lambda method, path, body=None: server.call(
        method, path, body, bearer(token), key="")


@pytest.mark.parametrize("method, path", [
    ("GET", "/v1/api-keys"), ("POST", "/v1/api-keys"),
    ("GET", "/v1/hosts"), ("POST", "/v1/hosts"), ("GET", "/v1/hosts/" + NO_HOST),
    ("DELETE", "/v1/hosts/" + NO_HOST)])
def test_a_key_is_not_enough(server, method, path):
    answer = server.call(method, path, {})
    assert (answer.status, answer.code) == (401, "unauthorized")


# ---- keys ----

def test_a_key_is_shown_once(server, people):
    made = people("POST", "/v1/api-keys", {"name": "ci"})
    assert made.status == 201
    row = made.json
    key = row.pop("key")
    assert re.fullmatch(r"wrn_\w{32}", key)
    assert re.fullmatch(r"key-[0-9a-z]{25}", row["id"])
    assert (row["name"], row["key_prefix"]) == ("ci", key[:12])
    listed = people("GET", "/v1/api-keys")
    assert row in listed.json and key not in listed.body.decode()
    assert server.call("GET", "/v1/capsules", key=key).status == 200
    used = [k for k in people("GET", "/v1/api-keys").json if k["id"] == row["id"]]
    assert "last_used" in used[0]
    path = "/v1/api-keys/" + row["id"]
    assert other_user(server, teams=[1])("DELETE", path).status == 404
    assert people("DELETE", path).status == 204
    assert people("DELETE", path).status == 404
    assert people("DELETE", "/v1/api-keys/ci").status == 400
    assert server.call("GET", "/v1/capsules", key=key).status == 401
    assert key not in json.dumps(server.ledger())


def test_a_key_without_a_name(people):
    made = people("POST", "/v1/api-keys").json
    assert made["name"] == "Unnamed API Key"
    people("DELETE", "/v1/api-keys/" + made["id"])
    assert people("POST", "/v1/api-keys", {"name": "x" * 256}).status == 400


# ---- hosts ----

@pytest.fixture
def host(server, people):
    made = people("POST", "/v1/hosts", {"type": "regular"})
    yield made.json["host"]["id"]
    people("DELETE", f"/v1/hosts/{made.json['host']['id']}?force=true")


def test_hosts(server, people):
    team = server.ready["teams"][0]
    made = people("POST", "/v1/hosts", {
        "type": "byoc", "team_id": team, "provider": "own", "availability_zone": "eu-1"})
    assert made.status == 201 and len(made.json["registration_token"]) > 30
    row = made.json["host"]
    assert (row["type"], row["status"], row["team_id"], row["provider"],
            row["availability_zone"]) == ("byoc", "pending", team, "own", "eu-1")
    path = "/v1/hosts/" + row["id"]
    assert people("GET", path).json == row
    assert row in people("GET", "/v1/hosts").json
    again = people("POST", path + "/token")
    assert again.status == 201
    assert again.json["registration_token"] != made.json["registration_token"]
    server.admin("POST", "/hosts/" + row["id"], {"status": "online"})
    assert people("POST", path + "/token").code == "invalid_state"
    assert people("GET", path).json["status"] == "online"
    assert people("DELETE", path).status == 204
    assert people("GET", path).status == 404


def test_whose_hosts(server, people, host):
    other = other_user(server, teams=[1])
    mine, theirs = server.ready["teams"]
    assert other("GET", "/v1/hosts").json == []
    assert other("GET", "/v1/hosts/" + host).status == 404
    for body, status in (({"type": "regular"}, 403), ({"type": "byoc", "team_id": mine}, 403),
                         ({"type": "byoc"}, 400), ({"type": "other"}, 400), ({}, 400),
                         ({"type": "byoc", "team_id": "mine"}, 400)):
        assert other("POST", "/v1/hosts", body).status == status
    made = other("POST", "/v1/hosts", {"type": "byoc", "team_id": theirs}).json["host"]
    assert [h["id"] for h in other("GET", "/v1/hosts").json] == [made["id"]]
    assert {host, made["id"]} <= {h["id"] for h in people("GET", "/v1/hosts").json}
    assert other("DELETE", "/v1/hosts/" + made["id"]).status == 204


def test_a_host_with_capsules(server, people, host):
    alive, gone = server.create(), server.create()
    server.call("DELETE", "/v1/capsules/" + gone)
    server.admin("POST", "/hosts/" + host, {"capsules": [alive, gone, UNKNOWN]})
    path = "/v1/hosts/" + host
    preview = people("GET", path + "/delete-preview").json
    assert (preview["host"]["id"], preview["sandbox_ids"]) == (host, [alive])
    refused = people("DELETE", path)
    assert (refused.status, refused.code) == (409, "has_active_sandboxes")
    assert refused.json["error"]["sandbox_ids"] == [alive]
    assert people("DELETE", path + "?force=true").status == 204
    assert server.capsule(alive)["status"] == "stopped"


def test_tags(people, host):
    path = f"/v1/hosts/{host}/tags"
    assert people("GET", path).json == []
    for tag in ("gpu", "a b/c", "gpu"):
        assert people("POST", path, {"tag": tag}).status == 204
    assert people("GET", path).json == ["gpu", "a b/c"]
    assert people("DELETE", path + "/a%20b%2Fc").status == 204
    assert people("GET", path).json == ["gpu"]
    assert people("POST", path, {}).status == 400
    assert people("GET", f"/v1/hosts/{NO_HOST}/tags").status == 404
    assert people("GET", "/v1/hosts/x/tags").status == 400


# ---- snapshots ----

@pytest.fixture
def overwriting(server):
    server.admin("POST", "/settings", {"snapshot_overwrite": True})
    yield server
    server.admin("POST", "/settings", {"snapshot_overwrite": False})


def names(server, query="", **kwargs):
    return [t["name"] for t in server.call("GET", "/v1/snapshots" + query, **kwargs).json]


def test_a_snapshot_pauses(server):
    capsule = server.create(vcpus=2, memory_mb=256)
    made = server.call("POST", "/v1/snapshots", {"sandbox_id": capsule, "name": "snap.1"})
    assert made.status == 201
    row = made.json
    assert (row["name"], row["type"], row["vcpus"], row["memory_mb"], row["platform"]) == (
        "snap.1", "snapshot", 2, 256, False)
    assert row["size_bytes"] > 0 and row["created_at"]
    assert server.capsule(capsule)["status"] == "paused"
    unnamed = server.call("POST", "/v1/snapshots", {"sandbox_id": capsule})
    assert unnamed.status == 201 and unnamed.json["name"]
    assert names(server, "?type=snapshot")[:2] == [unnamed.json["name"], "snap.1"]
    assert "minimal" in names(server, "?type=base") and "snap.1" not in names(server, "?type=base")
    assert {"minimal", "snap.1"} <= set(names(server))
    assert server.call("GET", "/v1/snapshots?type=x").status == 400
    # Another team has names of its own.
    assert "snap.1" not in names(server, "?type=snapshot", key=KEYS[1])
    assert server.call("POST", "/v1/capsules", {"template": "snap.1"}, key=KEYS[1]).status == 404
    assert server.call("DELETE", "/v1/snapshots/snap.1", key=KEYS[1]).status == 404
    other = server.call("POST", "/v1/capsules", {"template": "snap.1"}).json
    assert (other["vcpus"], other["memory_mb"]) == (2, 256)
    for name in ("snap.1", unnamed.json["name"]):
        assert server.call("DELETE", "/v1/snapshots/" + name).status == 204
        assert server.call("DELETE", "/v1/snapshots/" + name).status == 404
    for number in (capsule, other["id"]):
        server.call("DELETE", "/v1/capsules/" + number)


def test_a_name_is_taken(server, capsule):
    body = {"sandbox_id": capsule, "name": "taken"}
    assert server.call("POST", "/v1/snapshots", body).status == 201
    for query in ("", "?overwrite=true"):
        answer = server.call("POST", "/v1/snapshots" + query, body)
        assert (answer.status, answer.code) == (409, "template_name_taken")
    assert server.call("DELETE", "/v1/snapshots/taken").status == 204


def test_a_server_that_overwrites(overwriting, capsule):
    body = {"sandbox_id": capsule, "name": "taken"}
    assert overwriting.call("POST", "/v1/snapshots", body).status == 201
    assert overwriting.call("POST", "/v1/snapshots", body).code == "template_name_taken"
    assert overwriting.call("POST", "/v1/snapshots?overwrite=true", body).status == 201
    assert names(overwriting).count("taken") == 1
    overwriting.call("DELETE", "/v1/snapshots/taken")


def test_snapshot_refusals(server, capsule):
    for body, status, code in (
            ({"sandbox_id": capsule, "name": "minimal"}, 409, "name_reserved"),
            ({"sandbox_id": capsule, "name": "../x"}, 400, "invalid_request"),
            ({"sandbox_id": UNKNOWN}, 404, "not_found"),
            ({"sandbox_id": "x"}, 400, "invalid_request"), ({}, 400, "invalid_request")):
        answer = server.call("POST", "/v1/snapshots", body)
        assert (answer.status, answer.code) == (status, code)
    assert server.call("DELETE", "/v1/snapshots/minimal").status == 403
    assert server.capsule(capsule)["status"] == "running"
    body = {"sandbox_id": capsule}
    server.admin("POST", "/capsules/" + capsule, {"pause_fails": True})
    assert server.call("POST", "/v1/snapshots", body).code == "agent_error"
    server.admin("POST", "/capsules/" + capsule, {"status": "missing"})
    assert server.call("POST", "/v1/snapshots", body).code == "invalid_state"
