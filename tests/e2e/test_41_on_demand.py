"""wrennctl starts wrennd when none runs, and finds it again when it is lost."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

from testenv import paths
from testenv.client import Client, until
from testenv.ctl import Ctl
from testenv.terminal import Terminal

MANY = 20


class OnDemand:
    """A user's home on a machine where no wrennd runs yet."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.ctl = Ctl(daemon)
        del self.ctl.env["WRENND_SOCKET"]
        self.ctl.env["WRENND"] = paths.WRENND
        self.log = daemon.state / "wrennd.log"
        self.config = daemon.folder / "config" / "wrennd" / "wrennd.conf"
        self.config.parent.mkdir(parents=True)
        shutil.copy(daemon.config, self.config)

    def daemons(self):
        """The pids of all wrennd with this home's state folder."""
        mark = f"XDG_STATE_HOME={self.daemon.folder}/state".encode()
        found = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if ((process / "comm").read_text() == "wrennd\n"
                        and mark in (process / "environ").read_bytes().split(b"\0")):
                    found.append(int(process.name))
        return found

    def daemon_pid(self):
        [pid] = self.daemons()
        return pid

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def rows(self):
        return self.ctl.json("ls")["capsules"]

    def end(self):
        """Ends what was started, whichever way the test left it."""
        for pid in self.daemons():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not self.daemons())


@pytest.fixture
def home(make_daemon):
    made = OnDemand(make_daemon())
    yield made
    made.end()


# ---- starting ----

def test_the_first_call_starts_it(home):
    """Its chatter is in its log; the pipes are closed when wrennctl ends."""
    assert home.daemons() == []
    done = home.ctl.run("-o", "json", "ls")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == {"capsules": []}
    pid = home.daemon_pid()
    assert home.rows() == [] and home.daemon_pid() == pid
    assert " ready version=" in home.log_text()
    assert home.log.stat().st_mode & 0o777 == 0o600
    # Nobody's child, nobody's terminal, nowhere in anybody's way.
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert int(stat[3]) != os.getsid(0) and int(stat[4]) == 0
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    assert {os.readlink(f"/proc/{pid}/fd/{n}") for n in (1, 2)} == {str(home.log)}


def test_many_at_once_start_one(home):
    """Each gets its answer, from the same wrennd."""
    started = [home.ctl.popen("-o", "json", "status") for _ in range(MANY)]
    pids = set()
    for process in started:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, b"")
        pids.add(json.loads(out)["pid"])
    assert pids == {home.daemon_pid()}
    assert home.log_text().count(" ready version=") == 1


def test_many_at_once_create_each_their_own(cloud, home):
    started = [home.ctl.popen("-o", "json", "create") for _ in range(8)]
    made = {json.loads(p.communicate(timeout=120)[0])["id"] for p in started}
    assert len(made) == 8 and made <= cloud.alive()
    assert {row["id"] for row in home.rows()} == made


def test_data_alone_on_stdout(home):
    """What a pipe into another program relies on, from the very first call."""
    done = subprocess.run(
        ["/bin/sh", "-c", '"$WRENNCTL" ls -o json | /usr/bin/python3 -c '
         '"import json, sys; print(len(json.load(sys.stdin)[\'capsules\']))"'],
        env={**home.ctl.env, "WRENNCTL": paths.WRENNCTL}, stdin=subprocess.DEVNULL,
        capture_output=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_it_outlives_the_terminal(home):
    with Terminal([paths.WRENNCTL, "ls"], env=home.ctl.env) as tty:
        assert tty.finish() == 0
    pid = home.daemon_pid()
    assert home.rows() == [] and home.daemon_pid() == pid


def test_not_started_when_told_so(home):
    done = home.ctl.run("--no-autostart", "ls")
    assert (done.returncode, done.stdout) == (10, b"")
    assert b"--no-autostart" in done.stderr
    for arguments, env in ((["--socket", "/nonexistent/w.sock", "ls"], {}),
                           (["ls"], {"WRENND_SOCKET": "/nonexistent/w.sock"}),
                           (["--system", "ls"], {})):
        if arguments[0] == "--system" and os.path.exists("/run/wrennd/wrennd.sock"):
            continue
        done = home.ctl.run(*arguments, env=env)
        assert (done.returncode, done.stdout) == (10, b""), done
    assert home.daemons() == []


# ---- failing to start ----

def test_its_last_words_are_shown(home):
    home.config.write_text("[daemon]\nlog_level = \x1b[31mloud\n")
    for arguments in (["ls"], ["-o", "json", "ls"]):
        done = home.ctl.run(*arguments)
        assert (done.returncode, done.stdout) == (10, b"")
        text = done.stderr.decode()
        assert "error, warn, info or debug" in text and str(home.log) in text
        assert "\x1b" not in text
    assert json.loads(text)["error"]["data"]["name"] == "daemon_unreachable"
    # Only this start's words, however often it failed before.
    assert home.log_text().count("error, warn, info or debug") == 2
    assert home.ctl.run("ls").stderr.count(b"error, warn, info or debug") == 1
    assert home.daemons() == []


def test_all_are_told_that_it_fails(home):
    home.config.write_text("[daemon]\nnonsense = 1\n")
    started = [home.ctl.popen("ls") for _ in range(6)]
    for process in started:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (10, b"")
        assert b"nonsense" in err
    assert home.daemons() == []


@pytest.mark.parametrize("program", ["/nonexistent/wrennd", "/dev/null", "/"])
def test_no_program_to_start(home, program):
    done = home.ctl.run("ls", env={"WRENND": program})
    assert (done.returncode, done.stdout) == (10, b"")
    assert program.encode() in done.stderr


def test_put_right_it_starts(home):
    good = home.config.read_text()
    home.config.write_text("[daemon]\nnonsense = 1\n")
    assert home.ctl.run("ls").returncode == 10
    home.config.write_text(good)
    assert home.rows() == []


# ---- leaving ----

def test_idle_it_leaves_but_guards_what_is_on_record(home):
    home.config.write_text(home.config.read_text().replace(
        "[daemon]", "[daemon]\nidle_timeout = 1s"))
    home.ctl.ok("create", "--name", "web")
    pid = home.daemon_pid()
    until(lambda: home.ctl.json("status")["uptime_ms"] > 4000, pause=0.7)
    assert home.daemons() == [pid]
    home.ctl.ok("rm", "web")
    until(lambda: home.daemons() == [])
    assert "stopped" in home.log_text().splitlines()[-1]
    # And the next command brings one back.
    assert home.rows() == []


# ---- coming back ----

def test_killed_it_comes_back_with_its_record(cloud, home):
    made = home.ctl.json("create", "--name", "web")["id"]
    for _ in range(3):
        pid = home.daemon_pid()
        os.kill(pid, signal.SIGKILL)
        [row] = home.rows()
        assert (row["id"], row["name"]) == (made, "web")
        # The one that was killed has to be reaped first.
        until(lambda: home.daemons() not in ([], [pid]))
    home.ctl.ok("rm", "web")
    assert made not in cloud.alive()


def test_a_call_right_after_shutdown(home):
    """The next one waits for the lock of the one that is ending."""
    made = home.ctl.json("create")["id"]
    pids = set()
    for _ in range(5):
        pids.add(home.daemon_pid())
        home.ctl.ok("rpc", "daemon.shutdown")
        assert [row["id"] for row in home.rows()] == [made]
        until(lambda: len(home.daemons()) == 1)
    assert len(pids) == 5
    assert "is in use" not in home.log_text()


def test_shutdown_under_many_callers(home):
    """Some meet the old one, some the new one, none a wall."""
    home.rows()
    callers = [home.ctl.popen("-o", "json", "ls") for _ in range(5)]
    home.ctl.ok("rpc", "daemon.shutdown")
    callers += [home.ctl.popen("-o", "json", "ls") for _ in range(10)]
    for process in callers:
        out, err = process.communicate(timeout=120)
        if process.returncode == 0:
            assert json.loads(out) == {"capsules": []}
        else:
            # Told that it is stopping, or cut off by its end.
            assert process.returncode in (9, 10) and out == b"", err
    assert home.rows() == []
    until(lambda: len(home.daemons()) == 1)


# ---- the socket's path ----

@pytest.mark.parametrize("folder_too", [False, True])
def test_a_vanished_path_is_bound_anew(daemon, folder_too):
    """Old clients stay; new ones find the same wrennd within ten seconds."""
    with daemon.client() as old:
        made = old.call("capsule.create", {"name": "web"})["id"]
        if folder_too:
            shutil.rmtree(daemon.socket.parent)
        else:
            daemon.socket.unlink()
        gone = time.monotonic()
        until(daemon.answers)
        if not paths.SANITIZED:
            assert time.monotonic() - gone < 10
        assert old.call("capsule.get", {"capsule": "web"})["id"] == made
        with daemon.client() as new:
            assert new.call("capsule.get", {"capsule": "web"})["id"] == made
            assert new.call("daemon.status")["pid"] == daemon.process.pid
        assert daemon.socket.stat().st_mode & 0o777 == 0o600
        assert daemon.socket.parent.stat().st_mode & 0o777 == 0o700
    assert daemon.log_text().count("listening anew") == 1
    # And it takes its own path along when it ends.
    assert daemon.stop() == 0
    assert not daemon.socket.exists()


def test_a_path_taken_by_another_is_left_alone(daemon):
    """Whatever stands there now is not removed, neither then nor at the end."""
    daemon.socket.unlink()
    daemon.socket.write_text("mine")
    with pytest.raises(OSError):
        Client(daemon.socket)
    assert daemon.stop() == 0
    assert daemon.socket.read_text() == "mine"


def test_wrennctl_over_a_vanished_path(home):
    """It starts another, which finds the state taken; the first one serves."""
    made = home.ctl.json("create")["id"]
    pid = home.daemon_pid()
    home.daemon.socket.unlink()
    assert [row["id"] for row in home.rows()] == [made]
    assert home.ctl.json("status")["pid"] == pid
    until(lambda: home.daemons() == [pid])
