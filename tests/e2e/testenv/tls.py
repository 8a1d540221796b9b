"""A TLS server that counts handshakes, and passes what comes on."""
import contextlib
import select
import socket
import ssl
import subprocess
import threading

from .client import until


def relay(one, other):
    """Passes bytes between two sockets until either ends."""
    ends = {one: other, other: one}
    while True:
        # What TLS holds already, the descriptor tells nothing of.
        ready = [s for s in ends if isinstance(s, ssl.SSLSocket) and s.pending()]
        for sock in ready or select.select(list(ends), [], [], 60)[0]:
            data = sock.recv(65536)
            if not data:
                return
            ends[sock].sendall(data)


class Front:
    """On loopback, in threads. Passes on to where `backends` says for what ALPN
    agreed to, None for nothing: an address, or the path of a Unix socket."""

    def __init__(self, cert, key, protocols, backends, host="127.0.0.1"):
        self.backends = backends
        self.handshakes = []  # (protocol, session taken up again, name asked for)
        self.failed = 0
        self.names = {}
        self.open = set()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        if protocols:
            self.context.set_alpn_protocols(protocols)
        self.context.sni_callback = self.note_name
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def note_name(self, sock, name, _context):
        self.names[sock] = name

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock = self.listener.accept()[0]
                threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, raw):
        try:
            sock = self.context.wrap_socket(raw, server_side=True)
        except OSError:
            self.failed += 1
            return
        protocol = sock.selected_alpn_protocol()
        self.handshakes.append((protocol, sock.session_reused, self.names.pop(sock, None)))
        self.open.add(sock)
        with contextlib.suppress(OSError), sock:
            with self.connect(self.backends[protocol]) as backend:
                relay(sock, backend)
        self.open.discard(sock)

    @staticmethod
    def connect(where):
        if isinstance(where, tuple):
            return socket.create_connection(where)
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(where))
        return sock

    def drop(self):
        """Ends all connections, and waits until they have ended."""
        for sock in list(self.open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        until(lambda: not self.open)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.drop()
        self.thread.join()


class Plain:
    """HTTP/2 without TLS on a Unix socket, before a server of HTTP/1.1."""

    def __init__(self, folder, backend):
        self.path = folder / "h2c"
        self.log = open(folder / "h2c.log", "wb")
        self.process = subprocess.Popen(
            ["nghttpx", "--conf=/dev/null", f"--frontend=unix:{self.path};no-tls",
             f"--backend={backend[0]},{backend[1]}", "--workers=1", "--errorlog-file=/dev/stderr"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        until(self.path.exists)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


class ConnectProxy:
    """An HTTP proxy that knows CONNECT alone, with TLS or without."""

    def __init__(self, context=None):
        self.seen = []       # what it was told before the tunnel
        self.protocols = []  # ALPN of its own handshakes
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock = self.listener.accept()[0]
                threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with contextlib.suppress(OSError):
            if self.context is not None:
                sock = self.context.wrap_socket(sock, server_side=True)
                self.protocols.append(sock.selected_alpn_protocol())
            with sock:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += sock.recv(4096)
                self.seen.append(head.decode())
                host, _, port = head.split()[1].decode().rpartition(":")
                with socket.create_connection((host.strip("[]"), int(port))) as server:
                    sock.sendall(b"HTTP/1.1 200 Fine\r\n\r\n")
                    relay(sock, server)

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
