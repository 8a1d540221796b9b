"""Just enough of an HTTP/2 client to see what the edge does to one.

Frames are looked at as they are; of the responses' headers only the
:status of the static table is understood.
"""
import socket
import ssl
import struct

DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
ACK, END_STREAM, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STATIC_STATUS = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400,
                 0x8D: 404, 0x8E: 500}


def literal(name, value):
    """A header field, neither indexed nor compressed."""
    name, value = name.encode(), value.encode()
    assert len(name) < 127 and len(value) < 127
    return (b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value)


class H2Probe:
    """One connection: open a stream, wait for its frames. close() it."""

    def __init__(self, port, ca_file, timeout=10):
        context = ssl.create_default_context(cafile=ca_file)
        context.set_alpn_protocols(["h2"])
        raw = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock = context.wrap_socket(raw, server_hostname="localhost")
        assert self.sock.selected_alpn_protocol() == "h2"
        self.buffer = b""
        self.next_stream = 1
        self.sock.sendall(PREFACE)
        self.send(SETTINGS, 0, 0, b"")

    def send(self, kind, flags, stream, payload):
        head = struct.pack(">I", len(payload))[1:]
        head += bytes([kind, flags]) + struct.pack(">I", stream)
        try:
            self.sock.sendall(head + payload)
        except ssl.SSLEOFError:
            raise ConnectionError("the edge closed the connection") from None

    def open(self, method, path, headers=(), body=None):
        """Sends a request; returns its stream."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        block = b"".join(
            literal(name, value)
            for name, value in [
                (":method", method), (":scheme", "https"),
                (":authority", "localhost"), (":path", path), *headers,
            ]
        )
        flags = END_HEADERS | (END_STREAM if body is None else 0)
        self.send(HEADERS, flags, stream, block)
        if body is not None:
            self.send(DATA, END_STREAM, stream, body)
        return stream

    def reset(self, stream):
        self.send(RST_STREAM, 0, stream, struct.pack(">I", 8))

    def take(self, size):
        while len(self.buffer) < size:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError("the edge closed the connection")
            self.buffer += data
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def frame(self):
        """The next frame as (kind, flags, stream, payload)."""
        head = self.take(9)
        size = int.from_bytes(head[:3], "big")
        payload = self.take(size)
        if head[3] == SETTINGS and not head[4] & ACK:
            self.send(SETTINGS, ACK, 0, b"")
        return head[3], head[4], int.from_bytes(head[5:9], "big"), payload

    def frames_until(self, kind):
        """Frames up to and with the first of that kind."""
        seen = []
        while not seen or seen[-1][0] != kind:
            seen.append(self.frame())
        return seen

    def answer(self, stream):
        """(status, body) of a stream that ends well."""
        status, body = None, b""
        while True:
            kind, flags, number, payload = self.frame()
            if number != stream:
                continue
            if kind == RST_STREAM:
                raise ConnectionError("stream reset")
            if kind == HEADERS and status is None:
                status = STATIC_STATUS.get(payload[0])
            if kind == DATA:
                body += payload
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                return status, body

    def close(self):
        self.sock.close()
