"""The edge is restarted under load: what may be repeated does not fail, and
what must not be is carried out once at most, with the truth told of it."""
import collections
import threading

import pytest

from testenv.client import RpcError, until
from testenv.expect import good, together

WORKERS = 6
RESTARTS = 8
BETWEEN = 100  # requests from one restart to the next


class Load:
    """What the workers do until they are told to stop; outcomes by token."""

    def __init__(self, capsule):
        self.capsule = capsule
        self.over = threading.Event()
        self.outcomes = {}
        self.created = []
        self.lost_creates = 0

    def calls(self, client, index):
        """Those that may be repeated: each must be answered."""
        while not self.over.is_set():
            numbers = [client.send("capsule.get", {"capsule": self.capsule}),
                       client.send("capsule.ping", {"capsule": self.capsule}),
                       client.send("file.list", {"capsule": self.capsule, "path": "/root"}),
                       client.send("capsule.list", {"untracked": True})]
            for number in numbers:
                client.wait(number)

    def commands(self, client, index):
        """Each writes its token, once; several at a time."""
        turn = 0
        while not self.over.is_set():
            tokens = [f"{index}-{turn}-{i}" for i in range(4)]
            numbers = [client.send("exec.run", {
                "capsule": self.capsule, "cmd": "sh",
                "args": ["-c", f"echo {token} >>tokens"]}) for token in tokens]
            for token, number in zip(tokens, numbers):
                try:
                    client.wait(number)
                    self.outcomes[token] = "answered"
                except RpcError as error:
                    self.outcomes[token] = error.name
            turn += 1

    def creates(self, client, index):
        while not self.over.is_set():
            try:
                made = client.call("capsule.create", {"wait": False})["id"]
                self.created.append(made)
            except RpcError as error:
                assert error.name in ("outcome_unknown", "unreachable"), error
                self.lost_creates += error.name == "outcome_unknown"
                continue
            client.call("capsule.destroy", {"capsule": made})

    def work(self, client, index):
        kinds = (self.calls, self.commands, self.creates)
        kinds[index % len(kinds)](client, index)


@pytest.mark.parametrize("action", ["restart", "goaway"])
def test_edge_is_restarted_under_load(cloud, daemon, action):
    """"restart" kills it, "goaway" lets it finish what it has begun."""
    load = Load(daemon.call("capsule.create")["id"])
    before = cloud.alive()

    def restart():
        for i in range(RESTARTS):
            seen = len(cloud.ledger())
            until(lambda: len(cloud.ledger()) > seen + BETWEEN)
            cloud.admin("POST", "/edge", {"action": action})

    def work(client, index):
        if index == WORKERS:
            try:
                restart()
            finally:
                load.over.set()
        else:
            load.work(client, index)

    good(together(daemon, WORKERS + 1, work))
    check_commands(daemon, load, action)
    check_creates(cloud, load, before, action)
    upstream = daemon.call("daemon.status")["upstream"]
    assert (upstream["state"], upstream["in_flight"]) == ("up", 0)
    assert upstream["connections"] > RESTARTS and upstream["http_version"] == "2"


def check_commands(daemon, load, action):
    """The tokens that are there are those of which that was said."""
    done = daemon.call("file.read", {"capsule": load.capsule, "path": "/root/tokens"})
    counts = collections.Counter(done["text"].split())
    assert set(counts.values()) == {1} and set(counts) <= set(load.outcomes)
    outcomes = collections.Counter(load.outcomes.values())
    assert set(outcomes) <= {"answered", "outcome_unknown", "unreachable"}, outcomes
    for token, outcome in load.outcomes.items():
        assert outcome != "answered" or counts[token] == 1, token
        assert outcome != "unreachable" or counts[token] == 0, token
    if action == "goaway":
        assert set(outcomes) == {"answered"}, outcomes


def check_creates(cloud, load, before, action):
    left = cloud.alive() - before
    assert not left & set(load.created)
    assert len(left) <= load.lost_creates
    assert action != "goaway" or load.lost_creates == 0
