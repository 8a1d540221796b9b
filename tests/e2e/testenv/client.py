"""A client of wrennd that speaks the protocol itself: lines, bytes, descriptors."""
import itertools
import json
import socket
import time

DEADLINE = 30


class RpcError(Exception):
    """An answer that is an error; `error` is the protocol's object."""

    def __init__(self, error):
        super().__init__(f"{error.get('data', {}).get('name')}: {error['message']}")
        self.error = error
        self.code = error["code"]
        self.name = error.get("data", {}).get("name")
        self.message = error["message"]
        self.data = error.get("data", {})


class Client:
    """One connection. Answers are matched by id, whatever their order."""

    def __init__(self, path, deadline=DEADLINE):
        # Without a timeout yet: with one, a full backlog is an error at once.
        self.sock = self.connect(str(path))
        self.sock.settimeout(deadline)
        self.buffer = b""
        self.ids = itertools.count(1)
        self.waiting = {}

    @staticmethod
    def connect(path):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
        except OSError:
            sock.close()
            raise
        return sock

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send_bytes(self, data, fds=()):
        """Raw bytes, as they are; with descriptors in one sendmsg."""
        if fds:
            sent = socket.send_fds(self.sock, [data], list(fds))
            data = data[sent:]
        if data:
            self.sock.sendall(data)

    def read_line(self):
        """The next line as bytes, without its newline; b"" at the end."""
        while b"\n" not in self.buffer:
            chunk = self.sock.recv(1 << 20)
            if not chunk:
                return b""
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def read(self):
        """The next message; None at the end."""
        line = self.read_line()
        return json.loads(line) if line else None

    def send(self, method, params=None, fds=(), names=()):
        """Sends a request and returns its id."""
        number = next(self.ids)
        message = {"jsonrpc": "2.0", "id": number, "method": method}
        if params is not None:
            message["params"] = params
        if names:
            message["fds"] = list(names)
        self.send_bytes(json.dumps(message).encode() + b"\n", fds)
        return number

    def notify(self, method, params):
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.send_bytes(json.dumps(message).encode() + b"\n")

    def wait(self, number):
        """The result of that request, or RpcError."""
        while number not in self.waiting:
            message = self.read()
            if message is None:
                raise ConnectionError("wrennd closed the connection")
            self.waiting[message["id"]] = message
        message = self.waiting.pop(number)
        if "error" in message:
            raise RpcError(message["error"])
        return message["result"]

    def call(self, method, params=None, **kwargs):
        return self.wait(self.send(method, params, **kwargs))


def until(condition, deadline=DEADLINE, pause=0.02):
    """Waits for something that only looking can tell; returns its value."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"not so within {deadline} s: {condition}")
        time.sleep(pause)
