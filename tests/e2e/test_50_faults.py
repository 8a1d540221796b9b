"""What goes wrong upstream: errors, lost answers, outages, one connection."""
import socket

import pytest

from testenv.client import until
from testenv.ctl import Ctl
from testenv.expect import fails, good, together

LIST = {"method": "GET", "path": "^/v1/capsules$"}
CREATE = {"method": "POST", "path": "^/v1/capsules$"}
EXEC = {"method": "POST", "path": "/exec$"}
DELETE = {"method": "DELETE"}


def sent(cloud, method, path="/v1/capsules"):
    return cloud.requests(method=method, path=path)


def rows(daemon):
    """(status, record) of what capsule.list shows."""
    listed = daemon.call("capsule.list")["capsules"]
    return [(c["status"], c["record"]) for c in listed]


# ---- errors of a plain call ----

ANSWERS = [
    ({"status": 400}, "validation", 2, ""),
    ({"status": 401}, "unauthorized", 5, "wrennctl whoami"),
    ({"status": 403}, "forbidden", 6, ""),
    ({"status": 404}, "not_found", 3, ""),
    ({"status": 409}, "conflict", 4, ""),
    ({"status": 418, "code": "teapot", "message": "short"}, "upstream_error", 1, "short"),
    ({"status": 500}, "upstream_internal", 7, ""),
    ({"status": 502, "code": "agent_error"}, "agent_error", 7, ""),
    ({"status": 503, "code": "no_hosts_available", "message": "all full"},
     "host_unavailable", 7, "all full"),
    ({"status": 502, "body": "<html>oops"}, "upstream_internal", 7, "502"),
    ({"status": 504, "body": ""}, "upstream_internal", 7, "504"),
    ({"status": 200, "body": "<html>log in"}, "bad_answer", 7, "base_url"),
    ({"redirect": "http://127.0.0.1:9/"}, "bad_answer", 7, "not followed"),
    ({"bad_json": True}, "bad_answer", 7, "not JSON"),
    ({"status": 200, "body": "{}", "content_type": "application/json"},
     "bad_answer", 7, "not an array"),
    ({"huge_body": 20 << 20}, "too_large", 11, "larger"),
]


@pytest.mark.parametrize("action, name, status, words", ANSWERS)
def test_answers(cloud, daemon, action, name, status, words):
    made = daemon.call("capsule.create")["id"]
    cloud.fault(action, match=LIST, count=-1)
    with fails(name) as error:
        daemon.call("capsule.list")
    assert words in error.value.message
    if "status" in action and name != "bad_answer":
        assert error.value.data["http_status"] == action["status"]
    done = Ctl(daemon).run("ls")
    assert done.returncode == status, done
    assert done.stdout == b"" and done.stderr
    # Whatever it was, the capsule is still known and reached.
    assert daemon.call("capsule.get", {"capsule": made})["status"] == "running"


def test_redirect_is_not_followed(cloud, daemon):
    with socket.create_server(("127.0.0.1", 0)) as trap:
        port = trap.getsockname()[1]
        for status in (301, 302, 307, 308):
            cloud.fault({"redirect": f"http://127.0.0.1:{port}/",
                         "status": status}, match=LIST)
            with fails("bad_answer"):
                daemon.call("capsule.list")
        trap.setblocking(False)
        with pytest.raises(BlockingIOError):
            trap.accept()
    assert len(sent(cloud, "GET")) == 4


def test_other_content_type_does_not_matter(cloud, daemon):
    cloud.fault({"wrong_type": "text/plain"}, match=LIST)
    assert daemon.call("capsule.list") == {"capsules": []}


def test_slow_body(cloud, daemon):
    made = daemon.call("capsule.create")["id"]
    cloud.fault({"slow_body": 1000}, match={"path": made})
    assert daemon.call("capsule.get", {"capsule": made})["id"] == made


def test_empty_list_changes_nothing(cloud, daemon):
    made = daemon.call("capsule.create", {"name": "web"})["id"]
    cloud.fault({"empty_list": True}, match=LIST)
    assert rows(daemon) == [("unlisted", "live")]
    assert rows(daemon) == [("running", "live")]
    assert daemon.call("capsule.get", {"capsule": "web"})["id"] == made


@pytest.mark.parametrize("text", [
    "cl-", "cl-UPPER", "cl-" + "A" * 25, "cl-" + "a" * 24, "cl-" + "a" * 26,
    "cl-../../v1/capsules", "cl-" + "a" * 22 + "%2e", "../me", "cl-a?b=c",
])
def test_malformed_id_goes_nowhere(cloud, daemon, text):
    with fails("not_found"):
        daemon.call("capsule.get", {"capsule": text})
    assert cloud.ledger() == []


def test_unknown_id(cloud, daemon):
    with fails("not_found") as error:
        daemon.call("capsule.get", {"capsule": "cl-" + "a" * 25})
    assert error.value.data["upstream_code"] == "not_found"
    assert error.value.data["class"] == "WrennNotFoundError"


# ---- credentials and connections ----

def refused(daemon, name, status, words):
    daemon.start()
    with fails(name) as error:
        daemon.call("capsule.list")
    assert words in error.value.message, error.value.message
    done = Ctl(daemon).run("ls")
    assert (done.returncode, done.stdout) == (status, b"")


def test_wrong_key(make_daemon):
    refused(make_daemon(key="wrn_" + "0" * 32), "unauthorized", 5, "whoami")


def without_key(cloud, ca_file=None, url=None):
    return (f"base_url = {url or cloud.ready['tls_url']}\n"
            f"ca_file = {ca_file or cloud.ready['ca_file']}\n")


def test_missing_key(cloud, make_daemon):
    daemon = make_daemon(None, profile=without_key(cloud))
    refused(daemon, "no_credential", 5, "api_key_file")
    assert cloud.ledger() == []


KEY = {"WRENN_API_KEY": "wrn_" + "1" * 32}


@pytest.mark.parametrize("url", ["https://localhost:{port}/api", "https://no-such.invalid/api"])
def test_unreachable(cloud, make_daemon, url):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = url.format(port=nobody.getsockname()[1])
        daemon = make_daemon(None, env=KEY, profile=without_key(
            cloud, url=url) + "connect_timeout = 2s")
        refused(daemon, "unreachable", 7, "nothing was sent")
        assert daemon.call("daemon.status")["upstream"]["state"] == "down"
        with fails("unreachable"):
            daemon.call("capsule.create")
        assert daemon.call("daemon.status")["capsules"]["uncertain"] == 0


def test_certificate_of_another_name(make_cloud, make_daemon):
    cloud = make_cloud("--cert-name", "other.example")
    refused(make_daemon(cloud), "tls_failed", 7, "ca_file")
    assert cloud.ledger() == []


def test_untrusted_authority(cloud, make_cloud, make_daemon):
    other = make_cloud()
    daemon = make_daemon(None, env=KEY, profile=without_key(
        cloud, other.ready["ca_file"]))
    refused(daemon, "tls_failed", 7, "ca_file")
    assert cloud.ledger() == []


# ---- creates whose answer is lost ----

LOST = [
    {"lose_answer": True}, {"drop_edge": "after"}, {"bad_json": True},
    {"status": 200, "body": "<html>"}, {"status": 502, "body": "<html>"},
    {"drop_edge": "before"}, {"reset_before": True}, {"huge_body": 20 << 20},
]


@pytest.mark.parametrize("action", LOST, ids=lambda a: "-".join(map(str, a)))
def test_lost_create(cloud, daemon, action):
    before = cloud.alive()
    cloud.fault(action, match=CREATE)
    with fails("outcome_unknown") as error:
        daemon.call("capsule.create", {"name": "lost"})
    record = error.value.data["record"]
    assert record in error.value.message
    assert len(sent(cloud, "POST")) == 1
    assert len(cloud.alive() - before) == len(cloud.requests(executed=True))
    shown = [("uncertain", "uncertain")]
    assert rows(daemon) == shown
    daemon.kill()
    daemon.start()
    assert rows(daemon) == shown
    with fails("conflict"):
        daemon.call("exec.run", {"capsule": record, "cmd": "true"})
    assert daemon.call("capsule.destroy", {"capsule": record}) == {
        "id": record, "state": "forgotten"}
    assert rows(daemon) == []
    assert len(sent(cloud, "POST")) == 1
    assert not cloud.requests(**DELETE)


def test_lost_create_with_a_key_is_not_repeated(cloud, daemon):
    cloud.fault({"lose_answer": True}, match=CREATE)
    for _ in range(3):
        with fails("outcome_unknown"):
            daemon.call("capsule.create", {"key": "k"})
    assert len(sent(cloud, "POST")) == 1


def test_lost_create_exit_status(cloud, daemon):
    cloud.fault({"lose_answer": True}, match=CREATE)
    done = Ctl(daemon).run("create")
    assert done.returncode == 9, done
    assert b"rec-" in done.stderr and done.stdout == b""


@pytest.mark.parametrize("action, name", [
    ({"status": 503, "code": "no_hosts_available"}, "host_unavailable"),
    ({"status": 404}, "not_found"), ({"status": 401}, "unauthorized"),
    ({"redirect": "https://elsewhere.invalid/"}, "bad_answer"),
])
def test_refused_create_leaves_no_record(cloud, daemon, action, name):
    cloud.fault(action, match=CREATE)
    with fails(name):
        daemon.call("capsule.create", {"name": "web"})
    assert len(sent(cloud, "POST")) == 1
    assert rows(daemon) == []
    daemon.kill()
    daemon.start()
    assert rows(daemon) == []


# ---- what is sent again, and what never is ----

@pytest.mark.parametrize("action, count", [
    ({"reset_before": True}, 3), ({"drop_edge": "before"}, 1),
    ({"drop_edge": "after"}, 1), ({"status": 503}, 3), ({"cut_after": 1}, 2),
])
def test_get_is_sent_again(cloud, daemon, action, count):
    made = daemon.call("capsule.create")["id"]
    cloud.fault(action, match={"method": "GET"}, count=count)
    assert daemon.call("capsule.get", {"capsule": made})["id"] == made
    assert len(sent(cloud, "GET", f"/v1/capsules/{made}")) == count + 1
    assert daemon.call("daemon.status")["upstream"]["retries"] == count


@pytest.mark.parametrize("action", [
    {"reset_before": True}, {"drop_edge": "after"}, {"lose_answer": True}])
def test_delete_is_sent_again(cloud, daemon, action):
    made = daemon.call("capsule.create")["id"]
    cloud.fault(action, match=DELETE)
    assert daemon.call("capsule.destroy", {"capsule": made})["state"] == "gone"
    assert made not in cloud.alive()
    assert rows(daemon) == []


def test_ping_is_sent_again(cloud, daemon):
    made = daemon.call("capsule.create")["id"]
    cloud.fault({"drop_edge": "before"}, match={"path": "/ping$"})
    assert daemon.call("capsule.ping", {"capsule": made}) == {}


@pytest.mark.parametrize("action", [
    {"drop_edge": "before"}, {"drop_edge": "after"}, {"lose_answer": True},
    {"reset_before": True}, {"cut_after": 10}])
def test_exec_is_never_sent_again(cloud, daemon, action):
    made = daemon.call("capsule.create")["id"]
    cloud.fault(action, match=EXEC)
    with fails("outcome_unknown"):
        daemon.call("exec.run", {"capsule": made, "cmd": "true"})
    assert len(sent(cloud, "POST", f"/v1/capsules/{made}/exec")) == 1
    daemon.call("exec.run", {"capsule": made, "cmd": "true"})


@pytest.mark.parametrize("action", [{"drop_edge": "before"}, {"lose_answer": True}])
def test_write_is_never_sent_again(cloud, daemon, action):
    made = daemon.call("capsule.create")["id"]
    cloud.fault(action, match={"path": "/files/"})
    with fails("outcome_unknown"):
        daemon.call("file.write", {"capsule": made, "path": "/root/f", "text": "x"})
    assert len(sent(cloud, "POST", f"/v1/capsules/{made}/files/stream/write")) == 1


# ---- destroying against odds ----

@pytest.mark.parametrize("action, name", [
    ({"status": 404}, "not_found"), ({"status": 401}, "unauthorized"),
    ({"status": 500}, "upstream_internal"),
])
def test_destroy_that_fails_first(cloud, daemon, action, name):
    made = daemon.call("capsule.create", {"name": "web"})["id"]
    cloud.fault(action, match=DELETE)
    with fails(name) as error:
        daemon.call("capsule.destroy", {"capsule": "web"})
    assert "goes on trying" in error.value.message
    assert daemon.call("capsule.get", {"capsule": made})["record"] == "ending"
    if name == "not_found":
        # No proof: it stays on record, and a second try by hand ends it.
        assert ("running", "ending") in rows(daemon)
        assert daemon.call("capsule.destroy", {"capsule": made})["state"] == "gone"
    until(lambda: rows(daemon) == [])
    assert made not in cloud.alive()


# ---- outages ----

def test_outage(cloud, daemon):
    made = daemon.call("capsule.create")["id"]
    cloud.admin("DELETE", "/ledger")
    cloud.admin("POST", "/outage", {"seconds": 600})
    try:
        for method, params in [
                ("capsule.get", {"capsule": made}), ("capsule.list", {}),
                ("exec.run", {"capsule": made, "cmd": "true"}),
                ("capsule.create", {"name": "never"})]:
            with pytest.raises(Exception) as error:
                daemon.call(method, params)
            # A call on the connection that has just died may have arrived.
            assert error.value.name in ("unreachable", "outcome_unknown"), method
            assert daemon.call("daemon.status")["upstream"]["state"] == "down"
        with fails("unreachable"):
            daemon.call("capsule.create", {"name": "never"})
    finally:
        cloud.admin("DELETE", "/outage")
    assert daemon.call("capsule.get", {"capsule": made})["id"] == made
    assert daemon.call("daemon.status")["upstream"]["state"] == "up"
    assert rows(daemon) == [("running", "live")]
    assert not cloud.requests(method="POST", executed=True)


def test_destroy_over_an_outage(cloud, daemon):
    made = daemon.call("capsule.create")["id"]
    cloud.admin("POST", "/outage", {"seconds": 600})
    try:
        with fails("unreachable") as error:
            daemon.call("capsule.destroy", {"capsule": made})
        assert "goes on trying" in error.value.message
    finally:
        cloud.admin("DELETE", "/outage")
    until(lambda: made not in cloud.alive())
    until(lambda: rows(daemon) == [])


@pytest.mark.parametrize("method, match", [
    ("capsule.get", {"method": "GET"}), ("capsule.ping", {"path": "/ping$"}),
    ("exec.run", EXEC), ("file.list", {"path": "/files/list$"}),
])
def test_cancel_while_upstream_hangs(cloud, daemon, method, match):
    made = daemon.call("capsule.create")["id"]
    cloud.fault({"hang": True}, match=match, count=-1)
    params = {"capsule": made}
    params.update({"exec.run": {"cmd": "true"}, "file.list": {"path": "/"}}
                  .get(method, {}))
    with daemon.client() as client:
        number = client.send(method, params)
        until(lambda: cloud.requests(fault=cloud.admin("GET", "/faults")[0]["id"]))
        assert client.call("call.cancel", {"call": number})["cancelled"] is True
        with fails("cancelled"):
            client.wait(number)
        status = client.call("daemon.status")
        assert status["upstream"]["in_flight"] == 0
        assert status["calls"]["in_flight"] == 1


def test_wait_keeps_its_deadline_while_upstream_hangs(cloud, daemon):
    made = daemon.call("capsule.create")["id"]
    cloud.fault({"hang": True}, match={"method": "GET"}, count=-1)
    with daemon.client() as client:
        client.sock.settimeout(20)
        with fails("timeout"):
            client.call("capsule.wait", {
                "capsule": made, "status": "paused", "timeout_sec": 1})


def test_a_hanging_call_stops_no_other(cloud, daemon):
    made = daemon.call("capsule.create")["id"]
    cloud.fault({"hang": True}, match=EXEC)
    with daemon.client() as client:
        client.send("exec.run", {"capsule": made, "cmd": "true"})
        until(lambda: sent(cloud, "POST", f"/v1/capsules/{made}/exec"))
        for i in range(20):
            done = client.call("exec.run", {
                "capsule": made, "cmd": "echo", "args": [str(i)]})
            assert done["stdout"] == f"{i}\n"


# ---- connections ----

@pytest.mark.parametrize("action", ["restart", "goaway"])
def test_edge_goes_under_load(cloud, daemon, action):
    """50 different requests under way when their connection goes."""
    others = [cloud.admin("POST", "/capsules", {})["id"] for _ in range(50)]
    cloud.fault({"delay": 0.5}, match={"method": "GET"}, count=50)
    with daemon.client() as client:
        for _ in range(2):
            numbers = [client.send("capsule.get", {"capsule": i}) for i in others]
            until(lambda: len(cloud.requests(method="GET")) >= 50)
            cloud.admin("POST", "/edge", {"action": action})
            assert [client.wait(n)["id"] for n in numbers] == others
            cloud.admin("DELETE", "/ledger")
            cloud.fault({"delay": 0.5}, match={"method": "GET"}, count=50)


def test_one_connection_for_all(make_cloud, make_daemon):
    cloud = make_cloud()
    daemon = make_daemon(cloud).start()
    made = daemon.call("capsule.create")["id"]

    def work(client, index):
        for turn in range(3):
            token = f"token-{index}-{turn}"
            numbers = [
                client.send("exec.run", {
                    "capsule": made, "cmd": "echo", "args": [token]}),
                client.send("capsule.get", {"capsule": made}),
                client.send("capsule.list"),
            ]
            run, get, listed = [client.wait(n) for n in numbers]
            assert run["stdout"] == token + "\n"
            assert get["id"] == made
            assert [c["id"] for c in listed["capsules"]] == [made]

    good(together(daemon, 100, work))
    assert len(cloud.edge_connections()) == 1
    upstream = daemon.call("daemon.status")["upstream"]
    assert (upstream["connections"], upstream["http_version"]) == (1, "2")
    assert len(cloud.requests(path=f"/v1/capsules/{made}/exec", status=200)) == 300


def test_identical_gets_are_one(cloud, daemon):
    made = daemon.call("capsule.create")["id"]
    cloud.fault({"delay": 1}, match={"method": "GET"}, count=-1)
    shown = good(together(daemon, 50, lambda c, _: c.call(
        "capsule.get", {"capsule": made})))
    assert [s["id"] for s in shown] == [made] * 50
    assert len(sent(cloud, "GET", f"/v1/capsules/{made}")) <= 3
    assert daemon.call("daemon.status")["upstream"]["shared"] >= 47


def test_one_of_the_sharing_leaves(cloud, daemon):
    made = daemon.call("capsule.create")["id"]
    cloud.fault({"delay": 1}, match={"method": "GET"})
    with daemon.client() as stays, daemon.client() as goes:
        gone = goes.send("capsule.get", {"capsule": made})
        number = stays.send("capsule.get", {"capsule": made})
        until(lambda: daemon.call("daemon.status")["upstream"]["shared"] == 1)
        goes.call("call.cancel", {"call": gone})
        assert stays.wait(number)["id"] == made
    assert len(sent(cloud, "GET", f"/v1/capsules/{made}")) == 1
