"""Faults of WebSockets, at the plain listener and behind the edge."""
import base64
import json
import socket
import ssl
import time

import aiohttp
import pytest

from .harness import Answer, eventually
from .test_streams import ended, exec_path, processes, say, start, talk
from .wsprobe import CLOSE, PING, PONG, TEXT, Link

# How a connection may end that nobody has closed properly.
CUT = (EOFError, ConnectionResetError, ssl.SSLError)
STREAM = "/stream$"


def fault(server, count=1, **words):
    server.fault({"ws": words}, match={"path": STREAM}, count=count)


def opened(server, link, capsule, probe, line="echo out"):
    """A probe that has sent its start."""
    ws = probe(link, exec_path(capsule))
    assert ws.status == 101
    ws.shell(line)
    return ws


def stays_open(ws):
    """Whether nothing comes; the probe is of no use any more then."""
    ws.sock.settimeout(0.3)
    with pytest.raises(socket.timeout):
        ws.frame()
    return True


def test_the_upgrade_refused(server, link, capsule):
    server.fault({"status": 503, "body": "<h1>away</h1>"},
                 match={"path": STREAM})
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        say(link, exec_path(capsule), start("true"))
    assert error.value.status == 503
    row = server.ledger()[-1]
    assert (row["status"], row["executed"], row["stream"]) == (
        503, False, None)
    assert say(link, exec_path(capsule), start("true"))[-1]["exit_code"] == 0


def test_the_body_of_a_refusal(server, link, capsule, probe):
    server.fault({"status": 429, "code": "slow_down", "message": "later"},
                 match={"path": STREAM})
    ws = probe(link, exec_path(capsule))
    assert ws.status == 429
    size = int(ws.headers["Content-Length"])
    assert json.loads(ws.read(size))["error"] == {
        "code": "slow_down", "message": "later"}


def test_the_upgrade_never_answered(server, link, capsule):
    server.fault({"hang": True}, match={"path": STREAM})
    sock = link.connect()
    sock.sendall(
        f"GET /api{exec_path(capsule)} HTTP/1.1\r\nHost: localhost\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"X-API-Key: {server.key}\r\n\r\n".encode())
    eventually(lambda: server.ledger()[-1]["fault"])
    sock.settimeout(0.3)
    with pytest.raises(socket.timeout):
        sock.recv(1)
    sock.close()
    eventually(lambda: server.ledger()[-1]["seconds"] is not None)
    assert server.ledger()[-1]["status"] is None


def test_a_bad_accept(server, link, capsule, probe):
    fault(server, accept="bm90IHdoYXQgaXQgc2hvdWxkIGJl", count=2)
    ws = probe(link, exec_path(capsule))
    assert ws.status == 101 and not ws.accepted
    with pytest.raises(aiohttp.WSServerHandshakeError):
        say(link, exec_path(capsule), start("true"))


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("after, types", [
    (0, []), (1, ["start"]), (2, ["start", "stdout"])])
def test_cut_after_messages(server, link, capsule, probe, how, after, types):
    fault(server, cut=how, after=after)
    ws = probe(link, exec_path(capsule))
    if after:
        ws.shell("echo out; exec sleep 60")
    assert [ws.event()["type"] for _ in range(after)] == types
    with pytest.raises(CUT) as error:
        ws.frame()
    if not link.tls:
        expected = EOFError if how == "end" else ConnectionResetError
        assert error.type is expected
    assert ended(server) == "fault"
    row = server.ledger()[-1]
    assert (row["status"], row["executed"]) == (101, after > 0)
    assert len(processes(server, capsule)) == (after > 0)


@pytest.mark.parametrize("size", [1, 2, 5, 60])
def test_cut_after_bytes(server, link, capsule, probe, size):
    fault(server, cut="end", after_bytes=size)
    ws = opened(server, link, capsule, probe, "printf %099d 1; exec sleep 60")
    with pytest.raises(CUT):
        while True:
            ws.frame()
    assert ended(server) == "fault"
    assert server.ledger()[-1]["stream"]["bytes"] == size


def test_the_edge_dies(server, capsule, probe):
    link = Link(server, tls=True)
    fault(server, cut="edge", after=1)
    ws = opened(server, link, capsule, probe)
    assert ws.event()["type"] == "start"
    with pytest.raises(CUT):
        ws.frame()
    assert ended(server) == "fault"
    assert say(link, exec_path(capsule), start("true"))[-1]["exit_code"] == 0


def test_close_with_a_code(server, link, capsule, probe):
    fault(server, close=1012, reason="restarting", after=1)
    ws = opened(server, link, capsule, probe)
    assert ws.event()["type"] == "start"
    code, reason = (1012).to_bytes(2, "big"), b"restarting"
    assert ws.frame() == (True, CLOSE, code + reason)
    ws.send(CLOSE, code)
    with pytest.raises(EOFError):
        ws.frame()
    assert ended(server) == "client"
    fault(server, close=1012, reason="restarting", cut="end")
    ws = probe(link, exec_path(capsule))
    assert ws.frame() == (True, CLOSE, code + reason)
    with pytest.raises(CUT):
        ws.frame()
    assert ended(server) == "fault"


def test_aiohttps_client_sees_the_code(server, link, capsule):
    fault(server, close=1008, reason="no", after=1)

    async def steps(connect):
        async with connect(exec_path(capsule)) as ws:
            await ws.send_json(start("sleep", "60"))
            return [message async for message in ws], ws.close_code

    messages, code = talk(link, steps)
    assert len(messages) == 1 and code == 1008


def test_silence(server, link, capsule, probe):
    fault(server, silent=True, after=1)
    ws = opened(server, link, capsule, probe)
    assert ws.event()["type"] == "start"
    ws.send(PING, b"anybody there?")
    ws.send(CLOSE)
    assert stays_open(ws)
    assert server.ledger()[-1]["seconds"] is None
    ws.close()
    assert ended(server) == "client"


def test_silence_from_the_upgrade_on(server, link, capsule, probe):
    fault(server, silent=True)
    ws = opened(server, link, capsule, probe)
    assert stays_open(ws)
    ws.close()
    assert ended(server) == "client"
    assert server.ledger()[-1]["executed"] is False


def test_no_pong(server, link, capsule, probe):
    fault(server, no_pong=True)
    ws = probe(link, exec_path(capsule))
    ws.send(PING, b"x")
    ws.shell("echo out")
    assert ws.frame()[1] == TEXT
    ws.send(PING, b"x")
    assert [ws.frame()[1] for _ in range(2)] == [TEXT, TEXT]
    with pytest.raises(CUT):
        ws.frame()


def test_a_delay_before_each_message(server, link, capsule):
    fault(server, delay=0.2)
    started = time.monotonic()
    events = say(link, exec_path(capsule), start("echo", "out"))
    assert [e["type"] for e in events] == ["start", "stdout", "exit"]
    assert time.monotonic() - started >= 0.6


def test_a_client_that_goes_ends_a_long_delay(server, link, capsule, probe):
    fault(server, delay=1000)
    ws = opened(server, link, capsule, probe)
    eventually(lambda: server.ledger()[-1]["executed"])
    ws.close()
    assert ended(server) == "client"


def test_fragments_of_one_byte(server, link, capsule, probe):
    fault(server, fragment=1, count=2)
    ws = opened(server, link, capsule, probe)
    frames = ws.message()
    assert {len(payload) for _, _, payload in frames} == {1}
    assert [opcode for _, opcode, _ in frames] == [TEXT] + [0] * (
        len(frames) - 1)
    assert [final for final, _, _ in frames] == [False] * (
        len(frames) - 1) + [True]
    events = say(link, exec_path(capsule), start("echo", "é€😀"))
    assert events[1] == {"type": "stdout", "data": "é€😀\n"}


def test_a_flood_of_pings(server, link, capsule, probe):
    fault(server, pings=1000)
    ws = opened(server, link, capsule, probe)
    for _ in range(3):
        assert {ws.frame() for _ in range(1000)} == {(True, PING, b"flood")}
        assert ws.frame()[1] == TEXT


def test_text_that_is_no_utf8(server, link, capsule, probe):
    fault(server, bad_utf8=True, after=1)
    ws = opened(server, link, capsule, probe)
    assert ws.event()["type"] == "start"
    final, opcode, payload = ws.frame()
    assert (final, opcode) == (True, TEXT)
    with pytest.raises(UnicodeDecodeError):
        payload.decode()
    assert json.loads(payload.decode("latin-1"))["type"] == "stdout"
    assert ws.event() == {"type": "stdout", "data": "out\n"}


def test_a_huge_message(server, link, capsule, probe):
    fault(server, huge=20000000, after=2)
    before = server.admin("GET", "/status")["max_rss_kib"]
    ws = opened(server, link, capsule, probe)
    for name in ("start", "stdout"):
        assert ws.event()["type"] == name
    (final, opcode, payload), = ws.message()
    event = json.loads(payload)
    assert (final, opcode, event["type"]) == (True, TEXT, "stdout")
    assert event["data"] == "x" * 20000000
    assert ws.event()["type"] == "exit"
    after = server.admin("GET", "/status")["max_rss_kib"]
    assert after < before + 10000


@pytest.mark.parametrize("raw", [
    b"\x83\x00", b"\xf1\x00", b"\x81\x84\0\0\0\0{}\n\n", b"\x80\x00",
    b"\x89\x7e\x00\x80" + b"x" * 128, b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_rubbish(server, link, capsule, probe, raw):
    fault(server, raw=base64.b64encode(raw).decode(), after=1)
    ws = opened(server, link, capsule, probe)
    assert ws.event()["type"] == "start"
    assert ws.read(len(raw)) == raw
    assert ws.event() == {"type": "stdout", "data": "out\n"}


def test_rubbish_amid_a_frame_and_a_cut_behind_it(
        server, plain, capsule, probe):
    fault(server, raw=base64.b64encode(b"rub").decode(), after_bytes=3,
          cut="end")
    ws = opened(server, plain, capsule, probe)
    assert ws.read(1) == bytes([0x80 | TEXT])
    assert ws.read(5)[1:] == b"{rub"
    with pytest.raises(CUT):
        ws.read(1)


def test_it_strikes_once(server, plain, capsule, probe):
    fault(server, raw=base64.b64encode(b"#").decode(), after=1)
    ws = opened(server, plain, capsule, probe)
    ws.event()
    assert ws.read(1) == b"#"
    assert [ws.event()["type"] for _ in range(2)] == ["stdout", "exit"]


def test_other_requests_are_not_touched(server, capsule):
    server.fault({"ws": {"cut": "reset"}}, count=-1)
    assert server.call("GET", "/v1/capsules").status == 200


def test_process_streams_too(server, link, capsule, probe):
    pid = server.call("POST", f"/v1/capsules/{capsule}/exec", {
        "cmd": "sleep", "args": ["60"], "background": True}).json["pid"]
    fault(server, cut="end", after=1)
    ws = probe(link, f"/v1/capsules/{capsule}/processes/{pid}/stream")
    assert ws.event() == {"type": "start", "pid": pid}
    with pytest.raises(CUT):
        ws.frame()
    assert ended(server) == "fault"


def test_an_outage_ends_streams(server, link, capsule, probe):
    ws = opened(server, link, capsule, probe, "exec sleep 60")
    ws.event()
    server.admin("POST", "/outage", {"seconds": 60})
    with pytest.raises(CUT):
        ws.frame()
    assert ended(server) == "client"
    server.admin("DELETE", "/outage")


def test_a_hanging_outage_holds_them(server, link, capsule, probe):
    ws = probe(link, exec_path(capsule))
    eventually(lambda: server.ledger()[-1]["status"] == 101)
    server.admin("POST", "/outage", {"seconds": 60, "mode": "hang"})
    ws.send(PING, b"x")
    ws.sock.settimeout(0.3)
    with pytest.raises(socket.timeout):
        ws.sock.recv(1)
    server.admin("DELETE", "/outage")
    ws.sock.settimeout(20)
    # The file of a socket is of no use once it has timed out; this is not.
    assert ws.sock.recv(3) == bytes([0x80 | PONG, 1]) + b"x"


@pytest.mark.parametrize("words", [
    1, {"colour": 1}, {"cut": "x"}, {"cut": True}, {"after": -1},
    {"after": 1.5}, {"fragment": 0}, {"raw": "?"}, {"raw": 1},
    {"close": 70000}, {"close": 1000, "reason": "x" * 41}, {"delay": True},
    {"silent": 1}])
def test_rules_that_make_no_sense_are_refused(server, words):
    connection, response = server.open(
        "POST", "/_standin/faults", {"action": {"ws": words}})
    assert Answer(response).code == "invalid_request"
    connection.close()
