"""A server that closes its connections in good order, as all do now and then."""
import json
import socket
import ssl
import threading

import pytest

from testenv import paths  # noqa: F401  (makes certs importable)
from testenv.client import until
import certs

DATA, HEADERS, SETTINGS, GOAWAY = 0, 1, 4, 7
ACK = END_STREAM = 1
END_HEADERS = 4
STATUS_200 = b"\x88"  # as HPACK has it in its static table
CAPSULE = "cl-" + "a" * 24
BODY = json.dumps({"id": CAPSULE + "a", "status": "running", "template": "minimal"}).encode()


def frame(kind, flags=0, stream=0, payload=b""):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags])
            + stream.to_bytes(4, "big") + payload)


class Edge:
    """Speaks HTTP/2 frame by frame: so many answers on each connection, then GOAWAY."""

    def __init__(self, folder, answers):
        self.answers = answers
        self.ca_file, cert, key = certs.make(str(folder), ["localhost"])
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.context.set_alpn_protocols(["h2"])
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"https://localhost:{self.listener.getsockname()[1]}"
        self.accepted = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            with self.context.wrap_socket(sock, server_side=True) as tls:
                self.speak(tls, tls.makefile("rb"))
        except OSError:
            pass  # wrennd went first

    def speak(self, tls, stream):
        tls.sendall(frame(SETTINGS))
        if self.answers == 0:
            tls.sendall(frame(GOAWAY, payload=bytes(8)))
        stream.read(24)  # the preface
        answered = 0
        while head := stream.read(9):
            kind, flags, number = head[3], head[4], int.from_bytes(head[5:], "big")
            stream.read(int.from_bytes(head[:3], "big"))
            if kind == SETTINGS and not flags & ACK:
                tls.sendall(frame(SETTINGS, ACK))
            if kind == HEADERS and answered < self.answers:
                tls.sendall(frame(HEADERS, END_HEADERS, number, STATUS_200)
                            + frame(DATA, END_STREAM, number, BODY))
                answered += 1
                if answered == self.answers:
                    last = number.to_bytes(4, "big")
                    tls.sendall(frame(GOAWAY, payload=last + bytes(4)))


@pytest.fixture
def make_edge(tmp_path):
    made = []

    def make(answers):
        made.append(Edge(tmp_path, answers))
        return made[-1]

    yield make
    for edge in made:
        edge.close()


def daemon_at(make_daemon, cloud, edge):
    return make_daemon(
        with_cloud=None,
        profile=f"base_url = {edge.url}\nca_file = {edge.ca_file}\n",
        env={"WRENN_API_KEY": cloud.key}).start()


def test_rotation_is_no_outage(make_daemon, cloud, make_edge):
    """Calls beyond the last of a GOAWAY go on elsewhere; nobody hears of an outage."""
    edge = make_edge(answers=10)
    daemon = daemon_at(make_daemon, cloud, edge)
    with daemon.client() as client:
        for _ in range(5):
            numbers = [client.send("capsule.get", {"capsule": CAPSULE + letter})
                       for letter in "bcdefghijklmnop"]
            for number in numbers:
                client.wait(number)
        upstream = client.call("daemon.status")["upstream"]
    assert edge.accepted >= 75 // 10
    assert upstream["retries"] > 0
    assert upstream["errors"] == 0
    assert upstream["state"] == "up"
    assert "cannot be reached" not in daemon.log_text()


def test_nobody_is_served(make_daemon, cloud, make_edge):
    """A call ends after its few attempts, and with it the connections."""
    edge = make_edge(answers=0)
    daemon = daemon_at(make_daemon, cloud, edge)
    with daemon.client() as client:
        number = client.send("capsule.get", {"capsule": CAPSULE + "b"})
        answer = client.read()
    assert answer["id"] == number
    assert answer["error"]["data"]["name"] == "unreachable"
    until(lambda: daemon.call("daemon.status")["upstream"]["open_connections"] == 0)
    assert edge.accepted <= 8
