"""What is measured, and what it is measured with; started when first asked for."""
import contextlib
import functools
import pathlib
import shutil
import tempfile

from . import network
from .daemon import Daemon
from .server import Server, capsule_ids, free_port
from .ssh import WarmSsh

FAR_PORT = 8443  # and the next one; nobody else is in that namespace
SPREAD = 256  # capsules that calls ask for in turn: equal requests would be shared


class Site:
    """A server, a wrennd with a warm connection to it, and where clients run."""

    def __init__(self, lab, server, near=(), far=()):
        self.lab = lab
        self.server = server
        self.wrapper = near
        self.far = far
        self.wrennctl = str(lab.build / "wrennctl")
        self.daemon = lab.fresh_daemon(server, near)

    @functools.cached_property
    def ssh(self):
        port = 22 if self.far else free_port(self.server.address)
        return self.lab.closing(WarmSsh(self.lab.folder / f"ssh-{port}", self.server.address,
                                        port, self.wrapper, self.far))


class Lab:
    """Behind its block all that it started has ended, and its folder is gone."""

    def __init__(self, build, scale):
        self.build = pathlib.Path(build)
        self.scale = scale  # of all counts, 1 for a whole run
        self.ends = contextlib.ExitStack()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wrennd-bench-"))
        self.ends.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.daemons = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
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
    def near(self):
        return Site(self, self.server)

    @functools.cached_property
    def far(self):
        slow = self.closing(network.SlowNetwork(self.tool("delay")))
        server = self.closing(Server(self.folder / "far", network.FAR, FAR_PORT, slow.far))
        return Site(self, server, slow.near, slow.far)

    def fresh_daemon(self, upstream, wrapper=()):
        """One that has made its first call, over HTTP/2 as the peers do."""
        self.daemons += 1
        daemon = self.closing(Daemon(str(self.build / "wrennd"),
                                     self.folder / f"daemon-{self.daemons}", upstream, wrapper))
        daemon.call("capsule.get", capsule=capsule_ids(1)[0])
        version = daemon.call("daemon.status")["upstream"]["http_version"]
        if version != "2":
            raise ChildProcessError(f"wrennd speaks HTTP/{version} with the server")
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
