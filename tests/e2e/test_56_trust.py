"""The file with the trusted certificates changes while wrennd runs."""
import os
import pathlib
import shutil

import pytest

from testenv import paths  # noqa: F401  (makes certs importable)
from testenv.client import until
from testenv.expect import fails
import certs

PATIENCE = 60  # wrennd looks every 15 s
CHANGED = "the trusted certificates have changed"


@pytest.fixture
def other_ca(tmp_path):
    """An authority that the server's certificate is not from."""
    return pathlib.Path(certs.make(str(tmp_path), ["localhost"])[0]).read_text()


class Trusting:
    """A daemon with a ca_file of its own, and one connection that is in use."""

    def __init__(self, daemon, cloud):
        self.file = daemon.folder / "ca.pem"
        shutil.copy(cloud.ready["ca_file"], self.file)
        daemon.config.write_text(daemon.config.read_text().replace(
            cloud.ready["ca_file"], str(self.file)))
        self.daemon = daemon.start()
        self.ask()
        self.ask()
        assert self.connections() == 1

    def ask(self):
        return self.daemon.call("capsule.list", {"untracked": True})

    def connections(self):
        return self.daemon.call("daemon.status")["upstream"]["connections"]

    def replace(self, text):
        """As a package manager does it, and until wrennd has looked."""
        new = self.file.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.file)
        until(lambda: CHANGED in self.daemon.log_text(), PATIENCE)


@pytest.fixture
def trusting(make_daemon, cloud):
    return Trusting(make_daemon(), cloud)


def test_other_certificates_bring_another_connection(trusting, other_ca):
    """That the server is still trusted is proved anew."""
    trusting.replace(other_ca + trusting.file.read_text())
    trusting.ask()
    trusting.ask()
    assert trusting.connections() == 2


def test_a_server_that_is_no_longer_trusted_is_told_nothing(trusting, other_ca, cloud):
    trusting.replace(other_ca)
    before = cloud.ledger()
    for _ in range(2):
        with fails("tls_failed"):
            trusting.ask()
    assert cloud.ledger() == before
