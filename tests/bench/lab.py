"""What is measured, and what it is measured with; started when first asked for."""
import contextlib
import functools
import pathlib
import shutil
import tempfile

from daemon import Daemon
from server import Server, capsule_ids

SPREAD = 256  # capsules that calls ask for in turn: equal requests would be shared


class Lab:
    """Close it: all that it started ends, and its folder goes."""

    def __init__(self, build, scale):
        self.build = pathlib.Path(build)
        self.scale = scale  # of all counts, 1 for a whole run
        self.ends = contextlib.ExitStack()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wrennd-bench-"))
        self.ends.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.daemons = 0

    def close(self):
        self.ends.close()

    def tool(self, name):
        """One of the C programs of this folder."""
        return str(self.build / "bench" / name)

    def count(self, full):
        """So many of something in a whole run, fewer in a quick one."""
        return max(1, int(full * self.scale))

    @functools.cached_property
    def server(self):
        return self.closing(Server(self.folder / "server"))

    @functools.cached_property
    def daemon(self):
        """One that has a warm connection."""
        return self.fresh_daemon(self.server)

    def fresh_daemon(self, upstream, wrapper=()):
        self.daemons += 1
        daemon = self.closing(Daemon(str(self.build / "wrennd"),
                                     self.folder / f"daemon-{self.daemons}", upstream, wrapper))
        daemon.call("capsule.get", capsule=capsule_ids(1)[0])
        return daemon

    @functools.cached_property
    def capsule_calls(self):
        """For load: one line for each call."""
        return "".join(f'"method":"capsule.get","params":{{"capsule":"{name}"}}\n'
                       for name in capsule_ids(SPREAD))

    @functools.cached_property
    def capsule_urls(self):
        """For h2load: a file with the same requests."""
        path = self.folder / "urls"
        path.write_text("".join(f"{self.server.url}/v1/capsules/{name}\n"
                                for name in capsule_ids(SPREAD)))
        return path

    def closing(self, thing):
        self.ends.callback(thing.close)
        return thing
