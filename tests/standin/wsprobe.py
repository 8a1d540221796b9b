"""A WebSocket client that shows frames as they come, the bad ones too.

aiohttp's client, which most tests use, puts messages together and hides how a
connection ended.
"""
import base64
import hashlib
import http.client
import json
import os
import socket
import ssl
import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Link:
    """A way to a stand-in: its plain listener or its edge."""

    def __init__(self, server, tls):
        self.server = server
        self.tls = tls
        self.url = server.ready["tls_url" if tls else "url"]
        self.context = None
        if tls:
            self.context = ssl.create_default_context(
                cafile=server.ready["ca_file"]
            )
            self.context.set_alpn_protocols(["http/1.1"])

    def connect(self, receive_buffer=None, timeout=20):
        address, _, _ = self.url.partition("://")[2].partition("/")
        host, _, port = address.rpartition(":")
        sock = socket.socket()
        sock.settimeout(timeout)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                            receive_buffer)
        sock.connect(("127.0.0.1", int(port)))
        if self.tls:
            sock = self.context.wrap_socket(sock, server_hostname=host)
        return sock


class WsProbe:
    """One connection. `status` tells whether the upgrade came; close() it."""

    def __init__(self, link, path, headers=None, **options):
        self.sock = link.connect(**options)
        self.key = base64.b64encode(os.urandom(16))
        request = {
            "Host": "localhost", "Upgrade": "websocket",
            "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": self.key.decode(),
            "X-API-Key": link.server.key, **(headers or {}),
        }
        lines = [f"GET /api{path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in request.items()]
        self.sock.sendall("\r\n".join(lines + ["", ""]).encode())
        self.file = self.sock.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = http.client.parse_headers(self.file)

    @property
    def accepted(self):
        digest = base64.b64encode(hashlib.sha1(self.key + GUID).digest())
        return self.headers["Sec-WebSocket-Accept"] == digest.decode()

    def send(self, opcode, payload=b""):
        """A frame of up to 125 bytes, masked with zeros."""
        assert len(payload) < 126
        self.sock.sendall(
            bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload
        )

    def start(self, cmd, *args):
        message = {"type": "start", "cmd": cmd, "args": args}
        self.send(TEXT, json.dumps(message).encode())

    def shell(self, line):
        self.start("sh", "-c", line)

    def read(self, size):
        data = self.file.read(size)
        if len(data) < size:
            raise EOFError(data)
        return data

    def frame(self):
        """(final, opcode, payload); EOFError with what came of it."""
        first, size = self.read(2)
        if size == 126:
            size = struct.unpack(">H", self.read(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self.read(8))[0]
        return bool(first & 0x80), first & 0x7f, self.read(size)

    def message(self):
        """The frames of the next message; control frames are left out."""
        frames = []
        while not frames or not frames[-1][0]:
            one = self.frame()
            if one[1] < CLOSE:
                frames.append(one)
        return frames

    def event(self):
        return json.loads(b"".join(part for _, _, part in self.message()))

    def close(self):
        self.file.close()
        self.sock.close()
