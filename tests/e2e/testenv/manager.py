"""A service manager, as far as wrennd can tell."""
import pathlib
import socket
import subprocess
import time

from .daemon import Daemon
from .paths import WRENND

ACTIVATE = pathlib.Path(__file__).with_name("activate.py")


class Notices:
    """A NOTIFY_SOCKET and what comes in on it, one dictionary a datagram."""

    def __init__(self, path):
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))

    def close(self):
        self.sock.close()

    def next(self, timeout=30):
        """The next one, or None when none comes in time."""
        self.sock.settimeout(timeout)
        try:
            text = self.sock.recv(65536).decode()
        except TimeoutError:
            return None
        return dict(line.split("=", 1) for line in text.splitlines())

    def during(self, seconds):
        """All that come within that time, and those that wait already."""
        found = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            notice = self.next(left)
            if notice is not None:
                found.append(notice)
        return found

    def expect(self, name, timeout=30):
        """The next one that is no sign of life: it must set that name."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            notice = self.next(left)
            if notice is not None and "WATCHDOG" not in notice:
                assert name in notice, notice
                return notice
        raise TimeoutError(f"no {name} within {timeout} s")


class Managed(Daemon):
    """A wrennd that is told of a watchdog, and gets sockets passed."""

    def __init__(self, folder, cloud=None, *, watchdog_ms=0, passed=(), **kwargs):
        self.notices = Notices(pathlib.Path(folder) / "notify")
        super().__init__(folder, cloud, **kwargs)
        self.env["NOTIFY_SOCKET"] = str(self.notices.path)
        self.watchdog = str(watchdog_ms * 1000) if watchdog_ms else ""
        self.passed = [s.fileno() for s in passed]

    def spawn(self, *options):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["/usr/bin/python3", "-B", str(ACTIVATE), self.watchdog,
                 ",".join(map(str, self.passed)),
                 WRENND, "--config", str(self.config), *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env,
                cwd=self.folder, pass_fds=self.passed,
            )

    def start(self, *options):
        """As a manager does: until it says that it is ready."""
        self.spawn(*options)
        while (notice := self.notices.next(1)) is None:
            if self.process.poll() is not None:
                raise ChildProcessError(f"wrennd ended:\n{self.log_text()}")
        assert notice["READY"] == "1", notice
        return self

    def remove(self):
        super().remove()
        self.notices.close()
