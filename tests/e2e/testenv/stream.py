"""A command that streams: its events, or what came over its data sockets."""
import socket
import threading

from .client import RpcError


class Stream:
    """exec.stream, started. Names in `sockets` get a data socket each."""

    def __init__(self, client, capsule, cmd, *args, sockets=(), **params):
        self.client = client
        self.data = {name: bytearray() for name in sockets}
        self.ends = {}
        self.threads = []
        self.events = []
        self.answer = None
        pairs = [socket.socketpair() for _ in sockets]
        self.number = client.send(
            "exec.stream",
            {"capsule": capsule, "cmd": cmd, "args": list(args), **params},
            fds=[theirs.fileno() for _, theirs in pairs], names=sockets)
        for name, (ours, theirs) in zip(sockets, pairs):
            theirs.close()
            self.ends[name] = ours

    def read_sockets(self):
        """From now on, until their ends."""
        for name, end in self.ends.items():
            self.threads.append(threading.Thread(target=self._drain, args=(name, end)))
            self.threads[-1].start()
        return self

    def _drain(self, name, end):
        with end:
            while chunk := end.recv(1 << 20):
                self.data[name] += chunk

    def step(self):
        """The next event, or None when the answer has come instead."""
        if self.answer is not None:
            return None
        message = self.client.read()
        if message is None:
            raise ConnectionError("wrennd closed the connection")
        if message.get("method") == "event":
            assert message["params"].pop("call") == self.number
            self.events.append(message["params"])
            return self.events[-1]
        assert message["id"] == self.number, message
        self.answer = message
        return None

    def until(self, kind):
        """The next event of that type; those before it are in `events` too."""
        while True:
            event = self.step()
            assert event is not None, (self.events, self.answer)
            if event["type"] == kind:
                return event

    def text(self, name="stdout"):
        """What has come of it so far, as events."""
        return "".join(e["text"] for e in self.events if e["type"] == name)

    def types(self):
        """The types of the events that are no output."""
        return [e["type"] for e in self.events if e["type"] not in ("stdout", "stderr")]

    def result(self):
        """The answer; raises RpcError. What the sockets brought is whole then."""
        while self.step() is not None:
            pass
        for thread in self.threads:
            thread.join(timeout=60)
            assert not thread.is_alive()
        if "error" in self.answer:
            raise RpcError(self.answer["error"])
        return self.answer["result"]

    def drop(self):
        """Closes what is left of its sockets."""
        for end in self.ends.values():
            end.close()
