"""Somebody who follows daemon.events."""
from .client import Client


class Watcher:
    """A connection of its own; reads the events of one call."""

    def __init__(self, daemon, **params):
        self.client = Client(daemon.socket)
        self.number = self.client.send("daemon.events", params)
        # Answered when the call before it has subscribed.
        self.early = []
        self.hello = self.client.send("daemon.hello")
        while True:
            message = self.client.read()
            if message.get("id") == self.hello:
                break
            self.early.append(message)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def message(self):
        """The next notification's parameters; the answer's as it stands."""
        message = self.early.pop(0) if self.early else self.client.read()
        assert message is not None, "wrennd closed the connection"
        if message.get("method") != "event":
            return message
        assert message["params"]["call"] == self.number
        return message["params"]

    def event(self):
        """The next event; anything else is a failure."""
        params = self.message()
        assert params["type"] == "event", params
        return params["event"]

    def find(self, kind, **match):
        """The next event of that type with these members."""
        while True:
            event = self.event()
            if event["type"] == kind and match.items() <= event.items():
                return event

    def rest(self):
        """All that comes up to the answer: (events, answer)."""
        events = []
        while True:
            message = self.message()
            if "call" not in message:
                return events, message
            assert message["type"] == "event", message
            events.append(message["event"])
