"""The service manager: units, notices, watchdog, passed sockets, credentials."""
import contextlib
import ctypes
import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

import pytest

from testenv.client import Client, until
from testenv.manager import Managed
from testenv.paths import SANITIZED, TOP, WRENND

UNITS = TOP / "systemd"
EXAMPLE = TOP / "docs" / "wrennd.conf.example"
PERIOD_MS = 2000 if SANITIZED else 600  # of the watchdog

needs_libsystemd = pytest.mark.skipif(
    b"sd_notify" not in pathlib.Path(WRENND).read_bytes(),
    reason="this wrennd was built without libsystemd")
needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="there is no systemd-analyze (Debian: systemd)")

_names = itertools.count(1)


# ---- units ----

@pytest.fixture
def units(tmp_path):
    """Makes a folder of installed units out of one of the sources'."""
    def make(source):
        for path in source.iterdir():
            if path.suffix in (".in", ".socket"):
                text = path.read_text()
                (tmp_path / path.name.removesuffix(".in")).write_text(
                    text.replace("@sbindir@", str(pathlib.Path(WRENND).parent)))
        return tmp_path
    return make


def analyze(*arguments, **env):
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], env={**os.environ, **env},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        check=False)


@needs_analyze
@pytest.mark.parametrize("source,scope", [
    (UNITS, "--system"), (UNITS / "user", "--user")])
def test_units_have_no_mistakes(units, tmp_path, source, scope):
    folder = units(source)
    done = analyze("verify", scope, "--man=no", folder / "wrennd.service",
                   folder / "wrennd.socket", XDG_RUNTIME_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "")


def exposure(unit):
    return analyze("security", "--offline=true", "--threshold=15", "--no-pager",
                   unit)


@needs_analyze
def test_system_unit_is_closed_off(units):
    unit = units(UNITS) / "wrennd.service"
    done = exposure(unit)
    assert done.returncode == 0, done.stdout
    # What the threshold is worth: it takes a single line to pass it.
    unit.write_text(unit.read_text().replace("NoNewPrivileges=yes", ""))
    assert exposure(unit).returncode != 0


def settings(path):
    """The assignments of a unit as (name, value)."""
    return re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE)


def test_system_unit_leaves_clients_their_identity_and_their_socket():
    service = dict(settings(UNITS / "wrennd.service.in"))
    assert "PrivateUsers" not in service
    assert service["ProtectProc"] == "default"
    # It would chown the socket, and remove it with the service.
    assert "RuntimeDirectory" not in service
    assert service["StateDirectory"] == "wrennd"
    assert "--system" in service["ExecStart"]


@pytest.mark.parametrize("unit", ["wrennd.service.in", "user/wrennd.service.in"])
def test_units_wait_for_readiness_and_watch(unit):
    service = dict(settings(UNITS / unit))
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) > 0
    assert service["Restart"] == "on-failure"
    assert service["LimitCORE"] == "0"


def test_missing_credentials_are_no_obstacle():
    """With an absolute path the unit would fail where there is no file."""
    loaded = [v for k, v in settings(UNITS / "wrennd.service.in")
              if k == "LoadCredential"]
    assert loaded == ["api_key:wrennd.api_key", "token:wrennd.token"]


def test_example_of_the_configuration(tmp_path):
    """It names every key, and is right when all of them are in use."""
    text = re.sub(r"^#(\w+ = )", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)
    section, named = None, set()
    for line in text.splitlines():
        if found := re.match(r"\[(\w+)", line):
            section = found.group(1)
        elif found := re.match(r"(\w+) = ", line):
            named.add(f"{section}.{found.group(1)}")
    keys = subprocess.run([WRENND, "--dump-config"], stdout=subprocess.PIPE,
                          text=True, timeout=30, check=True).stdout.split()
    assert named == set(keys)
    config = tmp_path / "wrennd.conf"
    config.write_text(text)
    done = subprocess.run([WRENND, "--check-config", "--config", str(config)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout


# ---- notices ----

@pytest.fixture
def managed(tmp_path_factory, cloud):
    """Makes a wrennd that is under a service manager, not started yet."""
    made = []

    def make(**kwargs):
        folder = tmp_path_factory.mktemp(f"m{next(_names)}")
        made.append(Managed(folder, kwargs.pop("with_cloud", cloud), **kwargs))
        return made[-1]

    yield make
    for daemon in made:
        daemon.remove()


@needs_libsystemd
def test_ready_once_when_clients_are_served(managed):
    daemon = managed()
    daemon.start()
    with daemon.client() as client:  # at once: it said so
        assert client.call("daemon.hello")["uid"] == os.getuid()
    assert daemon.notices.during(1) == []


@needs_libsystemd
def test_stopping_once_on_sigterm(managed):
    daemon = managed().start()
    assert daemon.stop() == 0
    assert daemon.notices.during(0.5) == [{"STOPPING": "1"}]


@needs_libsystemd
def test_stopping_by_a_client(managed):
    daemon = managed().start()
    daemon.call("daemon.shutdown")
    daemon.notices.expect("STOPPING")
    assert daemon.process.wait(timeout=30) == 0


@needs_libsystemd
def test_reloading_and_ready_on_sighup(managed):
    daemon = managed().start()
    daemon.process.send_signal(signal.SIGHUP)
    reloading = daemon.notices.expect("RELOADING")
    assert int(reloading["MONOTONIC_USEC"]) > 0
    assert daemon.notices.expect("READY") == {"READY": "1"}
    assert daemon.notices.during(0.5) == []


@needs_libsystemd
def test_not_reloading_what_is_wrong(managed):
    daemon = managed().start()
    daemon.config.write_text("[daemon]\nnonsense = 1\n")
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: "reload" in daemon.log_text())
    assert daemon.notices.during(0.5) == []


@needs_libsystemd
def test_never_ready_without_a_socket(managed):
    daemon = managed(settings="socket = /dev/null/wrennd.sock")
    daemon.spawn()
    assert daemon.process.wait(timeout=30) == 1
    assert daemon.notices.during(0.2) == []


# ---- watchdog ----

@needs_libsystemd
def test_signs_of_life_come_twice_in_the_time(managed):
    daemon = managed(watchdog_ms=PERIOD_MS).start()
    seen = daemon.notices.during(5 * PERIOD_MS / 1000)
    assert all(notice == {"WATCHDOG": "1"} for notice in seen)
    assert 7 <= len(seen) <= 12


@needs_libsystemd
def test_no_signs_of_life_unasked(managed):
    daemon = managed()
    daemon.env.update(WATCHDOG_USEC="100000", WATCHDOG_PID="1")  # another's
    daemon.start()
    assert daemon.notices.during(1) == []


@needs_libsystemd
def test_no_signs_of_life_of_a_stopped_process(managed):
    daemon = managed(watchdog_ms=PERIOD_MS).start()
    assert daemon.notices.next() == {"WATCHDOG": "1"}
    daemon.process.send_signal(signal.SIGSTOP)
    until(lambda: daemon_state(daemon) == "T")
    daemon.notices.during(0.1)  # those on their way
    assert daemon.notices.during(2 * PERIOD_MS / 1000) == []
    daemon.process.send_signal(signal.SIGCONT)
    assert daemon.notices.next() == {"WATCHDOG": "1"}


def daemon_state(daemon):
    stat = pathlib.Path(f"/proc/{daemon.process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0]


@contextlib.contextmanager
def stopped_thread(tid):
    """One thread stands still, the others go on."""
    seize, interrupt, detach, any_thread = 0x4206, 0x4207, 17, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p,
                            ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(seize, tid, None, None) != 0:
        # wrennd is not dumpable, for the sake of its keys.
        pytest.skip(f"may not trace it: {os.strerror(ctypes.get_errno())}")
    try:
        assert libc.ptrace(interrupt, tid, None, None) == 0
        os.waitpid(tid, any_thread)
        yield
    finally:
        libc.ptrace(detach, tid, None, None)


def store_thread(daemon):
    """The one thread beside the loop's that stays."""
    def only():
        threads = {int(t) for t in os.listdir(f"/proc/{daemon.process.pid}/task")}
        threads.discard(daemon.process.pid)
        return threads if len(threads) == 1 else None
    return until(only).pop()


@needs_libsystemd
def test_no_signs_of_life_of_a_stuck_store(managed):
    daemon = managed(watchdog_ms=PERIOD_MS).start()
    with stopped_thread(store_thread(daemon)):
        daemon.notices.during(0.1)
        assert daemon.notices.during(2 * PERIOD_MS / 1000) == []
        assert daemon.call("daemon.hello")["uid"] == os.getuid()
    assert daemon.notices.next() == {"WATCHDOG": "1"}


# ---- passed sockets ----

def listening(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    sock.listen(16)
    return sock


@needs_libsystemd
def test_serves_on_the_socket_that_was_passed(managed, tmp_path):
    path = tmp_path / "s"
    with listening(path) as sock:
        daemon = managed(passed=[sock]).start()
        with Client(path) as client:
            made = client.call("capsule.create", {"lease": {"type": "none"}})
            client.call("capsule.destroy", {"capsule": made["id"]})
        assert not daemon.socket.exists()
        assert daemon.stop() == 0
        assert path.exists()  # it is the manager's


@needs_libsystemd
def test_a_client_waits_for_the_next_start(managed, tmp_path):
    path = tmp_path / "s"
    with listening(path) as sock:
        daemon = managed(passed=[sock])
        for _ in range(2):
            with Client(path) as client:  # nobody serves yet
                number = client.send("daemon.hello")
                daemon.start()
                assert client.wait(number)["uid"] == os.getuid()
            assert daemon.stop() == 0
            daemon.notices.expect("STOPPING")


@needs_libsystemd
def test_passed_to_another_process(managed, tmp_path):
    """Variables that a parent left behind mean nothing."""
    daemon = managed()
    daemon.env.update(LISTEN_FDS="1", LISTEN_PID="1")
    daemon.start()
    with daemon.client() as client:
        assert client.call("daemon.hello")


def refused(daemon):
    daemon.spawn()
    assert daemon.process.wait(timeout=30) == 1
    assert "socket activation passed" in daemon.log_text()
    assert "one listening AF_UNIX stream socket" in daemon.log_text()
    assert daemon.notices.during(0.2) == []
    assert not daemon.socket.exists()


@needs_libsystemd
def test_two_sockets_passed(managed, tmp_path):
    with listening(tmp_path / "a") as a, listening(tmp_path / "b") as b:
        refused(managed(passed=[a, b]))


@needs_libsystemd
@pytest.mark.parametrize("family,kind", [
    (socket.AF_UNIX, socket.SOCK_DGRAM),
    (socket.AF_UNIX, socket.SOCK_SEQPACKET),
    (socket.AF_UNIX, socket.SOCK_STREAM),  # which does not listen
    (socket.AF_INET, socket.SOCK_STREAM)])
def test_unfit_socket_passed(managed, family, kind):
    with socket.socket(family, kind) as sock:
        refused(managed(passed=[sock]))


@needs_libsystemd
def test_listening_tcp_socket_passed(managed):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        refused(managed(passed=[sock]))


@needs_libsystemd
def test_no_socket_passed_but_a_file(managed, tmp_path):
    with open(tmp_path / "file", "w", encoding="utf-8") as file:
        refused(managed(passed=[file]))


# ---- credentials ----

def test_key_by_load_credential(managed, cloud, tmp_path):
    folder = tmp_path / "credentials"
    folder.mkdir(mode=0o700)
    (folder / "api_key").write_text(cloud.key)
    (folder / "api_key").chmod(0o400)
    daemon = managed(key="wrn_" + "0" * 32)  # in a file, which comes second
    daemon.env["CREDENTIALS_DIRECTORY"] = str(folder)
    daemon.start()
    keys = daemon.call("auth.status")
    assert "systemd" in str(keys)
    assert daemon.call("capsule.list")["capsules"] == []
