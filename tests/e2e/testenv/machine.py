"""A wrennd for all users of the machine, and clients that are other users."""
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

from .client import Client
from .daemon import Daemon
from .paths import WRENNCTL, WRENND

ANN, BOB, EVE = 61001, 61002, 61003  # users who own nothing here


def become(uid):
    """This process is that user's from now on."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


class UserClient(Client):
    """A client that wrennd takes for another user's."""

    def __init__(self, path, uid):
        self.uid = uid
        super().__init__(path)

    def connect(self, path):
        """A child of that user connects and hands the socket over."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            pid = os.fork()
            if pid == 0:
                self.connect_and_exit(path, theirs)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if status:
                raise OSError(status, os.strerror(status))
            _, [fd], _, _ = socket.recv_fds(ours, 1, 1)
        return socket.socket(fileno=fd)

    def connect_and_exit(self, path, to):
        """In the child, which must not return into the tests."""
        status = 255
        try:
            become(self.uid)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.connect(path)
            socket.send_fds(to, [b"x"], [sock.fileno()])
            status = 0
        except OSError as error:
            status = error.errno
        finally:
            os._exit(status)


class Machine(Daemon):
    """wrennd in a folder that others may enter, for all users or for one."""

    def __init__(self, cloud, *, run_as=0, system=True, settings="", **kwargs):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="wrennd-"))
        folder.chmod(0o755)
        super().__init__(folder, cloud, settings="socket_mode = 0666\n" + settings, **kwargs)
        self.run_as = run_as
        self.system = system
        self.socket = folder / "run" / "wrennd.sock"
        self.state = folder / "state"
        self.state.mkdir(mode=0o700)
        for path in (self.state, self.socket.parent, self.key_file):
            os.chown(path, run_as, run_as)
        # What other users could not reach where it is.
        self.wrennd = shutil.copy(WRENND, folder / "wrennd")
        self.wrennctl = shutil.copy(WRENNCTL, folder / "wrennctl")
        ca = shutil.copy(cloud.ready["ca_file"], folder / "ca.pem")
        os.chmod(ca, 0o644)
        self.config.write_text(
            self.config.read_text().replace(cloud.ready["ca_file"], str(ca)))

    def spawn(self, *options):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.wrennd, *["--system"] * self.system, "--config", str(self.config),
                 "--socket", str(self.socket), "--state-dir", str(self.state), *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env,
                cwd="/", user=self.run_as, group=self.run_as, extra_groups=[])

    def user(self, uid):
        return UserClient(self.socket, uid)

    def ctl(self, uid, *arguments):
        """wrennctl as that user."""
        return subprocess.run(
            [self.wrennctl, "--socket", str(self.socket), *map(str, arguments)],
            env=self.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
            cwd="/", user=uid, group=uid, extra_groups=[], check=False)
