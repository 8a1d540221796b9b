"""The TLS edge: HTTP/2, its log, its faults, its deaths."""
import http.client
import json
import socket
import ssl
import time

import pytest

from . import h2probe
from .h2probe import GOAWAY, H2Probe
from .harness import Standin, alive, eventually


def edge_port(server):
    return int(server.ready["tls_url"].split(":")[2].split("/")[0])


@pytest.fixture
def probe(server):
    probe = H2Probe(edge_port(server), server.ready["ca_file"])
    yield probe
    probe.close()


def start(server, probe, method, path, body=None):
    headers = [("x-api-key", server.key)]
    data = None if body is None else json.dumps(body).encode()
    return probe.open(method, server.url.path + path, headers, data)


def ask(server, probe, method, path, body=None):
    return probe.answer(start(server, probe, method, path, body))


def fresh(server):
    """A call over a new connection; its status."""
    probe = H2Probe(edge_port(server), server.ready["ca_file"])
    try:
        return ask(server, probe, "GET", "/v1/capsules")[0]
    finally:
        probe.close()


def edge_log(server):
    with open(server.ready["edge_log"]) as log:
        return [line.split(" ", 3) for line in log]


def test_requests_share_an_http2_connection(server, probe, capsule):
    port = str(probe.sock.getsockname()[1])
    for _ in range(3):
        status, body = ask(server, probe, "GET", "/v1/capsules/" + capsule)
        assert (status, json.loads(body)["id"]) == (200, capsule)
    assert {row["via"] for row in server.ledger()[-3:]} == {"edge"}
    eventually(lambda: len(
        [row for row in edge_log(server) if row[0] == port]) == 3)
    row = [row for row in edge_log(server) if row[0] == port][0]
    assert row[1] == "h2" and row[2].startswith("TLSv1.")
    assert f'/v1/capsules/{capsule} HTTP/2" 200' in row[3]


def test_http11_over_tls(server):
    context = ssl.create_default_context(cafile=server.ready["ca_file"])
    connection = http.client.HTTPSConnection(
        "localhost", edge_port(server), context=context, timeout=10)
    connection.request("GET", server.url.path + "/health")
    assert connection.getresponse().status == 200
    connection.close()
    eventually(lambda: edge_log(server)[-1][1] == "http/1.1")


def test_the_edge_shows_no_admin_endpoint(server, probe):
    stream = probe.open("GET", "/_standin/status")
    seen = probe.frames_until(h2probe.DATA)
    assert b'"forbidden"' in seen[-1][3]
    assert seen[-1][2] == stream


def test_files_and_commands_through_the_edge(server, probe, capsule):
    path = f"/v1/capsules/{capsule}"
    status, body = ask(server, probe, "POST", path + "/exec",
                       {"cmd": "echo", "args": ["hi"]})
    assert (status, json.loads(body)["stdout"]) == (200, "hi\n")
    server.upload(path + "/files/write",
                  [("path", b"/root/f"), ("file", b"x" * 30000)])
    status, body = ask(server, probe, "POST", path + "/files/stream/read",
                       {"path": "/root/f"})
    assert (status, body) == (200, b"x" * 30000)


def test_a_reset_stream_kills_its_command(server, probe, capsule):
    path = f"/v1/capsules/{capsule}/exec"
    stream = start(server, probe, "POST", path,
                   {"cmd": "sleep", "args": ["60"]})
    pids = eventually(lambda: server.capsule(capsule)["pids"])
    probe.reset(stream)
    eventually(lambda: not any(alive(pid) for pid in pids))
    assert ask(server, probe, "GET", "/v1/capsules/" + capsule)[0] == 200


def test_a_create_reset_at_the_edge_stays_pending(server, probe):
    server.admin("POST", "/settings", {"create_delay": 30})
    try:
        stream = start(server, probe, "POST", "/v1/capsules", {})
        eventually(lambda: server.ledger() and server.ledger()[0]["capsule"])
        probe.reset(stream)
        eventually(lambda: server.ledger()[0]["seconds"] is not None)
    finally:
        server.admin("POST", "/settings", {"create_delay": 0})
    capsule = server.ledger()[0]["capsule"]
    assert server.capsule(capsule)["status"] == "pending"
    server.call("DELETE", "/v1/capsules/" + capsule)


def test_faults_reach_through_the_edge(server, probe, capsule):
    server.fault({"status": 404})
    assert ask(server, probe, "GET", "/v1/capsules/" + capsule)[0] == 404
    server.fault({"reset_before": True})
    stream = start(server, probe, "GET", "/v1/capsules")
    seen = probe.frames_until(h2probe.DATA)
    assert b"502 Bad Gateway" in seen[-1][3] and seen[-1][2] == stream


def test_a_cut_body_is_a_reset_stream(server, probe, capsule):
    server.fault({"cut_after": 10})
    start(server, probe, "GET", "/v1/capsules/" + capsule)
    seen = probe.frames_until(h2probe.RST_STREAM)
    data = b"".join(row[3] for row in seen if row[0] == h2probe.DATA)
    assert len(data) == 10


def test_goaway_lets_a_stream_finish(server, probe, capsule):
    stream = start(server, probe, "POST", f"/v1/capsules/{capsule}/exec", {
        "cmd": "sh", "args": ["-c", "until test -e go; do :; done; echo on"]})
    eventually(lambda: server.capsule(capsule)["pids"])
    server.admin("POST", "/edge", {"action": "goaway"})
    assert probe.frames_until(GOAWAY)[-1][0] == GOAWAY
    assert fresh(server) == 200
    server.upload(f"/v1/capsules/{capsule}/files/write",
                  [("path", b"/root/go"), ("file", b"")])
    status, body = probe.answer(stream)
    assert (status, json.loads(body)["stdout"]) == (200, "on\n")


@pytest.mark.parametrize("when, executed", [
    ("before", False), ("after", True)])
def test_drop_edge_loses_the_connection(server, probe, when, executed):
    before = server.admin("GET", "/status")["edge_pid"]
    server.fault({"drop_edge": when})
    with pytest.raises(ConnectionError):
        ask(server, probe, "POST", "/v1/capsules", {})
    assert fresh(server) == 200
    row = server.ledger()[0]
    assert (row["executed"], row["status"]) == (executed, None)
    assert not alive(before)
    if executed:
        assert server.capsule(row["capsule"])["status"] == "running"
        server.call("DELETE", "/v1/capsules/" + row["capsule"])


def test_stop_restart_and_start(server, probe):
    server.admin("POST", "/edge", {"action": "stop"})
    with pytest.raises(ConnectionError):
        probe.frames_until(None)
    with pytest.raises(ConnectionRefusedError):
        fresh(server)
    assert server.call("GET", "/v1/capsules").status == 200
    pid = server.admin("POST", "/edge", {"action": "start"})["edge_pid"]
    assert fresh(server) == 200
    assert server.admin("POST", "/edge",
                        {"action": "restart"})["edge_pid"] != pid
    assert fresh(server) == 200


def test_an_outage_refuses_at_the_edge(server, probe):
    server.admin("POST", "/outage", {"seconds": 60})
    with pytest.raises(ConnectionError):
        probe.frames_until(None)
    with pytest.raises(ConnectionRefusedError):
        fresh(server)
    server.admin("DELETE", "/outage")
    assert fresh(server) == 200


def test_a_hanging_outage_freezes_the_edge(server, probe, capsule):
    server.admin("POST", "/outage", {"seconds": 0.3, "mode": "hang"})
    started = time.monotonic()
    assert ask(server, probe, "GET", "/v1/capsules/" + capsule)[0] == 200
    assert time.monotonic() - started > 0.2


def test_many_streams_at_once(server, probe, capsule):
    streams = [
        start(server, probe, "POST", f"/v1/capsules/{capsule}/ping")
        for _ in range(50)
    ]
    done = set()
    while len(done) < len(streams):
        kind, flags, stream, payload = probe.frame()
        if kind == h2probe.HEADERS:
            assert h2probe.STATIC_STATUS[payload[0]] == 204
            done.add(stream)
    assert server.capsule(capsule)["pings"] == 50


def test_another_name_and_another_alpn():
    server = Standin("--tls", "--cert-name", "other.example",
                     "--cert-name", "10.1.2.3", "--alpn", "http/1.1",
                     "--max-streams", "7")
    try:
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname"):
            H2Probe(edge_port(server), server.ready["ca_file"])
        context = ssl.create_default_context(cafile=server.ready["ca_file"])
        context.set_alpn_protocols(["h2", "http/1.1"])
        with socket.create_connection(("127.0.0.1", edge_port(server))) as raw:
            with context.wrap_socket(
                    raw, server_hostname="other.example") as sock:
                assert sock.selected_alpn_protocol() == "http/1.1"
                names = sock.getpeercert()["subjectAltName"]
        assert names == (("DNS", "other.example"),
                         ("IP Address", "10.1.2.3"))
    finally:
        server.stop()


def test_max_streams_is_announced():
    server = Standin("--tls", "--max-streams", "7")
    try:
        probe = H2Probe(edge_port(server), server.ready["ca_file"])
        settings = probe.frames_until(h2probe.SETTINGS)[-1][3]
        pairs = {int.from_bytes(settings[i:i + 2], "big"):
                 int.from_bytes(settings[i + 2:i + 6], "big")
                 for i in range(0, len(settings), 6)}
        assert pairs[3] == 7
        probe.close()
    finally:
        server.stop()
