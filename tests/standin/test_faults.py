"""Faults on demand and outages, at the plain listener."""
import http.client
import json
import socket
import time

import pytest

from .harness import Answer, alive, eventually

LOST = (http.client.RemoteDisconnected, ConnectionResetError,
        ConnectionRefusedError, BrokenPipeError)


def get(server):
    return server.call("GET", "/v1/capsules")


def test_status_code_and_message(server):
    server.fault({"status": 503, "code": "no_hosts_available",
                  "message": "full"})
    answer = get(server)
    assert (answer.status, answer.code, answer.message) == (
        503, "no_hosts_available", "full")
    row = server.ledger()[0]
    assert row["executed"] is False and row["fault"] is not None
    assert get(server).status == 200


@pytest.mark.parametrize("status, code", [
    (401, "unauthorized"), (404, "not_found"), (500, "internal_error")])
def test_a_status_brings_its_usual_code(server, status, code):
    server.fault({"status": status})
    answer = get(server)
    assert (answer.status, answer.code) == (status, code)


def test_a_proxys_html(server):
    server.fault({"status": 502, "body": "<h1>Bad Gateway</h1>"})
    answer = get(server)
    assert (answer.status, answer.body) == (502, b"<h1>Bad Gateway</h1>")
    assert answer.headers["Content-Type"].startswith("text/html")


def test_count_and_skip(server):
    server.fault({"status": 500}, count=2, skip=1)
    assert [get(server).status for _ in range(5)] == [
        200, 500, 500, 200, 200]


def test_for_ever_until_deleted(server):
    rule = server.fault({"status": 500}, count=-1)
    assert {get(server).status for _ in range(4)} == {500}
    assert server.admin("GET", "/faults")[0]["hits"] == 4
    server.admin("DELETE", f"/faults/{rule['id']}")
    assert get(server).status == 200
    assert server.admin("GET", "/faults") == []


def test_match(server, capsule):
    path = "/v1/capsules/" + capsule
    server.fault({"status": 500}, count=-1, match={
        "method": "post", "path": "/ping$", "header": {"X-Mark": "^yes"}})
    assert server.call("POST", path + "/ping").status == 204
    assert server.call("GET", path, headers={"X-Mark": "yes"}).status == 200
    assert server.call("POST", path + "/ping",
                       headers={"X-Mark": "yes"}).status == 500


def test_probability(server):
    server.fault({"status": 500}, count=-1, probability=0.5)
    hits = [get(server).status for _ in range(60)].count(500)
    assert 10 < hits < 50
    server.admin("DELETE", "/faults")
    server.fault({"status": 500}, count=-1, probability=0)
    assert get(server).status == 200


@pytest.mark.parametrize("rule", [
    {}, {"action": {}}, {"action": {"stauts": 500}},
    {"action": {"status": "x"}}, {"match": {"path": "("},
                                  "action": {"status": 500}},
    {"action": {"status": 500}, "colour": 1},
    {"action": {"drop_edge": True}}, {"action": {"slow_body": 0}},
])
def test_rules_that_make_no_sense_are_refused(server, rule):
    connection, response = server.open("POST", "/_standin/faults", rule)
    assert Answer(response).code == "invalid_request"
    connection.close()
    assert server.admin("GET", "/faults") == []


def test_delay_before_and_delay_of_the_answer(server):
    for action in ({"delay": 0.3}, {"delay_answer": 0.3}):
        server.fault(action)
        started = time.monotonic()
        capsule = server.create()
        assert time.monotonic() - started >= 0.3
        row = server.capsule(capsule)
        waited = row["created"] - server.ledger()[-1]["time"]
        assert (waited >= 0.29) is ("delay" in action)
        server.call("DELETE", "/v1/capsules/" + capsule)


def test_reset_before_executes_nothing(server):
    before = len(server.admin("GET", "/capsules"))
    server.fault({"reset_before": True})
    with pytest.raises(LOST):
        server.call("POST", "/v1/capsules", {})
    assert len(server.admin("GET", "/capsules")) == before
    row = server.ledger()[0]
    assert (row["executed"], row["status"]) == (False, None)


def test_lose_answer_executes(server):
    server.fault({"lose_answer": True})
    with pytest.raises(LOST):
        server.call("POST", "/v1/capsules", {})
    row = server.ledger()[0]
    assert (row["executed"], row["status"]) == (True, None)
    assert server.capsule(row["capsule"])["status"] == "running"
    server.call("DELETE", "/v1/capsules/" + row["capsule"])


def test_cut_after(server, capsule):
    whole = server.call("GET", "/v1/capsules/" + capsule).body
    server.fault({"cut_after": 20})
    with pytest.raises(http.client.IncompleteRead) as error:
        server.call("GET", "/v1/capsules/" + capsule)
    assert error.value.partial == whole[:20]
    assert server.ledger()[-1]["status"] is None


def test_slow_body(server, capsule):
    size = len(server.call("GET", "/v1/capsules/" + capsule).body)
    server.fault({"slow_body": size * 4})
    started = time.monotonic()
    assert server.call("GET", "/v1/capsules/" + capsule).json["id"] == capsule
    assert 0.2 < time.monotonic() - started < 5


def test_reset_upload(server, capsule):
    server.fault({"reset_upload": 100000})
    with pytest.raises(LOST):
        server.upload(f"/v1/capsules/{capsule}/files/stream/write",
                      [("path", b"/root/f"), ("file", b"x" * 9000000)])
    assert server.ledger()[-1]["executed"] is False
    assert server.call("POST", f"/v1/capsules/{capsule}/files/read",
                       {"path": "/root/f"}).status == 404


def test_hang_lasts_until_the_client_goes(server):
    server.fault({"hang": True})
    connection = server.send("GET", "/v1/capsules")
    connection.sock.settimeout(0.2)
    with pytest.raises(socket.timeout):
        connection.getresponse()
    assert server.ledger()[0]["seconds"] is None
    connection.close()
    eventually(lambda: server.ledger()[0]["seconds"] is not None)
    assert server.ledger()[0]["executed"] is False


def test_redirect(server):
    server.fault({"redirect": "https://elsewhere.example/"})
    answer = get(server)
    assert answer.status == 307
    assert answer.headers["Location"] == "https://elsewhere.example/"


def test_bent_bodies(server, capsule):
    server.fault({"empty_list": True})
    assert get(server).json == []
    server.fault({"bad_json": True})
    bad = get(server)
    assert bad.status == 200
    with pytest.raises(ValueError):
        json.loads(bad.body)
    server.fault({"wrong_type": "text/html"})
    assert get(server).headers["Content-Type"].startswith("text/html")
    server.fault({"huge_body": 20000000})
    assert len(get(server).json["pad"]) == 20000000


def test_only_one_rule_takes_a_request(server):
    server.fault({"status": 500})
    server.fault({"status": 503})
    assert [get(server).status for _ in range(3)] == [500, 503, 200]


def test_admin_calls_are_beyond_faults_and_ledger(server):
    server.fault({"status": 500}, count=-1)
    assert server.admin("GET", "/status")["isolation"] in ("mount", "cwd")
    assert [row["path"] for row in server.ledger()] == []


def test_an_outage_ends_what_is_under_way(server, capsule):
    connection = server.send("POST", f"/v1/capsules/{capsule}/exec",
                             {"cmd": "sleep", "args": ["60"]})
    pids = eventually(lambda: server.capsule(capsule)["pids"])
    server.admin("POST", "/outage", {"seconds": 60})
    with pytest.raises(LOST):
        connection.getresponse()
    with pytest.raises(LOST):
        get(server)
    eventually(lambda: not any(alive(pid) for pid in pids))
    server.admin("DELETE", "/outage")
    assert get(server).status == 200
    refused = [row for row in server.ledger() if row["method"] == "GET"][0]
    assert (refused["executed"], refused["status"]) == (False, None)


def test_an_outage_ends_by_itself(server):
    server.admin("POST", "/outage", {"seconds": 0.2})
    with pytest.raises(LOST):
        get(server)
    eventually(lambda: server.admin("GET", "/status")["outage"] is None)
    assert get(server).status == 200


def test_a_hanging_outage_delays(server):
    server.admin("POST", "/outage", {"seconds": 60, "mode": "hang"})
    connection = server.send("GET", "/v1/capsules")
    connection.sock.settimeout(0.2)
    with pytest.raises(socket.timeout):
        connection.getresponse()
    connection.close()
    connection = server.send("GET", "/v1/capsules")
    server.admin("DELETE", "/outage")
    assert connection.getresponse().status == 200
    connection.close()
