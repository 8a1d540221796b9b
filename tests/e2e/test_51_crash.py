"""kill -9 and SIGTERM at any moment: no capsule is lost from the record."""
import random
import signal
import threading

import pytest

from testenv.client import RpcError, until

ROUNDS = 5
SEED = 20240607


class Load:
    """Clients that create and destroy until their daemon is gone."""

    def __init__(self, daemon, clients, seed):
        self.lock = threading.Lock()
        self.created, self.destroyed, self.asked = set(), set(), 0
        self.threads = [
            threading.Thread(target=self.run, args=(daemon, random.Random(seed + i)))
            for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, daemon, dice):
        own = []
        try:
            with daemon.client() as client:
                while True:
                    with self.lock:
                        self.asked += 1
                    made = client.call("capsule.create", {"timeout_sec": 600})["id"]
                    own.append(made)
                    with self.lock:
                        self.created.add(made)
                    if dice.random() < 0.3:
                        victim = own.pop(dice.randrange(len(own)))
                        # From here on it may be gone, acknowledged or not.
                        with self.lock:
                            self.created.discard(victim)
                        client.call("capsule.destroy", {"capsule": victim})
                        with self.lock:
                            self.destroyed.add(victim)
        except (OSError, RpcError):
            pass  # the daemon was killed, or is stopping

    def join(self):
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()


def look(daemon):
    """(IDs by the state of their record, how many have no ID yet)."""
    by_record, unknown = {}, 0
    for c in daemon.call("capsule.list")["capsules"]:
        if c["id"].startswith("cl-"):
            by_record.setdefault(c["record"], set()).add(c["id"])
        else:
            unknown += 1
    return by_record, unknown


def settled(cloud, daemon):
    """Whether the server is done with what was sent before the kill."""
    return (daemon.call("daemon.status")["capsules"]["ending"] == 0
            and all(e["seconds"] is not None for e in cloud.ledger()))


@pytest.mark.parametrize("way", ["kill", "term"])
def test_killed_amid_creates(make_cloud, make_daemon, way):
    cloud = make_cloud("--create-delay", "0.2")
    daemon = make_daemon(cloud, settings="drain_timeout = 30s").start()
    dice = random.Random(SEED)
    created, destroyed = set(), set()
    for turn in range(ROUNDS):
        load = Load(daemon, 10, SEED + 100 * turn)
        count = len(cloud.requests(method="POST")) + dice.randrange(5, 60)
        until(lambda: len(cloud.requests(method="POST")) >= count, pause=0.003)
        if way == "kill":
            daemon.kill()
        else:
            assert daemon.stop() == 0
        load.join()
        created = created - destroyed | load.created
        destroyed |= load.destroyed
        daemon.start()
        until(lambda: settled(cloud, daemon))

    alive = cloud.alive()
    by_record, unknown = look(daemon)
    live = by_record.get("live", set())
    assert created and destroyed
    assert created <= live, "acknowledged creates that are not on record"
    assert not destroyed & alive, "acknowledged destroys that are alive"
    assert len(alive - live) <= unknown, "alive, and no record of any kind"
    if way == "term":
        # In-flight creates were finished and recorded.
        assert unknown == 0 and alive == live
    else:
        assert unknown <= 10 * ROUNDS


def test_stop_finishes_creates(make_cloud, make_daemon):
    cloud = make_cloud("--create-delay", "1")
    daemon = make_daemon(cloud).start()
    with daemon.client() as client:
        numbers = [client.send("capsule.create", {"name": f"c{i}"}) for i in range(5)]
        until(lambda: len(cloud.requests(method="POST")) == 5)
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: "stopping" in daemon.log_text())
        with pytest.raises(RpcError) as error:
            client.call("capsule.create")
        assert error.value.name == "shutting_down"
        made = {client.wait(n)["id"] for n in numbers}
    assert daemon.process.wait(timeout=30) == 0
    assert cloud.alive() == made
    daemon.start()
    assert look(daemon) == ({"live": made}, 0)
    assert len(cloud.requests(method="POST")) == 5


def test_stop_does_not_wait_for_ever(make_cloud, make_daemon):
    cloud = make_cloud("--create-delay", "600")
    daemon = make_daemon(cloud, settings="drain_timeout = 1s").start()
    with daemon.client() as client:
        client.send("capsule.create")
        until(lambda: cloud.requests(method="POST"))
        assert daemon.stop() == 0
    daemon.start()
    assert look(daemon) == ({}, 1)


def test_second_signal_stops_at_once(make_cloud, make_daemon):
    cloud = make_cloud("--create-delay", "600")
    daemon = make_daemon(cloud, settings="drain_timeout = 1h").start()
    with daemon.client() as client:
        client.send("capsule.create")
        until(lambda: cloud.requests(method="POST"))
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: "stopping" in daemon.log_text())
        assert daemon.process.poll() is None
        assert daemon.stop() == 0


def test_shutdown_by_call(daemon):
    assert daemon.call("daemon.shutdown") == {}
    assert daemon.process.wait(timeout=30) == 0
    assert not daemon.socket.exists()


@pytest.mark.parametrize("moment", ["before", "during"])
def test_killed_amid_destroy(cloud, daemon, moment):
    """The row is `ending`, and the next run ends it."""
    made = daemon.call("capsule.create", {"name": "web"})["id"]
    cloud.fault({"delay" if moment == "before" else "delay_answer": 600},
                match={"method": "DELETE"})
    with daemon.client() as client:
        client.send("capsule.destroy", {"capsule": "web"})
        until(lambda: cloud.requests(method="DELETE"))
        if moment == "during":
            until(lambda: made not in cloud.alive())
        daemon.kill()
    assert (made in cloud.alive()) == (moment == "before")
    daemon.start()
    until(lambda: daemon.call("capsule.list")["capsules"] == [])
    assert made not in cloud.alive()
    with pytest.raises(RpcError) as error:
        daemon.call("capsule.get", {"capsule": "web"})
    assert error.value.name == "not_found"


def test_killed_over_and_over_without_work(daemon):
    made = daemon.call("capsule.create")["id"]
    for _ in range(10):
        daemon.kill()
        daemon.start()
    assert look(daemon) == ({"live": {made}}, 0)
    assert daemon.call("daemon.status")["store"]["state"] == "ok"


def test_killed_at_its_start(cloud, daemon):
    """Between the lock, the store and the socket."""
    made = daemon.call("capsule.create")["id"]
    daemon.kill()
    dice = random.Random(SEED)
    for _ in range(20):
        daemon.spawn()
        daemon.process.poll()
        pause = threading.Event()
        pause.wait(dice.uniform(0, 0.03))  # any moment will do
        daemon.kill()
    daemon.start()
    assert look(daemon) == ({"live": {made}}, 0)
    assert not cloud.requests(method="DELETE")
