"""One wrennd with folders of its own."""
import json
import os
import pathlib
import socket
import time

from . import machine
from . import server

DEADLINE = 60


def environment(folder):
    """What wrennd and wrennctl see: nothing of the person who measures."""
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder),
            "XDG_RUNTIME_DIR": f"{folder}/run", "XDG_STATE_HOME": f"{folder}/state",
            "XDG_CONFIG_HOME": f"{folder}/config"}


class Daemon:
    """Serves when made; `wrapper` is a command put in front of it."""

    def __init__(self, program, folder, upstream, wrapper=()):
        self.folder = pathlib.Path(folder)
        self.socket = self.folder / "wrennd.sock"
        (self.folder / "run").mkdir(parents=True)
        key = self.folder / "key"
        key.touch(0o600)
        key.write_text(server.KEY)
        config = self.folder / "wrennd.conf"
        config.write_text(
            f"[daemon]\nsocket = {self.socket}\nstate_dir = {self.folder}/state\n"
            f"log_level = warn\n"
            f"[profile default]\nbase_url = {upstream.url}\nca_file = {upstream.ca}\n"
            f"api_key_file = {key}\nmax_connections = 1\n")
        self.env = {**environment(self.folder), "WRENND_SOCKET": str(self.socket)}
        self.log = self.folder / "wrennd.log"
        with open(self.log, "ab") as log:
            self.process = machine.start([*wrapper, program, "--config", str(config)],
                                         machine.CLIENT_CORE, env=self.env, stdout=log, stderr=log)
        self.wait()

    def wait(self):
        until = time.monotonic() + DEADLINE
        while True:
            try:
                self.connect().close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    self.close()
                    text = self.log.read_text()
                    raise ChildProcessError(f"wrennd does not serve:\n{text}") from None
            time.sleep(0.01)

    def connect(self):
        """A new client's socket."""
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(str(self.socket))
        except OSError:
            sock.close()
            raise
        sock.settimeout(DEADLINE)
        return sock

    def call(self, method, **params):
        """The result of one call, on a connection of its own."""
        with self.connect() as sock, sock.makefile("rwb") as file:
            return ask(file, method, **params)

    def cpu(self):
        return machine.cpu_of(self.process.pid)

    def close(self):
        machine.end(self.process)


def ask(file, method, **params):
    file.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method,
                           "params": params}).encode() + b"\n")
    file.flush()
    answer = json.loads(file.readline())
    if "error" in answer:
        raise ChildProcessError(f"{method}: {answer['error']['message']}")
    return answer["result"]
