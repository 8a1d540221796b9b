"""Keys and tokens are nowhere but in memory, and not even there for long."""
import base64
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile

import pytest

from frames import faults
from frames.frame import MAX_CONCURRENT_STREAMS
from testenv.client import Client, RpcError, until
from testenv.daemon import Daemon
from testenv.expect import fails
from testenv.paths import SANITIZED, WRENND
from testenv.transfer import download, upload

CANARY = "wrn_" + "c0ffee0dd15ea5e0123456789abcdef5"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="looks at another user's process")


def spellings(secret):
    """The secret as it is, and as careless code would show it."""
    raw = secret.encode()
    # Without its prefix too; and base64 at each of the three offsets.
    yield raw[4:]
    yield raw[::-1]
    yield raw[4:].hex().encode()
    yield raw[4:].hex().upper().encode()
    yield "".join(f"%{b:02x}" for b in raw[4:]).encode()
    yield "".join(f"%{b:02X}" for b in raw[4:]).encode()
    yield "".join(f"\\u{b:04x}" for b in raw[4:]).encode()
    for shift in range(3):
        text = base64.b64encode(b"x" * shift + raw)
        yield text[4 if shift else 0:len(text) // 4 * 4 - 4]


def leaks(data, *secrets):
    """What was found, with the bytes before it."""
    return [data[max(0, data.find(s) - 200):data.find(s) + len(s)]
            for secret in secrets for s in spellings(secret) if s in data]


class Recorder(Client):
    """Keeps every byte that wrennd answers."""

    answers = b""

    def read_line(self):
        line = super().read_line()
        self.answers += line + b"\n"
        return line

    def attempt(self, method, params=None):
        """A call that may fail."""
        try:
            return self.call(method, params)
        except RpcError:
            return None


def proc(daemon, name):
    return pathlib.Path(f"/proc/{daemon.process.pid}/{name}").read_bytes()


def folder_bytes(folder):
    return {f.name: f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.fixture
def canary_cloud(make_cloud):
    return make_cloud("--api-key", CANARY)


def log_in(cloud):
    """A JWT."""
    return cloud.call("POST", "/v1/auth/login", {
        "email": cloud.ready["email"], "password": cloud.ready["password"],
    }, key="").json["token"]


def test_spellings_find_what_they_should():
    """The search itself: each spelling of the canary is found."""
    raw = CANARY.encode()
    for text in (raw, raw[::-1], raw.hex().encode(), base64.b64encode(raw),
                 base64.b64encode(b"X-API-Key: " + raw + b"\r\n"),
                 base64.b64encode(b"k=" + raw + b"&"), b"%" + b"%".join(
                     f"{b:02X}".encode() for b in raw)):
        assert leaks(b"before " + text + b" after", CANARY), text
    assert not leaks(b"wrn_**** " * 100, CANARY)


FAULTS = [
    {"status": 400, "message": f"bad key {CANARY}"},
    {"status": 401, "message": CANARY, "code": CANARY},
    {"status": 500, "message": f"X-API-Key: {CANARY}", "code": "internal_error"},
    {"status": 418, "message": f"{CANARY} {CANARY}", "code": CANARY},
    {"status": 403, "message": "x" * 470 + CANARY},
    {"status": 502, "body": f"<html>{CANARY}</html>"},
    {"status": 200, "body": f"<html>{CANARY}</html>"},
    {"status": 200, "body": "no", "content_type": f"text/{CANARY}"},
    {"status": 404, "body": "no", "content_type": f"text/{CANARY}"},
    {"redirect": f"https://elsewhere.invalid/?key={CANARY}"},
    {"bad_json": True}, {"reset_before": True}, {"drop_edge": "before"},
    {"lose_answer": True}, {"cut_after": 3},
]


def work(client, cloud, token):
    """Calls of every kind, well and badly."""
    client.call("daemon.hello", {"client": "canary"})
    client.call("auth.set", {"token": token, "persist": False})
    made = client.call("capsule.create", {"name": "web", "labels": {"a": "b"}})["id"]
    target = {"capsule": made}
    for _ in range(3):
        client.call("capsule.list", {"untracked": True})
        client.call("exec.run", {**target, "cmd": "env"})
        client.call("exec.run", {**target, "cmd": "env", "cwd": "/tmp", "envs": {"A": "1"}})
        client.call("file.write", {**target, "path": "/root/f", "text": "x"})
        client.call("file.read", {**target, "path": "/root/f"})
        client.call("file.list", {**target, "path": "/root"})
        upload(client, made, "/root/u", b"x" * 10000)
        download(client, made, "/root/u")
        client.call("capsule.ping", target)
    client.call("capsule.pause", target)
    client.call("capsule.resume", target)
    for action in FAULTS:
        for match, method, params in [
                ({"method": "GET"}, "capsule.get", target),
                ({"method": "GET"}, "capsule.list", {}),
                ({"path": "/v1/capsules$", "method": "POST"}, "capsule.create", {}),
                ({"path": "/exec$"}, "exec.run", {**target, "cmd": "true"}),
                ({"path": "/files/"}, "file.list", {**target, "path": "/root"})]:
            cloud.fault(action, match=match)
            client.attempt(method, params)
            cloud.clear_faults()
    for params in ({"api_key": "x" + CANARY}, {"api_key": CANARY + "\n\n" + CANARY},
                   {"token": CANARY}, {"api_key": CANARY, "token": token},
                   {"api_key": CANARY, "persist": "yes"}):
        with fails("invalid_params"):
            client.call("auth.set", params)
    client.attempt("capsule.get", {"capsule": "none"})
    client.call("auth.status")
    client.call("daemon.reload")
    client.call("capsule.destroy", target)
    client.call("daemon.status")
    client.call("rpc.discover")


def test_canary_is_nowhere(canary_cloud, make_daemon):
    cloud = canary_cloud
    token = log_in(cloud)
    daemon = make_daemon(cloud).start()
    with Recorder(daemon.socket) as client:
        work(client, cloud, token)
        secrets = (CANARY, token, token.rpartition(".")[2])
        assert not leaks(client.answers, *secrets)
        for name in ("cmdline", "environ"):
            assert not leaks(proc(daemon, name), *secrets), name
        # While it runs, its write-ahead log is there as well.
        files = folder_bytes(daemon.state)
        assert {"capsules.db", "capsules.db-wal"} <= set(files)
        for name, data in files.items():
            assert not leaks(data, *secrets), name
    assert b"wrn_*" in client.answers  # the server's words came through
    daemon.stop()
    for name, data in folder_bytes(daemon.state).items():
        assert not leaks(data, *secrets), name
    log = daemon.log.read_bytes()
    assert b"debug" in log and not leaks(log, *secrets)


def test_echoed_key_is_redacted(canary_cloud, make_daemon):
    daemon = make_daemon(canary_cloud).start()
    canary_cloud.fault({"status": 400, "message": f"key {CANARY} is odd"},
                       match={"method": "GET"})
    with fails("validation") as error:
        daemon.call("capsule.list")
    assert re.fullmatch(r"key wrn_\*+ is odd", error.value.message)


@pytest.mark.parametrize("switch", ["--dump-config", "--dump-methods", "--check-config",
                                    "--help", "--version"])
def test_switches_show_no_key(make_daemon, canary_cloud, switch):
    daemon = make_daemon(canary_cloud, env={"WRENN_API_KEY": CANARY})
    done = subprocess.run(
        [WRENND, "--config", str(daemon.config), switch], env=daemon.env,
        capture_output=True, timeout=60, check=True)
    assert done.stdout and not leaks(done.stdout + done.stderr, CANARY)


def test_environment_is_overwritten(canary_cloud, make_daemon):
    token = log_in(canary_cloud)
    daemon = make_daemon(None, env={
        "WRENN_API_KEY": CANARY, "WRENN_TOKEN": token,
        "WRENN_BASE_URL": canary_cloud.ready["url"]}).start()
    daemon.call("capsule.list")
    assert not leaks(proc(daemon, "environ"), CANARY, token)
    assert not leaks(proc(daemon, "cmdline"), CANARY, token)


def test_key_command_gets_no_key(canary_cloud, make_daemon):
    """What the daemon starts does not inherit the other credential."""
    token = log_in(canary_cloud)
    daemon = make_daemon(None, env={"WRENN_TOKEN": token}, profile=(
        f"base_url = {canary_cloud.ready['url']}\n"
        "api_key_command = env > seen; echo " + CANARY)).start()
    daemon.call("capsule.list")
    seen = (daemon.folder / "seen").read_bytes()
    assert b"PATH=" in seen and not leaks(seen, token)


def test_no_secret_is_sent_to_a_capsule(canary_cloud, make_daemon):
    daemon = make_daemon(canary_cloud).start()
    made = daemon.call("capsule.create")["id"]
    done = daemon.call("exec.run", {
        "capsule": made, "cmd": "sh", "args": ["-c", "env; cat /proc/self/cmdline"],
        "cwd": "/tmp", "envs": {"A": "1"}})
    assert "A=1" in done["stdout"] and not leaks(done["stdout"].encode(), CANARY)


# ---- the process ----

def test_no_core(daemon):
    limits = proc(daemon, "limits").decode()
    core = next(l for l in limits.splitlines() if l.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]


def test_tls_keys_are_not_logged(canary_cloud, make_daemon):
    """libcurl would write the session's keys where this variable says."""
    daemon = make_daemon(canary_cloud)
    file = daemon.folder / "tls-keys"
    daemon.env["SSLKEYLOGFILE"] = str(file)
    daemon.start()
    daemon.call("capsule.list")
    assert not file.exists()


@pytest.fixture
def nobodys(canary_cloud):
    """A daemon that runs as nobody, from a folder of nobody's."""
    user = pwd.getpwnam("nobody")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wn"))
    daemon = Daemon(folder, canary_cloud)
    shutil.copy(WRENND, folder / "wrennd")
    ca_file = folder / "ca.pem"
    shutil.copy(canary_cloud.ready["ca_file"], ca_file)
    daemon.config.write_text(daemon.config.read_text().replace(
        canary_cloud.ready["ca_file"], str(ca_file)))
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, user.pw_uid, user.pw_gid)
    daemon.env["HOME"] = str(folder)
    with open(daemon.log, "ab") as log:
        daemon.process = subprocess.Popen(
            [*SETPRIV, str(folder / "wrennd"), "--config", str(daemon.config)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=daemon.env,
            cwd=folder)
    until(daemon.answers)
    yield daemon
    daemon.remove()


SETPRIV = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


@as_root
def test_its_own_user_cannot_look_inside(nobodys):
    """Not even a process of the same user; a process like any other can be."""
    assert nobodys.call("capsule.list") == {"capsules": []}
    other = subprocess.Popen([*SETPRIV, "sleep", "600"], env=nobodys.env)
    try:
        until(lambda: pathlib.Path(f"/proc/{other.pid}/comm").read_text() == "sleep\n")
        for name in ("environ", "mem", "maps"):
            for pid, wanted in ((other.pid, 0), (nobodys.process.pid, 1)):
                seen = subprocess.run(
                    [*SETPRIV, "head", "-c0", f"/proc/{pid}/{name}"],
                    stderr=subprocess.DEVNULL, check=False)
                assert seen.returncode == wanted, (name, pid)
    finally:
        other.kill()
        other.wait()
    assert os.stat(f"/proc/{nobodys.process.pid}/mem").st_uid == 0


# ---- memory ----

def memory_hits(pid, secrets):
    """Where in its memory any of the secrets is, as (region, how often)."""
    hits = []
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, \
            open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            span, mode, *_, = line.split()
            if "r" not in mode or "[v" in line:
                continue
            start, end = (int(x, 16) for x in span.split("-"))
            try:
                mem.seek(start)
                data = mem.read(end - start)
            except OSError:
                continue
            for secret in secrets:
                count = data.count(secret.encode()[4:])
                if count:
                    hits.append((line.split()[-1] if "/" in line or "[" in line
                                 else span, count))
    return hits


@as_root
@pytest.mark.skipif(SANITIZED, reason="the sanitizer keeps freed memory as it was")
def test_a_key_that_is_made_is_not_kept(cloud, make_daemon):
    """It goes to whoever asked for it: no log, event, file or memory has it."""
    daemon = make_daemon().start()
    daemon.call("auth.set", {"token": log_in(cloud), "persist": False})
    with Recorder(daemon.socket) as watcher, daemon.client() as client:
        key = client.call("key.create", {"name": "canary"})["key"]
        host = client.call("host.create", {"type": "regular"})["registration_token"]
        client.call("key.list")
        client.call("host.list")
        watcher.send("daemon.events", {"since": 0, "follow": False})
        while "result" not in watcher.read():
            pass
        assert b"key.create" in watcher.answers
        assert not leaks(watcher.answers, key, host)
    until(lambda: not memory_hits(daemon.process.pid, [key, host]), deadline=5)
    assert "method=key.create" in daemon.log_text()
    daemon.stop()
    for name, data in folder_bytes(daemon.folder).items():
        assert not leaks(data, key, host), name


@as_root
@pytest.mark.skipif(SANITIZED, reason="the sanitizer keeps freed memory as it was")
@pytest.mark.parametrize("method, params, member", [
    ("key.create", {}, "key"), ("host.create", {"type": "regular"}, "registration_token")])
def test_it_is_gone_at_once(cloud, make_daemon, method, params, member):
    """And not only when something else needs its place: the client stays and is idle."""
    daemon = make_daemon().start()
    with daemon.client() as client:
        client.call("auth.set", {"token": log_in(cloud), "persist": False})
        made = client.call(method, params)[member]
        until(lambda: not memory_hits(daemon.process.pid, [made]), deadline=5)


@as_root
@pytest.mark.skipif(SANITIZED, reason="the sanitizer keeps freed memory as it was")
@pytest.mark.parametrize("tls", [True, False])
def test_memory_after_logout(canary_cloud, make_daemon, tls):
    cloud = canary_cloud
    token = log_in(cloud)
    url = cloud.ready["tls_url" if tls else "url"]
    daemon = make_daemon(None, profile=(
        f"base_url = {url}\nca_file = {cloud.ready['ca_file']}\n")).start()
    with daemon.client() as client:
        client.call("auth.set", {"api_key": CANARY})
        client.call("auth.set", {"token": token})
        with fails("invalid_params"):
            client.call("auth.set", {"api_key": CANARY, "token": token})
        made = client.call("capsule.create")["id"]
        client.call("exec.run", {"capsule": made, "cmd": "true"})
        upload(client, made, "/root/u", b"x" * 100000)
        download(client, made, "/root/u")
        for action in ({"status": 401, "message": CANARY}, {"drop_edge": "before"} if tls
                       else {"lose_answer": True}):
            cloud.fault(action, match={"method": "GET"})
            with_error = Recorder(daemon.socket)
            with_error.attempt("capsule.get", {"capsule": made})
            with_error.close()
        client.call("capsule.destroy", {"capsule": made})
        assert memory_hits(daemon.process.pid, [CANARY])  # the search finds it
        client.call("auth.logout", {"force": True})
        with fails("no_credential"):
            client.call("capsule.list")
        until(lambda: not memory_hits(daemon.process.pid, [CANARY, token]), deadline=5)


CAPSULES = [f"cl-{i:025}" for i in range(12)]
REFUSED = "cl-" + "r" * 25


def fail_in_many_ways(client, frames):
    """Requests that were reset, refused, cut, malformed; on connections that
    are gone when it is over, and some that are not."""
    for stage, action in [
            (faults.WHOLE, faults.reset(7)), (faults.EXECUTED, faults.reset(2)),
            (faults.HALF, faults.reset(8)), (faults.WHOLE, faults.goaway(0)),
            (faults.EXECUTED, faults.fields((":status", "abc"), end=True)),
            (faults.EXECUTED, faults.cut("fin")), (faults.HALF, faults.cut("rst"))]:
        for path in ("/exec", REFUSED):
            frames.script(faults.at(stage, action), path=path)
        client.attempt("exec.run", {"capsule": REFUSED, "cmd": "x", "args": ["y"]})
        client.attempt("capsule.get", {"capsule": REFUSED})
        frames.do(frames.rules.clear)


def fill(client, frames):
    """Requests under way on several connections, and some that wait."""
    frames.script(faults.at(faults.WHOLE, faults.held, then=faults.ANSWERED),
                  method="GET", count=-1)
    # One that has begun and cannot be ended: no window lets its body out.
    frames.script(faults.at(faults.ARRIVED, faults.deaf, faults.held), path="/exec")
    numbers = [client.send("exec.run", {
        "capsule": REFUSED, "cmd": "x", "args": ["y" * 100000] * 3})]
    before = len(frames.requests(method="GET"))
    until(lambda: frames.requests(path="/exec", complete=False))
    for i, capsule in enumerate(CAPSULES):
        numbers.append(client.send("capsule.get", {"capsule": capsule}))
        until(lambda: len(frames.requests(method="GET")) == before + min(i + 1, 8)
              and all(c.ended or c.settings_acks for c in frames.connections))
    return numbers


@as_root
@pytest.mark.skipif(SANITIZED, reason="the sanitizer keeps freed memory as it was")
def test_memory_after_logout_in_the_midst(frames, make_daemon):
    """Several HTTP/2 connections, calls under way and calls that wait, calls
    that failed: when the last connection is closed, no key is left."""
    frames.settings = {MAX_CONCURRENT_STREAMS: 3}
    daemon = make_daemon(None, profile=(
        f"base_url = {frames.ready['tls_url']}\nca_file = {frames.ready['ca_file']}\n"
        "max_connections = 3\n")).start()
    with Recorder(daemon.socket) as client:
        client.call("auth.set", {"api_key": CANARY})
        fail_in_many_ways(client, frames)
        numbers = fill(client, frames)
        assert len([c for c in frames.connections if not c.ended]) == 3
        assert memory_hits(daemon.process.pid, [CANARY])  # the search finds it
        used = [c for c in frames.connections if c.streams]
        sent = len(frames.requests())
        client.call("auth.logout", {"force": True})
        # Those that waited have nothing to be sent with.
        for number in numbers[9:]:
            with fails("no_credential"):
                client.wait(number)
        frames.release()
        answers = [client.wait(number)["id"] for number in numbers[1:9]]
        assert answers == CAPSULES[:8]
        client.notify("call.cancel", {"call": numbers[0]})
        with fails("cancelled"):
            client.wait(numbers[0])
        until(lambda: all(c.ended for c in used))
        assert len(frames.requests()) == sent and not frames.violations()
        until(lambda: not memory_hits(daemon.process.pid, [CANARY]), deadline=5)
