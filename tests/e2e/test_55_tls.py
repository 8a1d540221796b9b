"""How connections are made: sessions taken up again, trust, ALPN, proxies."""
import shutil
import ssl
import urllib.parse

import pytest

import certs
from testenv.client import until
from testenv.expect import fails
from testenv.tls import ConnectProxy, Front, Plain

NAMES = ["localhost", "127.0.0.1", "::1"]


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """(authority, certificate, key) of the servers here."""
    return certs.make(tmp_path_factory.mktemp("tls"), NAMES)


@pytest.fixture(scope="session")
def stranger(tmp_path_factory):
    """An authority that has signed nothing of ours."""
    return certs.make(tmp_path_factory.mktemp("stranger"), NAMES)[0]


@pytest.fixture
def front(cloud, tmp_path, authority):
    """front(protocols, host): a TLS server before the stand-in."""
    url = urllib.parse.urlsplit(cloud.ready["url"])
    plain = (url.hostname, url.port)
    made = [Plain(tmp_path, plain)]
    backends = {"h2": made[0].path, "http/1.1": plain, None: plain}

    def make(protocols=("h2", "http/1.1"), host="127.0.0.1"):
        made.append(Front(*authority[1:], protocols, backends, host))
        return made[-1]

    yield make
    for one in reversed(made):
        one.stop()


@pytest.fixture
def trusting(make_daemon, cloud, tmp_path, authority):
    """trusting(front): a wrennd that uses it, and its file of authorities."""
    path = urllib.parse.urlsplit(cloud.ready["url"]).path
    ca_file, key_file = tmp_path / "ca.pem", tmp_path / "key"

    def make(server, host="localhost", profile=""):
        shutil.copy(authority[0], ca_file)
        key_file.write_text(cloud.key)
        key_file.chmod(0o600)
        return make_daemon(None, profile=(
            f"base_url = https://{host}:{server.port}{path}\n"
            f"ca_file = {ca_file}\napi_key_file = {key_file}\n" + profile)).start()

    make.ca_file = ca_file
    return make


def look(daemon):
    """A call that needs the server."""
    return daemon.call("capsule.list")


def http_version(daemon):
    return daemon.call("daemon.status")["upstream"]["http_version"]


# ---- sessions ----

@pytest.mark.parametrize("host, name", [
    ("localhost", "localhost"), ("127.0.0.1", None), ("[::1]", None), ("LOCALHOST", "localhost"),
])
def test_the_next_connection_takes_the_session_up_again(front, trusting, host, name):
    server = front(host=host.strip("[]") if "[" in host else "127.0.0.1")
    daemon = trusting(server, host)
    for count in range(1, 4):
        look(daemon)
        assert len(server.handshakes) == count
        server.drop()
    protocols, reused, names = zip(*server.handshakes)
    assert protocols == ("h2",) * 3
    assert reused == (False, True, True)
    assert {n and n.lower() for n in names} == {name}
    assert http_version(daemon) == "2"


def test_several_calls_share_a_connection(front, trusting):
    server = front()
    daemon = trusting(server)
    for _ in range(5):
        look(daemon)
    assert len(server.handshakes) == 1


# ---- trust ----

def test_a_changed_file_of_authorities_holds_for_the_next_connection(
        front, trusting, authority, stranger):
    server = front()
    daemon = trusting(server)
    look(daemon)
    trusting.ca_file.write_bytes(open(stranger, "rb").read())
    # The connection that stands is as good as it was.
    look(daemon)
    assert len(server.handshakes) == 1
    # A session would do without the certificate: it went with the trust.
    server.drop()
    with fails("tls_failed"):
        look(daemon)
    assert len(server.handshakes) == 1
    until(lambda: server.failed)
    trusting.ca_file.write_bytes(open(stranger, "rb").read() + open(authority[0], "rb").read())
    look(daemon)
    server.drop()
    look(daemon)
    assert [h[1] for h in server.handshakes] == [False, False, True]


def test_a_file_of_authorities_that_cannot_be_read_is_named(front, trusting):
    server = front()
    daemon = trusting(server)
    look(daemon)
    kept = trusting.ca_file.read_bytes()
    trusting.ca_file.write_text("no certificate")
    server.drop()
    with fails("tls_failed") as info:
        look(daemon)
    assert str(trusting.ca_file) in info.value.message
    trusting.ca_file.write_bytes(kept)
    look(daemon)
    assert len(server.handshakes) == 2


# ---- ALPN ----

@pytest.mark.parametrize("protocols, agreed", [(["http/1.1"], "http/1.1"), ([], None)])
def test_a_server_without_http2_is_remembered(front, trusting, protocols, agreed):
    server = front(protocols)
    daemon = trusting(server)
    look(daemon)
    # One to learn it, one to use.
    assert [h[0] for h in server.handshakes] == [agreed] * 2
    for _ in range(5):
        look(daemon)
    assert len(server.handshakes) == 2
    assert http_version(daemon) == "1.1"
    server.drop()
    look(daemon)
    assert len(server.handshakes) == 3
    assert server.handshakes[-1][1]


# ---- proxies ----

@pytest.fixture
def proxy():
    made = []

    def make(context=None):
        made.append(ConnectProxy(context))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_through_a_proxy(cloud, front, trusting, proxy):
    server, tunnel = front(), proxy()
    daemon = trusting(server, profile=f"proxy = http://127.0.0.1:{tunnel.port}\n")
    for _ in range(3):
        look(daemon)
    assert len(tunnel.seen) == 1
    assert tunnel.seen[0].startswith(f"CONNECT localhost:{server.port} HTTP/1.1\r\n")
    assert cloud.key not in tunnel.seen[0]
    assert [h[:2] for h in server.handshakes] == [("h2", False)]
    server.drop()
    look(daemon)
    assert [h[:2] for h in server.handshakes] == [("h2", False), ("h2", True)]


def test_through_a_proxy_behind_tls(front, trusting, proxy, authority):
    """It is not the server: it is offered no HTTP/2, and has sessions of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority[1:])
    context.set_alpn_protocols(["h2", "http/1.1"])
    server, tunnel = front(), proxy(context)
    daemon = trusting(
        server, host="127.0.0.1", profile=f"proxy = https://localhost:{tunnel.port}\n")
    for _ in range(2):
        look(daemon)
        until(lambda: server.open)
        server.drop()
    assert [h[:2] for h in server.handshakes] == [("h2", False), ("h2", True)]
    assert "h2" not in tunnel.protocols
    assert len(tunnel.seen) == 2


def test_a_proxy_that_is_not_there(front, trusting):
    server, tunnel = front(), ConnectProxy()
    tunnel.stop()
    daemon = trusting(server, profile=f"proxy = http://127.0.0.1:{tunnel.port}\n")
    with fails("unreachable"):
        look(daemon)
    assert not server.handshakes
