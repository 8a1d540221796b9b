"""What clients cannot do to wrennd: memory, time, descriptors, others' calls."""
import json
import socket
import threading
import time

import pytest

from testenv import paths
from testenv.client import RpcError, until

MIB = 1 << 20
LINE_MAX = MIB
BATCH_MAX = 64
DEPTH_MAX = 32
VALUES_MAX = 65536
HELLO = b'{"jsonrpc":"2.0","id":"sync","method":"daemon.hello"}'


def hello(client):
    """The connection lives, and nothing else is waiting to be read."""
    client.send_bytes(HELLO + b"\n")
    assert client.read()["id"] == "sync"


def error_code(client, line):
    """The code of the one answer, an error to no known id."""
    client.send_bytes(line + b"\n")
    answer = client.read()
    assert answer["id"] is None
    hello(client)
    return answer["error"]["code"]


def padded(size):
    """A valid request of that many bytes."""
    return HELLO[:-1] + b" " * (size - len(HELLO)) + b"}"


# ---- lines ----

def test_longest_line(client):
    client.send_bytes(padded(LINE_MAX) + b"\n")
    assert client.read()["id"] == "sync"
    assert error_code(client, padded(LINE_MAX + 1)) == -32600
    client.send_bytes(padded(LINE_MAX) + b"\n" + padded(LINE_MAX) + b"\n")
    assert [client.read()["id"] for _ in range(2)] == ["sync"] * 2


@pytest.mark.parametrize("size", (2 * LINE_MAX, 2 * LINE_MAX + 1, 5 * LINE_MAX + 7))
def test_line_that_is_far_too_long(client, size):
    assert error_code(client, b"x" * size) == -32600


def test_long_lines_in_a_row(client):
    client.send_bytes((b"[" * (LINE_MAX + 1) + b"\n") * 5 + HELLO + b"\n")
    codes = [client.read()["error"]["code"] for _ in range(5)]
    assert codes == [-32600] * 5 and client.read()["id"] == "sync"


def test_endless_line(daemon, client):
    """100 MiB without a newline: memory stays flat, others are served."""
    hello(client)
    before = daemon.rss()
    with daemon.client() as rogue:
        sender = threading.Thread(target=rogue.send_bytes, args=(b"y" * (100 * MIB) + b"\n",))
        sender.start()
        served = 0
        while sender.is_alive():
            hello(client)
            served += 1
        sender.join()
        assert rogue.read()["error"]["code"] == -32600
        hello(rogue)
    assert served > 0
    if not paths.SANITIZED:
        assert daemon.peak_rss() < before + 8 * MIB


def test_line_cut_at_every_byte(daemon, client):
    with daemon.client() as slow:
        line = HELLO + b"\n"
        for cut in range(1, len(line)):
            slow.send_bytes(line[:cut])
            hello(client)
            slow.send_bytes(line[cut:])
            assert slow.read()["id"] == "sync"


def test_line_byte_by_byte(daemon):
    with daemon.client() as slow:
        for byte in HELLO * 2:
            slow.send_bytes(bytes([byte]))
        slow.send_bytes(b"\n")
        assert slow.read()["error"]["code"] == -32700
        hello(slow)


def test_half_lines_hold_up_nobody(daemon, client):
    halves = [daemon.client() for _ in range(50)]
    for half in halves:
        half.send_bytes(HELLO[:-3])
    hello(client)
    for half in halves:
        half.send_bytes(HELLO[-3:] + b"\n")
        assert half.read()["id"] == "sync"
        half.close()


@pytest.mark.parametrize("line", (b"\0", b"\0" * 5000, HELLO + b"\0", b"\0" + HELLO,
                                  HELLO.replace(b"sync", b"sy\0nc"), b"\xff" * 5000, b"\r\r"))
def test_bytes_that_are_no_text(client, line):
    assert error_code(client, line) == -32700


# ---- what is in a line ----

def request(number):
    return {"jsonrpc": "2.0", "id": number, "method": "daemon.hello"}


def test_largest_batch(client):
    batch = [request(n) for n in range(BATCH_MAX)]
    client.send_bytes(json.dumps(batch).encode() + b"\n")
    assert [answer["id"] for answer in client.read()] == list(range(BATCH_MAX))
    batch.append(request(BATCH_MAX))
    assert error_code(client, json.dumps(batch).encode()) == -32600


def test_batch_whose_answers_are_too_large(daemon, client, capsule):
    """It may cost the connection, but nobody else's."""
    make_text(client, capsule, 4 * MIB)
    with daemon.client() as greedy:
        params = {"capsule": capsule, "path": "/root/text"}
        greedy.send_bytes(json.dumps([
            {"jsonrpc": "2.0", "id": n, "method": "file.read", "params": params}
            for n in range(8)]).encode() + b"\n")
        line = greedy.read_line()
        assert len(line) <= 16 * MIB
    hello(client)


def nested(depth):
    """A request of that many levels in all, with a parameter it does not know."""
    inner = b"[" * (depth - 2) + b"]" * (depth - 2)
    return HELLO[:-1] + b',"params":{"x":' + inner + b"}}"


def test_deepest_nesting(client):
    client.send_bytes(nested(DEPTH_MAX) + b"\n")
    answer = client.read()
    assert (answer["id"], answer["error"]["code"]) == ("sync", -32602)
    assert error_code(client, nested(DEPTH_MAX + 1)) == -32700
    assert error_code(client, b"[" * 500000 + b"]" * 500000) == -32700
    assert error_code(client, b'{"a":' * 100000 + b"1" + b"}" * 100000) == -32700


def test_most_values(client):
    """The object and its four members count, then each element."""
    for count, code in ((VALUES_MAX - 5, -32602), (VALUES_MAX - 4, -32700)):
        line = HELLO[:-1] + b',"params":[' + b",".join([b"1"] * count) + b"]}"
        client.send_bytes(line + b"\n")
        assert client.read()["error"]["code"] == code
        hello(client)


def test_many_names(client):
    """Names are compared with each other: it must not take for ever."""
    members = ",".join(f'"{n:x}":0' for n in range(60000))
    line = HELLO[:-1] + b',"params":{' + members.encode() + b"}}"
    started = time.monotonic()
    client.send_bytes(line + b"\n")
    assert client.read()["error"]["code"] == -32602
    assert time.monotonic() - started < (60 if paths.SANITIZED else 5)


# ---- clients that do not read ----

def make_text(client, capsule, size):
    script = f"head -c {size} /dev/zero | tr '\\0' t > \"$HOME/text\""
    client.call("exec.run", {"capsule": capsule, "cmd": "sh", "args": ["-c", script]})


def send_what_fits(client, line):
    """Pipelines that line until the socket takes no more; returns the bytes."""
    client.sock.setblocking(False)
    sent = 0
    while True:
        try:
            sent += client.sock.send(line[sent % len(line):])
        except BlockingIOError:
            return sent


def test_answers_wait_for_a_slow_reader(daemon, client):
    """What it asked for is all there when it reads at last."""
    expected = client.call("rpc.discover")
    with daemon.client() as slow:
        slow.send_bytes(b"".join(
            f'{{"jsonrpc":"2.0","id":{n},"method":"rpc.discover"}}\n'.encode()
            for n in range(300)))
        for _ in range(20):
            hello(client)
        for number in range(300):
            answer = slow.read()
            assert answer["id"] == number and answer["result"] == expected


def test_requests_wait_for_a_slow_reader(daemon, client):
    """Far more of them than wrennd takes in: all are answered in the end."""
    line = padded(20000).replace(b"daemon.hello", b"rpc.discover") + b"\n"
    with daemon.client() as slow:
        sender = threading.Thread(target=slow.send_bytes, args=(line * 400,))
        sender.start()
        for _ in range(200):
            hello(client)
        assert sender.is_alive(), "wrennd took it all in"
        for _ in range(400):
            assert slow.read()["result"]["methods"]
        sender.join()
        hello(slow)


def test_client_that_never_reads_is_not_read(daemon, client):
    line = b'{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}\n'
    hello(client)
    before = daemon.rss()
    with daemon.client() as rogue:
        taken = send_what_fits(rogue, line)
        while True:
            hello(client)
            more = send_what_fits(rogue, line[taken % len(line):] + line)
            if more == 0:
                break
            taken += more
        assert taken < 4 * MIB
        hello(client)
    if not paths.SANITIZED:
        assert daemon.peak_rss() < before + 8 * MIB


def test_two_hundred_clients_that_never_read(daemon, client):
    line = b'{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}\n'
    hello(client)
    before = daemon.rss()
    rogues = [daemon.client() for _ in range(200)]
    for rogue in rogues:
        send_what_fits(rogue, line)
        hello(client)
    for _ in range(200):
        hello(client)
    assert client.call("capsule.list") == {"capsules": []}
    if not paths.SANITIZED:
        assert daemon.peak_rss() < before + 128 * MIB
    for rogue in rogues:
        rogue.close()
    until(lambda: client.call("daemon.status")["clients"] == 1)


def idle(daemon):
    """Whether no call is under way but the one that asks."""
    return daemon.call("daemon.status")["calls"]["in_flight"] == 1


def test_large_answers_that_nobody_reads(daemon, client, capsule):
    """Asked for all at once, before the first of them is there."""
    make_text(client, capsule, 8 * MIB)
    before = daemon.rss()
    with daemon.client() as rogue:
        for _ in range(100):
            rogue.send("file.read", {"capsule": capsule, "path": "/root/text"})
        until(lambda: idle(daemon))
        answer = client.call("exec.run", {"capsule": capsule, "cmd": "echo", "args": ["ok"]})
        assert answer["stdout"] == "ok\n"
    if not paths.SANITIZED:
        assert daemon.peak_rss() < before + 256 * MIB
    assert len(client.call("file.read", {"capsule": capsule, "path": "/root/text"})["text"]
               ) == 8 * MIB


def test_large_answers_that_two_hundred_do_not_read(daemon, client, capsule):
    make_text(client, capsule, 5 * MIB)
    before = daemon.rss()
    rogues = [daemon.client() for _ in range(200)]
    for rogue in rogues:
        rogue.send("file.read", {"capsule": capsule, "path": "/root/text"})
    until(lambda: idle(daemon), deadline=60)
    # The share of this user is used up; small answers are there for all.
    for _ in range(20):
        with daemon.client() as other:
            hello(other)
    answer = client.call("exec.run", {"capsule": capsule, "cmd": "echo", "args": ["ok"]})
    assert answer["stdout"] == "ok\n"
    if not paths.SANITIZED:
        assert daemon.peak_rss() < before + 256 * MIB
    whole = refused = 0
    for rogue in rogues:
        answer = rogue.read()
        if "result" in answer:
            whole += len(answer["result"]["text"]) == 5 * MIB
        else:
            refused += answer["error"]["data"]["name"] in ("busy", "too_large")
        rogue.close()
    assert whole + refused == 200 and whole > 0


def test_share_of_output_that_is_used_up_to_the_last_byte(daemon, client, capsule):
    """Then a small answer still comes, and nobody is thrown out."""
    make_text(client, capsule, 15 * MIB)
    rogues = [daemon.client() for _ in range(240)]
    params = {"capsule": capsule, "path": "/root/text"}
    for rogue in rogues[:4]:
        rogue.send("file.read", params)
    until(lambda: idle(daemon))
    discover = b'{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}\n'
    for rogue in rogues[4:]:
        send_what_fits(rogue, discover)
    hello(client)
    assert client.call("rpc.discover")["methods"]
    assert "client closed" not in daemon.log_text()
    for rogue in rogues:
        rogue.close()


# ---- calls and clients ----

def test_calls_of_one_client(make_daemon):
    """The limit refuses calls; it ends neither the connection nor the others."""
    daemon = make_daemon(settings="[limits]\ncalls_per_client = 4").start()
    with daemon.client() as client, daemon.client() as other:
        made = client.call("capsule.create", {"lease": {"type": "none"}})["id"]
        wait = {"capsule": made, "status": "paused"}
        waits = [client.send("capsule.wait", wait) for _ in range(4)]
        for method, params in (("capsule.wait", wait), ("daemon.hello", {}),
                               ("capsule.get", {"capsule": made})):
            with pytest.raises(RpcError) as error:
                client.call(method, params)
            assert error.value.name == "busy" and error.value.data["retryable"] is True
        assert other.call("capsule.get", {"capsule": made})["id"] == made
        # What ends a call is never refused for too many calls.
        assert client.call("call.cancel", {"call": waits[0]}) == {"cancelled": True}
        with pytest.raises(RpcError) as error:
            client.wait(waits[0])
        assert error.value.name == "cancelled"
        assert client.call("capsule.get", {"capsule": made})["id"] == made
        other.call("capsule.pause", {"capsule": made})
        assert [client.wait(w)["status"] for w in waits[1:]] == ["paused"] * 3
        client.call("capsule.destroy", {"capsule": made})


def test_call_end_at_the_limit(make_daemon):
    """An upload can be completed although no further call is taken."""
    daemon = make_daemon(settings="[limits]\ncalls_per_client = 1").start()
    with daemon.client() as client:
        made = client.call("capsule.create", {"lease": {"type": "none"}})["id"]
        ours, theirs = socket.socketpair()
        with theirs:
            upload = client.send("file.write", {"capsule": made, "path": "/root/f"},
                                 fds=[theirs.fileno()], names=["data"])
        with ours:
            ours.sendall(b"all")
        assert client.call("call.end", {"call": upload}) == {}
        assert client.wait(upload) == {"size": 3}
        assert client.call("file.read", {"capsule": made, "path": "/root/f"})["text"] == "all"
        client.call("capsule.destroy", {"capsule": made})


def test_calls_of_one_client_by_default(client, capsule):
    sent = [client.send("capsule.wait", {"capsule": capsule, "status": "paused"})
            for _ in range(300)]
    refused = [client.read() for _ in range(44)]
    assert {answer["id"] for answer in refused} == set(sent[256:])
    assert {answer["error"]["data"]["name"] for answer in refused} == {"busy"}
    assert client.call("call.cancel", {"call": sent[0]}) == {"cancelled": True}
    with pytest.raises(RpcError) as error:
        client.wait(sent[0])
    assert error.value.name == "cancelled"
    client.call("capsule.pause", {"capsule": capsule})
    assert {client.wait(number)["status"] for number in sent[1:256]} == {"paused"}


def test_clients_of_one_user(make_daemon):
    daemon = make_daemon(settings="[limits]\nclients_per_user = 5").start()
    clients = [daemon.client()]
    until(lambda: clients[0].call("daemon.status")["clients"] == 1)
    clients += [daemon.client() for _ in range(4)]
    for client in clients:
        hello(client)
    for _ in range(20):
        with daemon.client() as sixth:
            refused = sixth.read()
            assert refused["id"] is None
            assert refused["error"]["data"]["name"] == "busy"
            assert sixth.read_line() == b""
    for client in clients:
        hello(client)
    clients.pop().close()

    def served():
        with daemon.client() as again:
            again.send_bytes(HELLO + b"\n")
            return again.read()["id"] == "sync"
    until(served)
    for client in clients:
        client.close()


def test_clients_come_and_go(daemon, client):
    hello(client)
    before = daemon.descriptors()
    for _ in range(20):
        for _ in range(100):
            daemon.client().close()
        hello(client)
    until(lambda: client.call("daemon.status")["clients"] == 1)
    assert daemon.descriptors() <= before


# ---- no descriptors left ----

def connect_many(path, count):
    """As many connections as the backlog takes, without waiting."""
    made = []
    for _ in range(count):
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            sock.connect(str(path))
        except BlockingIOError:
            sock.close()
        else:
            made.append(sock)
    return made


def test_no_descriptors_left(make_daemon):
    daemon = make_daemon(max_descriptors=64).start()
    with daemon.client() as old:
        hello(old)
        flood = connect_many(daemon.socket, 500)
        assert len(flood) > 64
        until(lambda: daemon.descriptors() >= 64)
        spent, started = daemon.cpu_seconds(), time.monotonic()
        while time.monotonic() < started + 2:
            time.sleep(0.1)
            hello(old)
        used = (daemon.cpu_seconds() - spent) / (time.monotonic() - started)
        assert used < 0.2, f"it burns {used:.0%} of a processor"
        assert daemon.descriptors() <= 64
        for sock in flood:
            sock.close()
        until(lambda: old.call("daemon.status")["clients"] == 1)
        with daemon.client() as new:
            hello(new)
    assert daemon.stop() == 0


def test_descriptors_passed_when_none_are_left(make_daemon):
    """They are lost on the way: the connection is closed, the daemon lives."""
    daemon = make_daemon(max_descriptors=64).start()
    with daemon.client() as old, daemon.client() as passing:
        hello(old)
        hello(passing)
        flood = connect_many(daemon.socket, 200)
        until(lambda: daemon.descriptors() >= 64)
        ours, theirs = socket.socketpair()
        with theirs:
            passing.send("file.read", {"capsule": "x", "path": "/f"},
                         fds=[theirs.fileno()], names=["data"])
        try:
            assert passing.read_line() == b""
        except ConnectionResetError:
            pass
        with ours:
            assert ours.recv(1) == b""
        hello(old)
        for sock in flood:
            sock.close()
        until(lambda: old.call("daemon.status")["clients"] == 1)
