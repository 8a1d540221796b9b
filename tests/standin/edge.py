"""The TLS edge: nghttpx in front of the plain listener."""
import asyncio
import os
import signal
import socket
import ssl
import subprocess

from . import certs, proctree
from .errors import invalid

START_TIMEOUT = 10
LONG = "1h"
LOG_FORMAT = '$remote_port $alpn $tls_protocol "$request" $status $pid'


class EdgeError(Exception):
    """nghttpx could not be started."""


class NoEdge:
    """Stands where --tls was not given: nothing to stop or to break."""

    pid = None
    url_port = None
    log_file = None
    ca_file = None

    async def start(self):
        pass

    async def stop(self):
        pass

    async def close(self):
        pass

    def freeze(self):
        pass

    def thaw(self):
        pass

    async def restart(self):
        raise invalid("there is no edge: start the stand-in with --tls")

    async def go_away(self):
        await self.restart()


class Edge:
    """nghttpx and its port, which is kept reserved while it is down.

    The listening socket is ours and lent to nghttpx: over a restart nobody
    is refused, and while it is stopped everybody is. nghttpx is started with
    a death signal, so that it ends with this process whatever happens; its
    own workers end when their parent does.
    """

    def __init__(self, folder, listen, names, options):
        self.folder = folder
        self.host = listen[0]
        self.reservation = bound_socket(listen)
        self.listener = None
        self.url_port = self.reservation.getsockname()[1]
        self.ca_file, self.cert, self.key = certs.make(folder, names)
        self.log_file = os.path.join(folder, "edge.log")
        self.error_file = os.path.join(folder, "edge-errors.log")
        self.config = os.path.join(folder, "nghttpx.conf")
        self.options = options
        self.child = None
        self.lock = asyncio.Lock()

    @property
    def pid(self):
        return None if self.child is None else self.child.pid

    def configure(self, backend):
        """Writes the configuration; `backend` is the plain listener."""
        settings = {
            "frontend": f"{self.host},{self.url_port}",
            "backend": f"{backend[0]},{backend[1]}",
            "private-key-file": self.key,
            "certificate-file": self.cert,
            "npn-list": self.options.alpn,
            "workers": 1,
            "no-ocsp": "yes",
            "no-server-rewrite": "yes",
            "no-location-rewrite": "yes",
            "frontend-http2-max-concurrent-streams": self.options.max_streams,
            "frontend-http2-window-size": "256K",
            "frontend-http2-connection-window-size": "1M",
            "frontend-http2-read-timeout": LONG,
            "frontend-read-timeout": LONG,
            "frontend-write-timeout": LONG,
            "frontend-keep-alive-timeout": LONG,
            "stream-write-timeout": LONG,
            "backend-read-timeout": LONG,
            "backend-write-timeout": LONG,
            "backend-keep-alive-timeout": "30s",
            "accesslog-file": self.log_file,
            "accesslog-format": LOG_FORMAT,
            "errorlog-file": self.error_file,
        }
        with open(self.config, "w") as config:
            for name, value in settings.items():
                config.write(f"{name}={value}\n")

    async def start(self):
        async with self.lock:
            await self._start()

    async def stop(self):
        """Kills it: connections end without a word."""
        async with self.lock:
            await self._kill()
            if self.listener is not None:
                self.listener.close()
                self.listener = None

    async def restart(self):
        async with self.lock:
            await self._kill()
            await self._start()

    async def go_away(self):
        """Old connections get a GOAWAY and may finish; a new worker takes
        the port over without a gap."""
        async with self.lock:
            if self.child is not None:
                self.child.send_signal(signal.SIGHUP)

    def freeze(self):
        self._signal(signal.SIGSTOP)

    def thaw(self):
        self._signal(signal.SIGCONT)

    def _pids(self):
        if self.child is None:
            return []
        return list(proctree.tree(self.child.pid))

    def _signal(self, number):
        for pid in self._pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    async def _start(self):
        if self.child is not None:
            return
        if self.listener is None:
            self.listener = bound_socket((self.host, self.url_port))
            self.listener.listen(1024)
            # nghttpx accepts until there is nothing left to accept.
            self.listener.setblocking(False)
        fd = self.listener.fileno()
        self.child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "nghttpx",
             "--conf=" + self.config],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[fd],
            env=dict(os.environ, NGHTTPX_ACCEPT_1=f"tcp,{fd}"),
        )
        await self._wait_until_up()

    async def _wait_until_up(self):
        """A connection is accepted before nghttpx runs, so the sign of its
        life is a handshake."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_TIMEOUT
        context = ssl.create_default_context(cafile=self.ca_file)
        context.check_hostname = False
        handshake = asyncio.ensure_future(
            asyncio.open_connection(self.host, self.url_port, ssl=context)
        )
        while not handshake.done():
            if self.child.poll() is not None or loop.time() > deadline:
                handshake.cancel()
                raise EdgeError(self._last_error())
            await asyncio.wait({handshake}, timeout=0.01)
        handshake.result()[1].transport.abort()

    def _last_error(self):
        try:
            with open(self.error_file) as log:
                return "nghttpx did not start: " + log.read()[-500:]
        except FileNotFoundError:
            return "nghttpx did not start"

    async def _kill(self):
        if self.child is None:
            return
        pids = set(self._pids())
        self._signal(signal.SIGKILL)
        self.child.wait()
        self.child = None
        # The connections are gone when the workers are.
        while pids & set(proctree.table()):
            await asyncio.sleep(0.002)

    async def close(self):
        await self.stop()
        self.reservation.close()


def bound_socket(listen):
    """A socket bound to an address, which several may share before one
    listens. One that never does keeps the port, and callers are refused."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(listen)
    return sock
