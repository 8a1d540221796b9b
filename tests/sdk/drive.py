"""Drives the stand-in with the real SDK: what that expects, it must find.

Runs in an environment with the package "wrenn"; ./run makes one. Prints a line
for each step, goes on after a failure, and ends with 1 if there was one.
"""
import asyncio
import contextlib
import json
import pathlib
import subprocess
import sys
import time
import traceback
import urllib.request
from importlib.metadata import version

import wrenn
from wrenn import AsyncCapsule, Capsule, WrennClient
from wrenn.models import Status

STANDIN = pathlib.Path(__file__).resolve().parents[1] / "standin" / "standin"
ABSENT = "cl-" + "0" * 25
LEFT_OUT = [
    "commands.stream and commands.connect (WebSockets)", "pty and pty_connect",
    "code_runner", "snapshots", "get_url (no port proxy)", "events (server-sent)",
    "git (commands like any other)",
]
STEPS = []


def step(function):
    STEPS.append(function)
    return function


class Standin:
    """The server, which ends with its standard input."""

    def __init__(self):
        self.process = subprocess.Popen(
            [STANDIN, "--exit-with-stdin", "--pause-check", "0.2"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ready = json.loads(self.process.stdout.readline())
        self.account = {"api_key": self.ready["api_key"], "base_url": self.ready["url"]}

    def admin(self, method, path, body=None):
        request = urllib.request.Request(
            self.ready["admin"] + path, method=method,
            data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def fault(self, **action):
        self.admin("POST", "/faults", {"action": action, "match": {"method": "GET"}})

    def stop(self):
        self.process.stdin.close()
        self.process.wait(30)


@contextlib.contextmanager
def fails(kind, code=None):
    """The block must raise exactly that class, with that code of the server's."""
    try:
        yield
    except wrenn.WrennError as error:
        assert type(error) is kind, repr(error)
        assert code in (None, error.code), error.code
        assert error.message
        return
    raise AssertionError(f"no {kind.__name__}")


def until(condition):
    end = time.monotonic() + 30
    while not (value := condition()):
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.05)
    return value


# ---- capsules ----

@step
def create_and_look(server):
    with Capsule(template="minimal", vcpus=2, memory_mb=256, timeout=90, wait=True,
                 **server.account) as capsule:
        info = capsule.get_info()
        assert (info.id, info.status) == (capsule.capsule_id, Status.running)
        assert (info.template, info.vcpus, info.memory_mb, info.timeout_sec) == (
            "minimal", 2, 256, 90)
        assert info.created_at <= info.last_updated and info.started_at
        assert capsule.is_running()
        assert Capsule.get_info(capsule.capsule_id, **server.account).id == info.id
    # The end of the block destroys it.
    assert Capsule.get_info(info.id, **server.account).status == Status.stopped


@step
def defaults(server):
    with Capsule.create(**server.account) as capsule:
        info = capsule.info
        assert (info.template, info.vcpus, info.memory_mb, info.timeout_sec) == (
            "minimal", 1, 512, 0)


@step
def list_newest_first(server):
    made = [Capsule(**server.account) for _ in range(3)]
    ids = [c.capsule_id for c in reversed(made)]
    assert [c.id for c in Capsule.list(**server.account)][:3] == ids
    for capsule in made:
        capsule.destroy(wait=True)
    assert not set(ids) & {c.id for c in Capsule.list(**server.account)}


@step
def pause_resume_ping_connect(server):
    with Capsule(**server.account) as capsule:
        capsule.commands.run("echo kept > /root/f")
        assert capsule.pause(wait=True).status == Status.paused
        for refused in (capsule.pause, capsule.ping, lambda: capsule.commands.run("true")):
            with fails(wrenn.WrennConflictError, "invalid_state"):
                refused()
        assert capsule.resume(wait=True).status == Status.running
        capsule.ping()
        with fails(wrenn.WrennConflictError, "invalid_state"):
            capsule.resume()
        Capsule.pause(capsule.capsule_id, wait=True, **server.account)
        again = Capsule.connect(capsule.capsule_id, **server.account)
        assert again.is_running() and again.files.read("/root/f") == "kept\n"
        again.destroy(wait=True)
        # A destroyed one may be destroyed again.
        capsule.destroy()


@step
def inactivity(server):
    with Capsule(timeout=1, **server.account) as capsule:
        until(lambda: capsule.get_info().status == Status.paused)
        assert capsule.resume().status == Status.running


@step
def figures(server):
    with Capsule(**server.account) as capsule, WrennClient(**server.account) as client:
        points = client.capsules.metrics(capsule.capsule_id, "5m")
        assert points.sandbox_id == capsule.capsule_id and points.range == "5m"
        assert points.points[-1].mem_bytes is not None
        stats = client.capsules.stats("1h")
        assert stats.range == "1h" and stats.current.running_count >= 1
        assert len(stats.series.labels) == len(stats.series.running)
        usage = client.capsules.usage()
        assert usage.from_ <= usage.to and usage.points is not None


# ---- commands ----

@step
def foreground(server):
    with Capsule(**server.account) as capsule:
        run = capsule.commands.run
        done = run("echo out; echo err >&2; exit 3")
        assert (done.stdout, done.stderr, done.exit_code) == ("out\n", "err\n", 3)
        assert done.duration_ms >= 0
        assert run("printf 'gr\\303\\274\\303\\237'").stdout == "grüß"
        # Not UTF-8: the server sends both as base64.
        done = run("printf '\\377\\000a'; printf e >&2")
        assert (done.stdout, done.stderr) == ("\ufffd\0a", "e")
        assert run("kill -9 $$").exit_code == -1
        assert run("pwd").stdout == "/root\n" or server.ready["isolation"] == "cwd"
        # Asked for, and not honoured in the foreground.
        assert run("echo $A; pwd", envs={"A": "1"}, cwd="/").stdout == "\n" + run("pwd").stdout


@step
def command_deadline(server):
    with Capsule(**server.account) as capsule:
        began = time.monotonic()
        with contextlib.suppress(wrenn.WrennError):
            done = capsule.commands.run("sleep 60", timeout=1)
            assert done.exit_code != 0
        assert time.monotonic() - began < 30


@step
def background(server):
    with Capsule(**server.account) as capsule:
        commands = capsule.commands
        handle = commands.run("echo $A > f; pwd >> f; exec sleep 1000", background=True,
                              tag="job", envs={"A": "1"}, cwd="/tmp")
        assert handle.tag == "job" and handle.pid > 0
        [process] = commands.list()
        assert (process.pid, process.tag, process.cmd) == (handle.pid, "job", "/bin/sh")
        assert process.args[0] == "-c"
        until(lambda: capsule.files.exists("/tmp/f"))
        until(lambda: capsule.files.read("/tmp/f").startswith("1\n"))
        named = commands.run("sleep 1000", background=True)
        assert named.tag.startswith("proc-")
        commands.kill(handle.pid)
        commands.kill(named.tag)
        until(lambda: commands.list() == [])
        with fails(wrenn.WrennNotFoundError, "not_found"):
            commands.kill(handle.pid)


# ---- files ----

@step
def files(server):
    with Capsule(**server.account) as capsule:
        f = capsule.files
        f.write("/root/a/b/text", "grüß\n")  # makes the folders
        assert f.read("/root/a/b/text") == "grüß\n"
        data = bytes(range(256)) * 1000
        f.write("/root/data", data)
        assert f.read_bytes("/root/data") == data
        f.write("/root/data", b"")
        assert f.read_bytes("/root/data") == b""
        assert f.exists("/root/data") and not f.exists("/root/none")
        entry = f.make_dir("/root/dir/sub")
        assert (entry.path, entry.type) == ("/root/dir/sub", "directory")
        assert f.make_dir("/root/dir/sub").path == "/root/dir/sub"
        capsule.commands.run("cd; ln -s data link; chmod 640 data")
        found = {e.name: e for e in f.list("/root")}
        assert {"a", "data", "dir", "link"} <= set(found)
        assert found["link"].type == "symlink" and found["link"].symlink_target == "data"
        assert found["data"].size == 0 and found["data"].permissions == "-rw-r-----"
        assert found["data"].owner == "root" and found["data"].modified_at > 1e9
        assert "text" in {e.name for e in f.list("/root", depth=3)}
        f.remove("/root/a")
        assert not f.exists("/root/a")
        for refused in (f.read_bytes, f.list):
            with fails(wrenn.WrennNotFoundError, "not_found"):
                refused("/root/none")


@step
def file_streams(server):
    with Capsule(**server.account) as capsule:
        chunk = bytes(range(256)) * 1024
        capsule.files.upload_stream("/root/deep/big", (chunk for _ in range(40)))
        size = capsule.commands.run("wc -c < deep/big").stdout
        assert int(size) == 40 * len(chunk)
        total = 0
        for piece in capsule.files.download_stream("/root/deep/big"):
            total += len(piece)
        assert total == 40 * len(chunk)
        assert b"".join(capsule.files.download_stream("/root/deep/big")) == chunk * 40


# ---- errors ----

@step
def error_classes(server):
    account = server.account
    with fails(wrenn.WrennNotFoundError, "not_found"):
        Capsule.get_info(ABSENT, **account)
    with fails(wrenn.WrennValidationError, "invalid_request"):
        Capsule.get_info("nonsense", **account)
    with fails(wrenn.WrennNotFoundError, "not_found"):
        Capsule(template="no-such", **account)
    with fails(wrenn.WrennValidationError, "invalid_request"):
        Capsule(vcpus=-1, **account)
    with fails(wrenn.WrennAuthenticationError, "unauthorized"):
        Capsule.list(api_key="wrn_" + "0" * 32, base_url=account["base_url"])


@step
def errors_on_demand(server):
    for action, kind in [
            ({"status": 403}, wrenn.WrennForbiddenError),
            ({"status": 409, "code": "conflict"}, wrenn.WrennConflictError),
            ({"status": 500}, wrenn.WrennInternalError),
            ({"status": 502}, wrenn.WrennAgentError),
            ({"status": 503}, wrenn.WrennHostUnavailableError),
            ({"status": 418, "code": "teapot"}, wrenn.WrennError),
            ({"status": 502, "body": "<html>"}, wrenn.WrennInternalError)]:
        server.fault(**action)
        with fails(kind):
            Capsule.list(**server.account)


@step
def asynchronous(server):
    async def work():
        async with await AsyncCapsule.create(**server.account) as capsule:
            done = await asyncio.gather(*(
                capsule.commands.run(f"echo {n}") for n in range(10)))
            assert [d.stdout for d in done] == [f"{n}\n" for n in range(10)]
            await capsule.files.write("/root/f", "x")
            assert await capsule.files.read("/root/f") == "x"
            pieces = [p async for p in capsule.files.download_stream("/root/f")]
            assert b"".join(pieces) == b"x"

    asyncio.run(work())


def main():
    print(f"wrenn {version('wrenn')}, Python {sys.version.split()[0]}")
    server = Standin()
    failed = 0
    try:
        for function in STEPS:
            try:
                function(server)
                print("ok     ", function.__name__)
            except Exception:  # the other steps still tell something
                failed += 1
                print("FAILED ", function.__name__)
                traceback.print_exc(file=sys.stdout)
            server.admin("DELETE", "/faults")
        left = [c["id"] for c in server.admin("GET", "/capsules") if c["status"] != "stopped"]
        if left:
            failed += 1
            print("FAILED  not destroyed:", *left)
    finally:
        server.stop()
    for words in LEFT_OUT:
        print("skipped", words)
    print(f"{len(STEPS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
