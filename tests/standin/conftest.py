"""One stand-in with an edge for all tests, clean before each of them.

STANDIN_OPTIONS in the environment adds options, such as "--isolation cwd".
"""
import os

import pytest

from .harness import Standin
from .wsprobe import Link, WsProbe

KEYS = ("wrn_" + "a" * 32, "wrn_" + "b" * 32)


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    errors = tmp_path_factory.mktemp("standin") / "stderr"
    with open(errors, "w") as stderr:
        server = start(stderr)
    yield server
    server.stop()
    assert errors.read_text() == "", "it complained"


def start(stderr):
    return Standin(
        "--tls", "--api-key", KEYS[0], "--api-key", KEYS[1],
        "--user", "dev@example.com:secret", "--pause-check", "0.05",
        *os.environ.get("STANDIN_OPTIONS", "").split(),
        stderr=stderr,
    )


@pytest.fixture
def server(running):
    running.admin("DELETE", "/faults")
    running.admin("DELETE", "/ledger")
    yield running
    running.admin("DELETE", "/faults")


@pytest.fixture
def capsule(server):
    capsule_id = server.create()
    yield capsule_id
    server.admin("DELETE", "/faults")
    server.call("DELETE", "/v1/capsules/" + capsule_id)


@pytest.fixture(params=["plain", "tls"])
def link(request, server):
    return Link(server, request.param == "tls")


@pytest.fixture
def plain(server):
    return Link(server, False)


@pytest.fixture
def probe():
    """Opens probes, which are closed at the end."""
    probes = []

    def opened(*arguments, **options):
        probes.append(WsProbe(*arguments, **options))
        return probes[-1]

    yield opened
    for one in probes:
        one.close()
