"""Raw bytes over passed sockets: right use, breaches, ends of every kind."""
import array
import fcntl
import hashlib
import json
import os
import select
import socket
import threading

import pytest

from testenv import paths
from testenv.client import RpcError, until

MIB = 1 << 20
HELLO = b'{"jsonrpc":"2.0","id":"sync","method":"daemon.hello"}\n'
PAYLOAD = bytes(range(256)) * 1000 + b"\n\0last"


# ---- tools ----

def line_of(method, params, number=1, names=("data",)):
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    if number is not None:
        message["id"] = number
    if names is not None:
        message["fds"] = list(names)
    return json.dumps(message).encode() + b"\n"


def read_all(sock):
    """All bytes up to the end, and the socket is closed."""
    pieces = []
    with sock:
        sock.settimeout(60)
        while piece := sock.recv(MIB):
            pieces.append(piece)
    return b"".join(pieces)


class Feeder(threading.Thread):
    """Writes bytes to a socket and closes it; stops when nobody reads on."""

    def __init__(self, sock, data):
        super().__init__(daemon=True)
        self.sock, self.data = sock, data
        self.start()

    def run(self):
        with self.sock:
            try:
                self.sock.sendall(self.data)
            except OSError:
                pass


def start(client, method, **params):
    """Sends the request with one end of a pair; returns (id, our end)."""
    ours, theirs = socket.socketpair()
    with theirs:
        return client.send(method, params, fds=[theirs.fileno()], names=["data"]), ours


def download(client, capsule, path):
    number, ours = start(client, "file.read", capsule=capsule, path=path)
    data = read_all(ours)
    return client.wait(number), data


def upload(client, capsule, path, data, **more):
    number, ours = start(client, "file.write", capsule=capsule, path=path, **more)
    Feeder(ours, data).join(60)
    return number


def make_file(client, capsule, name, size):
    """A file of noise, made in the capsule; returns its SHA-256."""
    script = f'head -c {size} /dev/urandom > "$HOME/{name}"; sha256sum < "$HOME/{name}"'
    answer = client.call("exec.run", {"capsule": capsule, "cmd": "sh", "args": ["-c", script]})
    return answer["stdout"].split()[0]


def digest_in(client, capsule, path):
    answer = client.call("exec.run", {"capsule": capsule, "cmd": "sh", "args": [
        "-c", f'sha256sum < "$HOME/{path}"']})
    return answer["stdout"].split()[0]


def settled(daemon):
    """The daemon's descriptors once it handled all that was sent so far."""
    with daemon.client() as client:
        client.call("daemon.hello")
    until(lambda: daemon.call("daemon.status")["clients"] <= 2)
    return daemon.descriptors()


@pytest.fixture
def no_leak(daemon, client, capsule):
    """The daemon holds as many descriptors after the test as before.

    Connections upstream come and go: a leak is what ten rounds would show, so
    that tests repeat what they do `ROUNDS` times.
    """
    client.call("exec.run", {"capsule": capsule, "cmd": "true"})
    before = settled(daemon)
    yield
    until(lambda: settled(daemon) <= before + 2)


ROUNDS = 10


# ---- right use ----

def test_file_up_and_down(client, capsule, no_leak):
    for _ in range(ROUNDS):
        number = upload(client, capsule, "/root/f", PAYLOAD, size=len(PAYLOAD))
        assert client.wait(number) == {"size": len(PAYLOAD)}
        answer, data = download(client, capsule, "/root/f")
        assert answer == {"size": len(PAYLOAD)} and data == PAYLOAD


@pytest.mark.parametrize("when", ("before", "between", "after"))
def test_upload_that_ends_by_call_end(client, capsule, when):
    """call.end may come at any time: before the bytes, among them, after."""
    number, ours = start(client, "file.write", capsule=capsule, path="/root/f")
    with ours:
        if when == "before":
            assert client.call("call.end", {"call": number}) == {}
        ours.sendall(PAYLOAD[:1000])
        if when == "between":
            assert client.call("call.end", {"call": number}) == {}
        Feeder(ours.dup(), PAYLOAD[1000:]).join(60)
    if when == "after":
        assert client.call("call.end", {"call": number}) == {}
    assert client.wait(number) == {"size": len(PAYLOAD)}
    assert download(client, capsule, "/root/f")[1] == PAYLOAD


@pytest.mark.parametrize("size", (0, None))
def test_empty_file(client, capsule, size):
    more = {} if size is None else {"size": size}
    number = upload(client, capsule, "/root/empty", b"", **more)
    if size is None:
        client.call("call.end", {"call": number})
    assert client.wait(number) == {"size": 0}
    assert download(client, capsule, "/root/empty") == ({"size": 0}, b"")


def test_bytes_beyond_the_size_are_not_taken(client, capsule):
    number = upload(client, capsule, "/root/f", b"abcdef" * 1000, size=4)
    assert client.wait(number) == {"size": 4}
    assert download(client, capsule, "/root/f")[1] == b"abcd"


def test_large_file_up_and_down(client, capsule):
    digest = make_file(client, capsule, "big", 64 * MIB)
    answer, data = download(client, capsule, "/root/big")
    assert answer == {"size": 64 * MIB} and len(data) == 64 * MIB
    assert hashlib.sha256(data).hexdigest() == digest
    number = upload(client, capsule, "/root/up", data, size=len(data))
    assert client.wait(number) == {"size": 64 * MIB}
    assert digest_in(client, capsule, "up") == digest


def test_request_glued_behind_others(client, capsule, no_leak):
    """The kernel hands over earlier lines and the one with a descriptor at once."""
    client.call("file.write", {"capsule": capsule, "path": "/root/f", "text": "glued"})
    for _ in range(ROUNDS):
        ours, theirs = socket.socketpair()
        with theirs:
            client.send_bytes(HELLO * 3)
            client.send_bytes(line_of("file.read", {"capsule": capsule, "path": "/root/f"}, "f"),
                              fds=[theirs.fileno()])
            client.send_bytes(HELLO * 2)
        assert read_all(ours) == b"glued"
        got = sorted(client.read()["id"] for _ in range(6))
        assert got == ["f"] + ["sync"] * 5


def test_two_requests_with_descriptors_in_a_row(client, capsule):
    for name in ("one", "two"):
        client.call("file.write", {"capsule": capsule, "path": f"/root/{name}", "text": name})
    one, first = start(client, "file.read", capsule=capsule, path="/root/one")
    two, second = start(client, "file.read", capsule=capsule, path="/root/two")
    assert (read_all(first), read_all(second)) == (b"one", b"two")
    assert client.wait(one) == client.wait(two) == {"size": 3}


def test_long_line_with_a_descriptor(client, capsule):
    """Longer than one read of the daemon: the descriptor comes with its start."""
    client.call("file.write", {"capsule": capsule, "path": "/root/f", "text": "x"})
    ours, theirs = socket.socketpair()
    line = line_of("file.read", {"capsule": capsule, "path": "/root/f"}, "f")
    with theirs:
        client.send_bytes(HELLO)
        client.send_bytes(b" " * 100000 + line, fds=[theirs.fileno()])
        client.send_bytes(HELLO)
    assert read_all(ours) == b"x"
    assert sorted(client.read()["id"] for _ in range(3)) == ["f", "sync", "sync"]


def test_notification_with_a_descriptor(client, capsule, no_leak):
    """It is carried out and, as a notification, never answered."""
    for _ in range(ROUNDS):
        client.call("file.write", {"capsule": capsule, "path": "/root/f", "text": "old"})
        ours, theirs = socket.socketpair()
        with theirs:
            client.send_bytes(line_of("file.read", {"capsule": capsule, "path": "/root/f"}, None),
                              fds=[theirs.fileno()])
        assert read_all(ours) == b"old"
        client.call("daemon.hello")
        assert not client.waiting


def test_download_of_what_is_not_there(client, capsule, no_leak):
    for _ in range(ROUNDS):
        number, ours = start(client, "file.read", capsule=capsule, path="/root/none")
        assert read_all(ours) == b""
        with pytest.raises(RpcError) as error:
            client.wait(number)
        assert error.value.name == "not_found"


# ---- breaches ----

def breach_too_few(client, fds):
    client.send_bytes(line_of("file.read", {}, 1, ("data", "more")), fds=fds[:1])


def breach_none(client, fds):
    client.send_bytes(line_of("file.read", {}))


def breach_too_many(client, fds):
    client.send_bytes(line_of("file.read", {}), fds=fds[:2])


def breach_unnamed(client, fds):
    client.send_bytes(line_of("daemon.hello", {}, 1, None), fds=fds[:1])


def breach_two_lines(client, fds):
    """The descriptor belongs to the last line of its message."""
    client.send_bytes(line_of("file.read", {}) + HELLO, fds=fds[:1])


def breach_batch(client, fds):
    line = line_of("file.read", {"capsule": "x", "path": "/"}).strip()
    client.send_bytes(b"[" + line + b"]\n", fds=fds[:1])


def breach_batch_without(client, fds):
    client.send_bytes(b"[" + line_of("file.read", {}).strip() + b"]\n")


def breach_unknown_method(client, fds):
    client.send_bytes(line_of("no.such", {}), fds=fds[:1])


def breach_bad_json(client, fds):
    client.send_bytes(line_of("file.read", {})[:-3] + b"\n", fds=fds[:1])


def breach_bad_request(client, fds):
    client.send_bytes(b'{"jsonrpc":"2.0","id":1,"method":5,"fds":["data"]}\n', fds=fds[:1])


def breach_an_answer(client, fds):
    client.send_bytes(b'{"jsonrpc":"2.0","id":1,"result":5,"fds":["data"]}\n', fds=fds[:1])


def breach_blank_line(client, fds):
    client.send_bytes(b"\n", fds=fds[:1])


def breach_names_that_are_no_array(client, fds):
    client.send_bytes(b'{"jsonrpc":"2.0","id":1,"method":"file.read","fds":"data"}\n',
                      fds=fds[:1])


def breach_four(client, fds):
    client.send_bytes(line_of("file.read", {}, 1, ("a", "b", "c", "d")), fds=fds[:4])


def breach_many(client, fds):
    client.send_bytes(line_of("file.read", {}), fds=fds[:1] * 253)


def breach_truncated(client, fds):
    """As many are named as may be; the kernel drops what is beyond its room."""
    client.send_bytes(line_of("file.read", {}, 1, ("data", "b", "c")), fds=fds[:1] * 5)


def breach_too_long(client, fds):
    """Refused as soon as it is known: the rest may not find a reader."""
    try:
        client.send_bytes(b"x" * (2 * MIB) + b"\n", fds=fds[:1])
    except OSError:
        pass


def breach_heap(client, fds):
    """Descriptors byte by byte, with a line that does not end."""
    try:
        for _ in range(100):
            client.send_bytes(b" ", fds=fds[:1])
    except OSError:
        pass


BREACHES = [breach_too_few, breach_none, breach_too_many, breach_unnamed, breach_two_lines,
            breach_batch, breach_batch_without, breach_unknown_method, breach_bad_json,
            breach_bad_request, breach_an_answer, breach_blank_line,
            breach_names_that_are_no_array, breach_four, breach_many, breach_truncated,
            breach_too_long, breach_heap]


def closed(client):
    """Reads to the end: an end or a reset, and never an answer to id 1."""
    try:
        while line := client.read_line():
            assert json.loads(line)["id"] != 1
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize("breach", BREACHES, ids=lambda b: b.__name__[7:])
def test_breach_closes_the_connection(daemon, client, capsule, no_leak, breach):
    for _ in range(ROUNDS):
        pairs = [socket.socketpair() for _ in range(4)]
        with daemon.client() as rogue:
            breach(rogue, [theirs.fileno() for _, theirs in pairs])
            assert closed(rogue)
        for ours, theirs in pairs:
            theirs.close()
            # All copies are closed: the daemon keeps none.
            assert read_all(ours) == b""
    assert client.call("daemon.hello")["protocol"] == 1


@pytest.mark.parametrize("breach", (breach_unnamed, breach_bad_json, breach_many),
                         ids=lambda b: b.__name__[7:])
def test_breach_ends_the_calls_under_way(daemon, client, capsule, no_leak, breach):
    """Those of the connection that is closed, and no others."""
    digest = make_file(client, capsule, "f", 8 * MIB)
    good, good_end = start(client, "file.read", capsule=capsule, path="/root/f")
    for _ in range(ROUNDS):
        with daemon.client() as rogue:
            _, ours = start(rogue, "file.read", capsule=capsule, path="/root/f")
            assert ours.recv(1)
            breach(rogue, [ours.fileno()])
            assert closed(rogue)
            assert len(read_all(ours)) < 8 * MIB
    assert hashlib.sha256(read_all(good_end)).hexdigest() == digest
    assert client.wait(good) == {"size": 8 * MIB}


# ---- the connection lives: errors of the call alone ----

def refused(client, fd, method="file.read", names=("data",), count=1, **params):
    number = client.send(method, params, fds=[fd] * count, names=names)
    with pytest.raises(RpcError) as error:
        client.wait(number)
    assert client.call("daemon.hello")["protocol"] == 1
    return error.value


@pytest.mark.parametrize("method,names,params", (
    ("daemon.hello", ["data"], {}),
    ("file.read", ["stdin"], {"capsule": "x", "path": "/f"}),
    ("file.read", ["data", "data"], {"capsule": "x", "path": "/f"}),
    ("file.stat", ["data"], {"capsule": "x", "path": "/f"}),
))
def test_name_that_the_method_does_not_take(client, capsule, no_leak, method, names, params):
    for _ in range(ROUNDS):
        ours, theirs = socket.socketpair()
        with theirs:
            error = refused(client, theirs.fileno(), method, names, len(names), **params)
        assert error.name == "invalid_params"
        assert read_all(ours) == b""


@pytest.mark.parametrize("params,param", (
    ({"path": "/f"}, "capsule"),
    ({"capsule": "x", "path": 5}, "path"),
    ({"capsule": "x", "path": "/f", "size": -1}, "size"),
    ({"capsule": "x", "path": "f"}, "path"),
))
def test_wrong_parameters_with_a_descriptor(client, capsule, no_leak, params, param):
    for _ in range(ROUNDS):
        ours, theirs = socket.socketpair()
        with theirs:
            error = refused(client, theirs.fileno(), "file.write", **params)
        assert (error.name, error.data["param"]) == ("invalid_params", param)
        assert read_all(ours) == b""


@pytest.mark.parametrize("path", ("relative", "./f", "~/f"))
def test_path_must_be_absolute(cloud, client, capsule, path):
    sent = len(cloud.ledger())
    for method in ("file.read", "file.write"):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            error = refused(client, theirs.fileno(), method, capsule=capsule, path=path)
        assert (error.name, error.data["param"]) == ("invalid_params", "path")
    assert len(cloud.ledger()) == sent


@pytest.mark.parametrize("content", ({"text": "x"}, {"data": "eA=="}))
def test_content_twice(client, capsule, content):
    """The bytes come in the request or over the socket, never both."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        error = refused(client, theirs.fileno(), "file.write", capsule=capsule,
                        path="/root/f", **content)
    assert error.name == "invalid_params"


def unfit_regular(tmp):
    return open(tmp / "file", "w+b")


def unfit_directory(tmp):
    return os.open(tmp, os.O_RDONLY)


def unfit_pipe_reader(tmp):
    ends = os.pipe()
    os.close(ends[1])
    return ends[0]


def unfit_pipe_writer(tmp):
    ends = os.pipe()
    os.close(ends[0])
    return ends[1]


def unfit_terminal(tmp):
    main, other = os.openpty()
    os.close(other)
    return main


def unfit_null(tmp):
    return os.open("/dev/null", os.O_RDWR)


def unfit_epoll(tmp):
    return select.epoll()


def unfit_memfd(tmp):
    return os.memfd_create("data")


def unfit_pidfd(tmp):
    return os.pidfd_open(os.getpid())


def unfit_path_only(tmp):
    return os.open(tmp, os.O_PATH)


def unfit_tcp(tmp):
    return socket.socket()


def unfit_tcp_connected(tmp):
    with socket.create_server(("127.0.0.1", 0)) as server:
        return socket.create_connection(server.getsockname())


def unfit_udp(tmp):
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def unfit_unconnected(tmp):
    return socket.socket(socket.AF_UNIX)


def unfit_listening(tmp):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind("")
    sock.listen()
    return sock


def unfit_datagram(tmp):
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0]


def unfit_packets(tmp):
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)[0]


UNFIT = [unfit_regular, unfit_directory, unfit_pipe_reader, unfit_pipe_writer, unfit_terminal,
         unfit_null, unfit_epoll, unfit_memfd, unfit_pidfd, unfit_path_only, unfit_tcp,
         unfit_tcp_connected, unfit_udp, unfit_unconnected, unfit_listening, unfit_datagram,
         unfit_packets]


@pytest.mark.parametrize("make", UNFIT, ids=lambda m: m.__name__[6:])
def test_unfit_kind(tmp_path, client, capsule, no_leak, make):
    made = make(tmp_path)
    fd = made if isinstance(made, int) else made.fileno()
    try:
        for _ in range(ROUNDS):
            for method in ("file.read", "file.write"):
                error = refused(client, fd, method, capsule=capsule, path="/root/f")
                assert error.name == "data_socket" and '"data"' in error.message
    finally:
        if isinstance(made, int):
            os.close(made)
        else:
            made.close()


def test_connection_to_wrennd_itself(daemon, client, capsule, no_leak):
    """Its own, or another one: wrennd would talk to itself."""
    with daemon.client() as other:
        for sock in (client.sock, other.sock):
            error = refused(client, sock.fileno(), capsule=capsule, path="/root/f")
            assert error.name == "data_socket" and "wrennd" in error.message
        assert other.call("daemon.hello")["protocol"] == 1


def test_socket_whose_other_end_is_closed(client, capsule, no_leak):
    client.call("file.write", {"capsule": capsule, "path": "/root/f", "text": "text"})
    for _ in range(ROUNDS):
        ours, theirs = socket.socketpair()
        ours.close()
        with theirs:
            error = refused(client, theirs.fileno(), capsule=capsule, path="/root/f")
        assert error.name == "data_socket"


def test_socket_shut_for_writing(client, capsule, no_leak):
    """By the client, who keeps a copy of the very end that it passed."""
    client.call("file.write", {"capsule": capsule, "path": "/root/f", "text": "text"})
    ours, theirs = socket.socketpair()
    theirs.shutdown(socket.SHUT_WR)
    with ours, theirs:
        assert refused(client, theirs.fileno(), capsule=capsule,
                       path="/root/f").name == "data_socket"


# ---- readers and writers that do not keep up ----

def full(sock):
    """Waits until the daemon has filled the socket: it is at work."""
    sock.settimeout(60)
    assert sock.recv(1)
    seen = -1
    for _ in range(2000):
        queued = array.array("i", [0])
        fcntl.ioctl(sock, 0x541B, queued)  # FIONREAD
        if queued[0] == seen and seen > 0:
            return
        seen = queued[0]
        select.select([], [], [], 0.05)
    raise TimeoutError("the socket never filled")


def test_blocking_mode_does_not_block_the_daemon(daemon, client, capsule):
    """The client clears O_NONBLOCK of the shared socket while it is full."""
    make_file(client, capsule, "big", 16 * MIB)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        number = client.send("file.read", {"capsule": capsule, "path": "/root/big"},
                             fds=[theirs.fileno()], names=["data"])
        theirs.setblocking(True)
        full(ours)
        theirs.setblocking(True)
        assert not fcntl.fcntl(theirs, fcntl.F_GETFL) & os.O_NONBLOCK
        for _ in range(20):
            assert daemon.call("daemon.status")["calls"]["in_flight"] == 2
        theirs.close()
        assert len(read_all(ours.dup())) == 16 * MIB - 1
        assert client.wait(number) == {"size": 16 * MIB}


def test_readers_that_never_read(daemon, client, capsule):
    """Their transfers wait; memory stays flat and others are served."""
    make_file(client, capsule, "big", 64 * MIB)
    before = daemon.rss()
    calls = [start(client, "file.read", capsule=capsule, path="/root/big") for _ in range(8)]
    try:
        for _, ours in calls:
            full(ours)
        answer = client.call("exec.run", {"capsule": capsule, "cmd": "echo", "args": ["ok"]})
        assert answer["stdout"] == "ok\n"
        assert daemon.call("daemon.status")["calls"]["in_flight"] == 9
        if not paths.SANITIZED:
            assert daemon.rss() < before + 20 * MIB
        # One of them reads after all and gets the whole of it.
        number, ours = calls.pop()
        assert len(read_all(ours)) == 64 * MIB - 1
        assert client.wait(number) == {"size": 64 * MIB}
    finally:
        for _, ours in calls:
            ours.close()
    for number, _ in calls:
        with pytest.raises(RpcError) as error:
            client.wait(number)
        assert error.value.name == "data_socket"


def test_writers_that_never_write(daemon, client, capsule):
    calls = [start(client, "file.write", capsule=capsule, path=f"/root/slow{n}", size=MIB)
             for n in range(8)]
    for _, ours in calls:
        ours.sendall(b"x" * 1000)
    answer = client.call("exec.run", {"capsule": capsule, "cmd": "echo", "args": ["ok"]})
    assert answer["stdout"] == "ok\n"
    for number, ours in calls:
        Feeder(ours, b"x" * (MIB - 1000))
        assert client.wait(number) == {"size": MIB}


# ---- ends in the middle ----

def transfers(cloud, kind):
    return [e for e in cloud.ledger() if e["path"].endswith(f"/files/stream/{kind}")]


def over(cloud, kind, count=1):
    """Waits until so many requests upstream have ended, one way or another."""
    def ended():
        done = [e for e in transfers(cloud, kind) if e["seconds"] is not None]
        return done if len(done) >= count else None
    return until(ended)


def goes_on(cloud, client, capsule):
    """Waits for the upload's start, and longer than its end would need."""
    until(lambda: transfers(cloud, "write"))
    for _ in range(30):
        client.call("exec.run", {"capsule": capsule, "cmd": "true"})
    assert transfers(cloud, "write")[-1]["seconds"] is None


def test_reader_that_goes_away(cloud, client, capsule, no_leak):
    make_file(client, capsule, "big", 64 * MIB)
    for _ in range(ROUNDS):
        number, ours = start(client, "file.read", capsule=capsule, path="/root/big")
        assert ours.recv(1000)
        ours.close()
        with pytest.raises(RpcError) as error:
            client.wait(number)
        assert error.value.name == "data_socket"
    broken = over(cloud, "read", ROUNDS)
    assert [e["status"] for e in broken] == [None] * ROUNDS, "upstream went on sending"


def test_writer_that_dies(cloud, daemon, client, capsule, no_leak):
    """Its socket ends and then its connection, without call.end."""
    with daemon.client() as writer:
        number, ours = start(writer, "file.write", capsule=capsule, path="/root/part")
        with ours:
            ours.sendall(b"x" * 100000)
        goes_on(cloud, client, capsule)
        writer.call("daemon.hello")
        assert number not in writer.waiting
    broken, = over(cloud, "write")
    assert broken["status"] != 204, "a part was taken for the whole"
    until(lambda: daemon.call("daemon.status")["calls"]["in_flight"] == 1)


def test_socket_that_ends_is_not_yet_the_end_of_the_input(cloud, client, capsule):
    """Without a size only call.end tells the whole from a part."""
    number = upload(client, capsule, "/root/f", b"whole")
    goes_on(cloud, client, capsule)
    assert client.call("daemon.status")["calls"]["in_flight"] == 2
    assert number not in client.waiting
    assert client.call("call.cancel", {"call": number}) == {"cancelled": True}
    with pytest.raises(RpcError) as error:
        client.wait(number)
    assert error.value.name == "cancelled"
    broken, = over(cloud, "write")
    assert broken["status"] != 204


@pytest.mark.parametrize("sent", (0, 1, 99999))
def test_writer_that_sends_less_than_announced(cloud, client, capsule, sent):
    number = upload(client, capsule, "/root/f", b"x" * sent, size=100000)
    with pytest.raises(RpcError) as error:
        client.wait(number)
    assert error.value.name == "truncated"
    assert f"after {sent} bytes" in error.value.message
    broken, = over(cloud, "write")
    assert broken["status"] != 204


def test_call_end_does_not_complete_a_short_upload(client, capsule):
    number, ours = start(client, "file.write", capsule=capsule, path="/root/f", size=10)
    with ours:
        ours.sendall(b"12345")
        client.call("call.end", {"call": number})
    with pytest.raises(RpcError) as error:
        client.wait(number)
    assert error.value.name == "truncated"


def test_upload_to_a_folder(client, capsule, no_leak):
    """Upstream refuses while the client still writes."""
    for _ in range(ROUNDS):
        number, ours = start(client, "file.write", capsule=capsule, path="/root", size=4 * MIB)
        feeder = Feeder(ours, b"x" * (4 * MIB))
        with pytest.raises(RpcError) as error:
            client.wait(number)
        assert error.value.name != "internal"
        feeder.join(60)
        assert not feeder.is_alive()


@pytest.mark.parametrize("method", ("file.read", "file.write"))
def test_cancel_in_the_middle(cloud, client, capsule, no_leak, method):
    make_file(client, capsule, "big", 64 * MIB)
    kind = method.split(".")[1]
    for rounds in range(ROUNDS):
        number, ours = start(client, method, capsule=capsule, path="/root/big")
        with ours:
            if method == "file.read":
                assert ours.recv(1000)
            else:
                ours.sendall(b"x" * 100000)
            until(lambda rounds=rounds: len(transfers(cloud, kind)) > rounds)
            assert client.call("call.cancel", {"call": number}) == {"cancelled": True}
            with pytest.raises(RpcError) as error:
                client.wait(number)
            assert error.value.name == "cancelled"
            until(lambda: ended(ours))
        assert client.call("call.cancel", {"call": number}) == {"cancelled": False}
    assert all(e["status"] not in (200, 204) for e in over(cloud, kind, ROUNDS))


def ended(sock):
    """Whether the daemon's end is closed; what is queued is thrown away."""
    sock.setblocking(False)
    try:
        return sock.recv(16 * MIB) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_hang_up_in_the_middle(cloud, daemon, client, capsule, no_leak):
    make_file(client, capsule, "big", 64 * MIB)
    for rounds in range(ROUNDS):
        with daemon.client() as other:
            _, down = start(other, "file.read", capsule=capsule, path="/root/big")
            _, up = start(other, "file.write", capsule=capsule, path="/root/up")
            assert down.recv(1000)
            up.sendall(b"x" * 100000)
            until(lambda rounds=rounds: len(transfers(cloud, "write")) > rounds)
        for sock in (down, up):
            until(lambda sock=sock: ended(sock))
            sock.close()
    for kind in ("read", "write"):
        assert all(e["status"] not in (200, 204)
                   for e in over(cloud, kind, ROUNDS))
