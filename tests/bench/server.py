"""nginx in the place of the Wrenn API: TLS 1.3, HTTP/2, one process, small answers."""
import pathlib
import socket
import time

from standin import certs

from . import machine

KEY = "wrn_" + "0" * 32
ID_LETTERS = 25  # behind "cl-"
DEADLINE = 10

# A create goes through a proxy, which takes its body in first; to answer before
# that ends in a reset of the stream, which not every client takes for a success.
CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type application/json;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    http2_max_concurrent_streams 256;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;
    map $request_id $letters {{ "~^(?<first>.{{{letters}}})" $first; }}
    server {{
        listen {address}:{tls_port} ssl http2;
        listen {address}:{plain_port};
        listen unix:{folder}/nginx.sock;
        location = /v1/capsules {{
            if ($request_method = POST) {{ rewrite ^ /create last; }}
            return 200 '[]';
        }}
        location = /create {{ proxy_pass http://unix:{folder}/nginx.sock:/created; }}
        location = /created {{ return 201 '{created}'; }}
        location ~ ^/v1/capsules/(?<id>cl-[0-9a-z]+)$ {{ return 200 '{shown}'; }}
    }}
}}
"""


def body(capsule):
    """A capsule as the API shows it, in 312 bytes; `capsule` may be a variable of nginx's."""
    moment = "2026-01-01T00:00:00Z"
    return (f'{{"id":"{capsule}","status":"running","template":"min","vcpus":1,"memory_mb":512,'
            f'"timeout_sec":600,"created_at":"{moment}","last_updated":"{moment}",'
            f'"started_at":"{moment}","last_active_at":"{moment}",'
            '"guest_ip":"10.11.0.1","host_ip":"10.12.0.1"}')


def capsule_ids(count):
    """Names of capsules that the server shows, though nobody made them."""
    return [f"cl-bench{number:0{ID_LETTERS - 5}d}" for number in range(count)]


def free_port(address):
    with socket.socket() as sock:
        sock.bind((address, 0))
        return sock.getsockname()[1]


class Server:
    """One nginx. `wrapper` is a command put in front of it."""

    def __init__(self, folder, address="127.0.0.1", port=None, wrapper=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.ca, self.certificate, self.key = certs.make(str(folder), [address])
        self.address = address
        self.tls_port = port or free_port(address)
        self.plain_port = port + 1 if port else free_port(address)
        self.socket = self.folder / "nginx.sock"
        self.url = f"https://{address}:{self.tls_port}"
        self.plain_url = f"http://{address}:{self.plain_port}"
        config = self.folder / "nginx.conf"
        config.write_text(self.config())
        with open(self.folder / "nginx.out", "wb") as out:
            self.process = machine.start([*wrapper, "nginx", "-p", str(folder), "-c", str(config)],
                                         machine.SERVER_CORE, stdout=out, stderr=out)
        self.wait()

    def config(self):
        return CONFIG.format(
            folder=self.folder, address=self.address, tls_port=self.tls_port,
            plain_port=self.plain_port, certificate=self.certificate, key=self.key,
            letters=ID_LETTERS, created=body("cl-$letters"), shown=body("$id"))

    def wait(self):
        """Until it listens: its Unix socket is the last that it binds."""
        until = time.monotonic() + DEADLINE
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > until:
                text = (self.folder / "nginx.out").read_text()
                self.close()
                raise ChildProcessError(f"nginx does not serve:\n{text}")
            time.sleep(0.01)

    def answers(self):
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(str(self.socket)) == 0

    def close(self):
        machine.end(self.process)
