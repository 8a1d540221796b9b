"""Fixtures: a stand-in for the session, and a wrennd for each test."""
import itertools

import pytest

from testenv.cloud import Cloud
from testenv.ctl import Ctl
from testenv.daemon import Daemon
from frames.server import FrameServer

_names = itertools.count(1)


@pytest.fixture(scope="session")
def shared_cloud():
    cloud = Cloud()
    yield cloud
    cloud.stop()


@pytest.fixture
def cloud(shared_cloud):
    """The session's stand-in, without faults and with an empty ledger."""
    shared_cloud.clear_faults()
    shared_cloud.admin("DELETE", "/ledger")
    yield shared_cloud
    shared_cloud.clear_faults()


@pytest.fixture
def make_cloud():
    """Makes stand-ins of a test's own: make_cloud("--create-delay", "1")."""
    made = []

    def make(*options):
        made.append(Cloud(*options))
        return made[-1]

    yield make
    for cloud in made:
        cloud.stop()


@pytest.fixture(scope="session")
def shared_frames():
    server = FrameServer()
    yield server
    server.stop()


@pytest.fixture
def frames(shared_frames):
    """The server that speaks frames, without faults and with an empty ledger."""
    shared_frames.reset()
    return shared_frames


@pytest.fixture
def make_daemon(tmp_path_factory, cloud):
    """Makes daemons with folders of their own, not started yet."""
    made = []

    def make(with_cloud=cloud, **kwargs):
        # Socket paths are short: the test's name stays out of the folder.
        folder = tmp_path_factory.mktemp(f"d{next(_names)}")
        made.append(Daemon(folder, with_cloud, **kwargs))
        return made[-1]

    yield make
    for daemon in made:
        daemon.remove()


@pytest.fixture
def daemon(make_daemon):
    """A wrennd that runs, with the key of the session's stand-in."""
    return make_daemon().start()


@pytest.fixture
def client(daemon):
    with daemon.client() as client:
        yield client


@pytest.fixture
def ctl(daemon):
    return Ctl(daemon)


@pytest.fixture
def capsule(client):
    """The ID of a running capsule that goes with the test."""
    made = client.call("capsule.create", {"lease": {"type": "none"}})["id"]
    yield made
    with_client = client.call
    with_client("capsule.destroy", {"capsule": made})
