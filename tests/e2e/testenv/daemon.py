"""One wrennd with a folder of its own."""
import os
import pathlib
import resource
import shutil
import signal
import subprocess

from .client import Client, until
from .paths import WRENND

ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "HOME", "ASAN_OPTIONS", "LSAN_OPTIONS",
               "UBSAN_OPTIONS", "TMPDIR")


def clean_environment(**more):
    """The environment without what would change the programs' ways."""
    env = {k: os.environ[k] for k in ENVIRONMENT if k in os.environ}
    env.update({k: str(v) for k, v in more.items()})
    return env


class Daemon:
    """Started by start(), and again after stop() or kill(); same state."""

    def __init__(self, folder, cloud=None, *, settings="", profile="", key=None, env=None,
                 max_descriptors=None):
        self.folder = pathlib.Path(folder)
        self.socket = self.folder / "run" / "wrennd" / "wrennd.sock"
        self.state = self.folder / "state" / "wrennd"
        self.config = self.folder / "wrennd.conf"
        self.log = self.folder / "wrennd.log"
        self.key_file = self.folder / "key"
        self.env = clean_environment(
            XDG_RUNTIME_DIR=self.folder / "run",
            XDG_STATE_HOME=self.folder / "state",
            XDG_CONFIG_HOME=self.folder / "config",
            **(env or {}),
        )
        self.process = None
        self.max_descriptors = max_descriptors
        (self.folder / "run").mkdir(parents=True, exist_ok=True)
        if cloud is not None:
            self.key_file.write_text(key or cloud.key)
            self.key_file.chmod(0o600)
            profile = (
                f"base_url = {cloud.ready['tls_url']}\n"
                f"ca_file = {cloud.ready['ca_file']}\n"
                f"api_key_file = {self.key_file}\n" + profile
            )
        self.config.write_text(
            f"[daemon]\nlog_level = debug\n{settings}\n[profile default]\n{profile}\n"
        )

    def spawn(self, *options):
        """Starts it without waiting for the socket."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [WRENND, "--config", str(self.config), *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env,
                cwd=self.folder, preexec_fn=self.limit if self.max_descriptors else None,
            )

    def limit(self):
        """In the new process, before it becomes wrennd."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.max_descriptors,) * 2)

    def start(self, *options):
        self.spawn(*options)
        until(self.answers)
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise ChildProcessError(f"wrennd ended:\n{self.log_text()}")
        try:
            with Client(self.socket):
                return True
        except OSError:
            return False

    def client(self):
        return Client(self.socket)

    def call(self, method, params=None):
        with self.client() as client:
            return client.call(method, params)

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; returns the exit status."""
        if self.process is None or self.process.poll() is not None:
            return None if self.process is None else self.process.returncode
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def log_text(self):
        return self.log.read_text(errors="replace")

    def memory(self, name):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(l for l in status.splitlines() if l.startswith(name + ":"))
        return int(line.split()[1]) * 1024

    def rss(self):
        """Resident memory in bytes."""
        return self.memory("VmRSS")

    def peak_rss(self):
        """The most that it ever was."""
        return self.memory("VmHWM")

    def cpu_seconds(self):
        """Processor time so far, its own and the kernel's for it."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
