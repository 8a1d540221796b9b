"""Authentication, errors and the life of capsules."""
import base64
import json
import re
import time

import pytest

from .conftest import KEYS
from .harness import eventually

UNKNOWN = "cl-" + "0" * 25
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def token_of(server, email="dev@example.com", password="secret"):
    answer = server.call(
        "POST", "/v1/auth/login", {"email": email, "password": password},
        key="",
    )
    assert answer.status == 200
    return answer.json["token"]


def bearer(token):
    return {"Authorization": "Bearer " + token}


def test_health_and_openapi_need_no_credential(server):
    health = server.call("GET", "/health", key="")
    assert health.status == 200 and health.json["status"] == "ok"
    document = server.call("GET", "/openapi.yaml", key="")
    assert b"/v1/capsules/{id}/exec:" in document.body


@pytest.mark.parametrize("headers", [
    {}, {"X-API-Key": "wrn_" + "z" * 32}, {"Authorization": "Bearer x.y.z"},
    {"Authorization": "Basic abc"}, {"Authorization": "Bearer "},
])
def test_bad_credentials_are_401(server, headers):
    answer = server.call("GET", "/v1/capsules", headers=headers, key="")
    assert (answer.status, answer.code) == (401, "unauthorized")


def test_the_api_key_is_looked_at_first(server):
    headers = bearer(token_of(server))
    answer = server.call("GET", "/v1/capsules", headers=headers, key="wrn_bad")
    assert answer.status == 401
    answer = server.call("GET", "/v1/capsules", headers=headers)
    assert answer.status == 200
    assert [row["auth"] for row in server.ledger()] == [
        "none", "bad", "api_key"]


def test_jwt_serves_for_capsules_and_alone_for_accounts(server):
    headers = bearer(token_of(server))
    assert server.call(
        "GET", "/v1/capsules", headers=headers, key="").status == 200
    me = server.call("GET", "/v1/me", headers=headers, key="")
    assert me.json["email"] == "dev@example.com"
    assert server.call("GET", "/v1/me").status == 401


def test_a_changed_or_expired_jwt_is_refused(server):
    head, claims, signature = token_of(server).split(".")
    padded = claims + "=" * (-len(claims) % 4)
    body = json.loads(base64.urlsafe_b64decode(padded))
    assert body["exp"] - body["iat"] == 6 * 3600
    body["team_id"] = server.ready["teams"][1]
    forged = base64.urlsafe_b64encode(json.dumps(body).encode()).decode()
    token = f"{head}.{forged.rstrip('=')}.{signature}"
    answer = server.call("GET", "/v1/me", headers=bearer(token), key="")
    assert answer.status == 401
    server.admin("POST", "/settings", {"jwt_ttl": -1})
    try:
        token = token_of(server)
    finally:
        server.admin("POST", "/settings", {"jwt_ttl": 21600})
    assert server.call(
        "GET", "/v1/me", headers=bearer(token), key="").status == 401


def test_login_refusals(server):
    for body, status, code in (
        ({"email": "dev@example.com", "password": "x"}, 401, "unauthorized"),
        ({"email": "no@example.com", "password": "x"}, 401, "unauthorized"),
        ({"email": "dev@example.com"}, 400, "invalid_request"),
    ):
        answer = server.call("POST", "/v1/auth/login", body, key="")
        assert (answer.status, answer.code) == (status, code)
    for state, code in (("not_activated", "account_not_activated"),
                        ("disabled", "account_disabled")):
        user = {"email": "x@example.com", "password": "p"}
        server.admin("POST", "/users", {**user, "state": state})
        answer = server.call("POST", "/v1/auth/login", user, key="")
        assert (answer.status, answer.code) == (403, code)


def test_switch_team(server):
    teams = server.ready["teams"]
    user = {"email": "two@example.com", "password": "p"}
    server.admin("POST", "/users", {**user, "teams": [0, 1]})
    first = server.call("POST", "/v1/auth/login", user, key="").json
    assert first["team_id"] == teams[0]
    second = server.call(
        "POST", "/v1/auth/switch-team", {"team_id": teams[1]},
        bearer(first["token"]), key="").json
    assert second["team_id"] == teams[1]
    other = server.create()
    answer = server.call("GET", "/v1/capsules/" + other,
                         headers=bearer(second["token"]), key="")
    assert answer.status == 404
    server.call("DELETE", "/v1/capsules/" + other)
    refused = server.call(
        "POST", "/v1/auth/switch-team", {"team_id": teams[1]},
        bearer(token_of(server)), key="")
    assert refused.status == 403


def test_keys_come_and_go(server):
    key = "wrn_" + "c" * 32
    server.admin("POST", "/keys", {"key": key, "new_team": True})
    assert server.call("GET", "/v1/capsules", key=key).json == []
    server.admin("DELETE", "/keys/" + key)
    assert server.call("GET", "/v1/capsules", key=key).status == 401


def test_create_answers_a_running_capsule(server):
    answer = server.call("POST", "/v1/capsules", {
        "template": "ubuntu", "vcpus": 2, "memory_mb": 1024,
        "timeout_sec": 300})
    capsule = answer.json
    assert answer.status == 201
    assert re.fullmatch(r"cl-[0-9a-z]{25}", capsule["id"])
    assert capsule["status"] == "running"
    assert (capsule["template"], capsule["vcpus"], capsule["memory_mb"],
            capsule["timeout_sec"]) == ("ubuntu", 2, 1024, 300)
    for name in ("created_at", "started_at", "last_active_at",
                 "last_updated"):
        assert RFC3339.fullmatch(capsule[name])
    got = server.call("GET", "/v1/capsules/" + capsule["id"]).json
    assert got == capsule
    server.call("DELETE", "/v1/capsules/" + capsule["id"])


def test_create_defaults(server, capsule):
    got = server.call("GET", "/v1/capsules/" + capsule).json
    assert (got["template"], got["vcpus"], got["memory_mb"],
            got["timeout_sec"]) == ("minimal", 1, 512, 0)


@pytest.mark.parametrize("body, status, code", [
    ({"template": "no-such"}, 404, "not_found"),
    ({"template": "../x"}, 400, "invalid_request"),
    ({"template": 7}, 400, "invalid_request"),
    ({"vcpus": "two"}, 400, "invalid_request"),
    ({"vcpus": True}, 400, "invalid_request"),
    ({"memory_mb": -1}, 400, "invalid_request"),
    ({"timeout_sec": 1.5}, 400, "invalid_request"),
    ([], 400, "invalid_request"),
])
def test_create_refusals_make_nothing(server, body, status, code):
    before = len(server.admin("GET", "/capsules"))
    answer = server.call("POST", "/v1/capsules", body)
    assert (answer.status, answer.code) == (status, code)
    assert len(server.admin("GET", "/capsules")) == before
    assert server.ledger()[-1]["executed"] is False


def test_a_snapshot_fixes_the_size(server):
    server.admin("POST", "/templates",
                 {"name": "snap", "vcpus": 4, "memory_mb": 2048})
    answer = server.call("POST", "/v1/capsules",
                         {"template": "snap", "vcpus": 1, "memory_mb": 128})
    assert (answer.json["vcpus"], answer.json["memory_mb"]) == (4, 2048)
    server.call("DELETE", "/v1/capsules/" + answer.json["id"])


def test_a_create_hung_up_on_stays_pending(server):
    server.admin("POST", "/settings", {"create_delay": 0.3})
    try:
        connection = server.send("POST", "/v1/capsules", {})
        row = eventually(lambda: [
            c for c in server.admin("GET", "/capsules")
            if c["status"] == "pending"])[0]
        connection.close()
        eventually(lambda: server.ledger()[0]["seconds"] is not None)
        assert server.ledger()[0]["status"] is None
        assert server.ledger()[0]["executed"] is True
        slow = server.call("POST", "/v1/capsules", {})
        assert slow.json["status"] == "running"
    finally:
        server.admin("POST", "/settings", {"create_delay": 0})
    path = "/v1/capsules/" + row["id"]
    assert server.call("GET", path).json["status"] == "pending"
    listed = server.call("GET", "/v1/capsules").json
    assert row["id"] in [c["id"] for c in listed]
    assert server.call("POST", path + "/ping").status == 409
    assert server.call("DELETE", path).status == 204


def test_list_is_newest_first_without_stopped_and_error(server):
    ids = [server.create() for _ in range(4)]
    server.call("DELETE", "/v1/capsules/" + ids[1])
    server.admin("POST", "/capsules/" + ids[2], {"status": "error"})
    listed = [c["id"] for c in server.call("GET", "/v1/capsules").json]
    assert [i for i in listed if i in ids] == [ids[3], ids[0]]
    for name in ids:
        assert server.call("DELETE", "/v1/capsules/" + name).status == 204


def test_destroyed_stays_readable(server, capsule):
    path = "/v1/capsules/" + capsule
    assert server.call("DELETE", path).status == 204
    assert server.call("DELETE", path).status == 204
    answer = server.call("GET", path)
    assert (answer.status, answer.json["status"]) == (200, "stopped")
    assert server.call("POST", path + "/resume").code == "invalid_state"


CALLS = [
    ("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume"),
    ("POST", "/ping"), ("GET", "/metrics"), ("POST", "/exec"),
    ("GET", "/processes"), ("DELETE", "/processes/1"),
    ("POST", "/files/read"), ("POST", "/files/write"),
    ("POST", "/files/stream/read"), ("POST", "/files/stream/write"),
    ("POST", "/files/list"), ("POST", "/files/mkdir"),
    ("POST", "/files/remove"),
]


@pytest.mark.parametrize("method, path", CALLS)
def test_ids_malformed_unknown_and_foreign(server, capsule, method, path):
    for name in ("cl-x", "key-" + "0" * 25, "cl-" + "A" * 25):
        answer = server.call(method, f"/v1/capsules/{name}{path}")
        assert (answer.status, answer.code) == (400, "invalid_request")
    for name, key in ((UNKNOWN, KEYS[0]), (capsule, KEYS[1])):
        answer = server.call(method, f"/v1/capsules/{name}{path}", key=key)
        assert (answer.status, answer.code) == (404, "not_found")
    assert server.capsule(capsule)["status"] == "running"


NEED_RUNNING = [call for call in CALLS
                if call[1] not in ("", "/resume", "/metrics")]


@pytest.mark.parametrize("method, path", NEED_RUNNING)
def test_409_unless_running(server, capsule, method, path):
    for status in ("paused", "pending", "missing", "hibernated"):
        server.admin("POST", "/capsules/" + capsule, {"status": status})
        answer = server.call(method, f"/v1/capsules/{capsule}{path}")
        assert (answer.status, answer.code) == (409, "invalid_state")


def test_pause_and_resume(server, capsule):
    path = "/v1/capsules/" + capsule
    assert server.call("POST", path + "/resume").status == 409
    paused = server.call("POST", path + "/pause")
    assert (paused.status, paused.json["status"]) == (200, "paused")
    assert server.call("POST", path + "/pause").status == 409
    resumed = server.call("POST", path + "/resume")
    assert (resumed.status, resumed.json["status"]) == (200, "running")


def test_a_pause_can_fail(server, capsule):
    path = "/v1/capsules/" + capsule
    server.admin("POST", "/capsules/" + capsule, {"pause_fails": True})
    assert server.call("POST", path + "/pause").code == "agent_error"
    assert server.call("GET", path).json["status"] == "running"


def test_inactivity_pauses_and_ping_prevents_it(server):
    idle, pinged, never = (
        server.create(timeout_sec=100), server.create(timeout_sec=100),
        server.create())
    for name in (idle, pinged, never):
        server.admin("POST", "/capsules/" + name, {"idle_for": 99.9})
    assert server.call("POST", f"/v1/capsules/{pinged}/ping").status == 204
    eventually(lambda: server.capsule(idle)["status"] == "paused")
    assert server.capsule(pinged)["status"] == "running"
    assert server.capsule(pinged)["pings"] == 1
    assert server.capsule(never)["status"] == "running"
    for name in (idle, pinged, never):
        server.call("DELETE", "/v1/capsules/" + name)


def test_a_failed_inactivity_pause_destroys(server, capsule):
    server.admin("POST", "/capsules/" + capsule, {
        "timeout_sec": 5, "pause_fails": True, "idle_for": 6})
    eventually(lambda: server.capsule(capsule)["status"] == "stopped")


def test_activity_is_stamped_at_the_start_only(server, capsule):
    connection = server.send("POST", f"/v1/capsules/{capsule}/exec",
                             {"cmd": "sleep", "args": ["20"]})
    eventually(lambda: server.capsule(capsule)["pids"])
    assert time.time() - server.capsule(capsule)["last_active"] < 10
    server.admin("POST", "/capsules/" + capsule,
                 {"timeout_sec": 5, "idle_for": 6})
    eventually(lambda: server.capsule(capsule)["status"] == "paused")
    connection.close()


@pytest.mark.parametrize("method, path, body, stamps", [
    ("POST", "/exec", {"cmd": "true"}, True),
    ("POST", "/ping", None, True),
    ("POST", "/files/list", {"path": "/"}, True),
    ("POST", "/files/read", {"path": "/nothing"}, True),
    ("GET", "", None, False),
    ("GET", "/processes", None, False),
    ("GET", "/metrics", None, False),
])
def test_what_counts_as_activity(server, capsule, method, path, body, stamps):
    server.admin("POST", "/capsules/" + capsule, {"idle_for": 1000})
    server.call(method, f"/v1/capsules/{capsule}{path}", body)
    idle = time.time() - server.capsule(capsule)["last_active"]
    assert (idle < 500) is stamps


def test_metrics(server, capsule):
    server.call("POST", f"/v1/capsules/{capsule}/exec", {"cmd": "true"})
    path = f"/v1/capsules/{capsule}/metrics"
    answer = server.call("GET", path + "?range=5m").json
    assert (answer["sandbox_id"], answer["range"]) == (capsule, "5m")
    point = answer["points"][-1]
    assert set(point) == {"timestamp_unix", "cpu_pct", "mem_bytes",
                          "disk_bytes"}
    assert point["mem_bytes"] > 0
    assert server.call("GET", path + "?range=3h").status == 400


def test_team_stats_and_usage(server, capsule):
    stats = server.call("GET", "/v1/capsules/stats?range=1h").json
    assert stats["current"]["running_count"] >= 1
    assert stats["peaks"]["vcpus"] >= stats["current"]["vcpus_reserved"]
    assert len(stats["series"]["labels"]) == len(stats["series"]["running"])
    assert server.call("GET", "/v1/capsules/stats?range=10m").status == 400
    usage = server.call("GET", "/v1/capsules/usage").json
    assert len(usage["points"]) == 30
    assert usage["points"][-1]["cpu_minutes"] > 0
    bad = "/v1/capsules/usage?from=2024-02-02&to=2024-01-01"
    assert server.call("GET", bad).status == 400


def test_unknown_paths_and_methods(server):
    assert server.call("GET", "/v1/nothing").status == 404
    assert server.call("PUT", "/v1/capsules").status == 405
    answer = server.call("POST", "/v1/capsules", b"{not json")
    assert (answer.status, answer.code) == (400, "invalid_request")


def test_the_ledger_tells_all_but_secrets(server):
    capsule = server.create()
    server.call("GET", "/v1/capsules/" + capsule, key=KEYS[1])
    server.call("DELETE", "/v1/capsules/" + capsule)
    rows = server.ledger()
    assert [row["method"] for row in rows] == ["POST", "GET", "DELETE"]
    assert [row["status"] for row in rows] == [201, 404, 204]
    assert [row["executed"] for row in rows] == [True, False, True]
    assert {row["capsule"] for row in rows} == {capsule}
    assert [row["team"] for row in rows] == [
        server.ready["teams"][i] for i in (0, 1, 0)]
    assert "x-api-key" in rows[0]["headers"]
    assert rows[0]["via"] == "plain" and rows[0]["port"] > 0
    assert not any(key in json.dumps(rows) for key in KEYS)
    since = server.admin("GET", f"/ledger?since={rows[1]['n']}")
    assert [row["n"] for row in since] == [rows[2]["n"]]


def test_admin_makes_other_teams_capsules(server):
    row = server.admin("POST", "/capsules", {
        "team": 1, "status": "missing", "age": 1000, "timeout_sec": 77})
    assert time.time() - row["created"] > 999
    path = "/v1/capsules/" + row["id"]
    assert server.call("GET", path).status == 404
    mine = server.call("GET", path, key=KEYS[1]).json
    assert (mine["status"], mine["timeout_sec"]) == ("missing", 77)
    assert row["id"] not in [
        c["id"] for c in server.call("GET", "/v1/capsules").json]
    assert server.call("DELETE", path, key=KEYS[1]).status == 204
