"""The command line of the stand-in: options, the ready line, the end."""
import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from . import inactivity
from .edge import EdgeError
from .server import Server
from .state import State

DESCRIPTION = """\
A stand-in for the Wrenn API: capsules are processes of this machine, their
files live below one folder. When it is ready it prints one line of JSON with
its addresses and credentials, and it ends on SIGTERM or SIGINT. Point a client
at it with WRENN_BASE_URL and WRENN_API_KEY. See README.md beside it for the
admin endpoints, which make faults on demand.
"""


def address(text):
    """HOST:PORT as (host, port)."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def prefix(text):
    if text and (not text.startswith("/") or text.endswith("/")):
        raise argparse.ArgumentTypeError("a prefix is like /api")
    return text


def user(text):
    if "@" not in text.partition(":")[0]:
        raise argparse.ArgumentTypeError(f"{text!r} is not EMAIL:PASSWORD")
    return text


def add_listener_options(parser):
    group = parser.add_argument_group("addresses")
    group.add_argument("--listen", type=address, default="127.0.0.1:0",
                       metavar="HOST:PORT",
                       help="plain HTTP/1.1 (default %(default)s)")
    group.add_argument("--prefix", type=prefix, default="/api",
                       help="path in front of /v1 (default %(default)s)")
    group.add_argument("--tls", action="store_true",
                       help="also TLS with HTTP/2, by nghttpx")
    group.add_argument("--tls-listen", type=address, default="127.0.0.1:0",
                       metavar="HOST:PORT",
                       help="where the edge listens (default %(default)s)")
    group.add_argument("--cert-name", action="append", metavar="NAME",
                       help="name in the certificate instead of localhost "
                       "and 127.0.0.1; may be repeated")
    group.add_argument("--alpn", default="h2,http/1.1", metavar="LIST",
                       help="protocols the edge offers (default %(default)s)")
    group.add_argument("--max-streams", type=int, default=250, metavar="N",
                       help="HTTP/2 streams a connection may have at once "
                       "(default %(default)s)")


def add_account_options(parser):
    group = parser.add_argument_group("accounts")
    group.add_argument("--api-key", action="append", metavar="KEY",
                       help="an API key (default: one made up); a second one "
                       "belongs to a second team, and so on")
    group.add_argument("--user", type=user, default="dev@example.com",
                       metavar="EMAIL:PASSWORD",
                       help="who can log in, in the first team "
                       "(default dev@example.com and a password made up)")
    group.add_argument("--jwt-ttl", type=float, default=21600, metavar="S",
                       help="how long a login is good (default 6 hours)")


def add_capsule_options(parser):
    group = parser.add_argument_group("capsules")
    group.add_argument("--root", metavar="DIR",
                       help="their files (default: a temporary folder)")
    group.add_argument("--isolation", default="auto",
                       choices=["auto", "mount", "cwd"],
                       help="how they are set apart (default: mount where "
                       "the system allows it, else cwd)")
    group.add_argument("--network", default="private",
                       choices=["private", "host"],
                       help="private (default) gives each its own loopback "
                       "and nothing else")
    group.add_argument("--expose", action="append", default=[], metavar="DIR",
                       help="a folder of this machine they see read-only, "
                       "besides /usr, /etc and the like; may be repeated")
    group.add_argument("--create-delay", type=float, default=0, metavar="S",
                       help="how long a create takes (default 0)")
    group.add_argument("--snapshot-overwrite", action="store_true",
                       help="know ?overwrite=true, which current servers "
                       "ignore")
    group.add_argument("--pause-check", type=float, default=2, metavar="S",
                       help="how often inactivity is looked for "
                       "(default %(default)s)")


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="standin", description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_listener_options(parser)
    add_account_options(parser)
    add_capsule_options(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="of the faults' probabilities (default 0)")
    parser.add_argument("--log", metavar="FILE",
                        help="a line per request, and errors")
    parser.add_argument("--exit-with-stdin", action="store_true",
                        help="end when standard input ends")
    return parser.parse_args(arguments)


def ready_line(state, plain):
    settings = state.settings
    host = f"[{plain[0]}]" if ":" in plain[0] else plain[0]
    url = f"http://{host}:{plain[1]}"
    tls_url = None
    if settings.tls:
        tls_host = settings.tls_listen[0]
        if tls_host == "127.0.0.1":
            tls_host = "localhost"
        tls_url = f"https://{tls_host}:{state.edge.url_port}{settings.prefix}"
    return {
        "url": url + settings.prefix,
        "tls_url": tls_url,
        "ca_file": state.edge.ca_file,
        "api_key": state.keys[0],
        "api_keys": state.keys,
        "teams": state.accounts.teams,
        "email": state.user.email,
        "password": state.user.password,
        "admin": url + "/_standin",
        "edge_log": state.edge.log_file,
        "isolation": state.walls.isolation,
        "pid": os.getpid(),
        "edge_pid": state.edge.pid,
    }


def watch_stdin(stop):
    """Sets `stop` when standard input ends, whatever kind of file it is."""
    loop = asyncio.get_running_loop()

    def drain():
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=drain, daemon=True).start()


async def run(state, stop):
    """Serves until `stop`; nothing of it is left then but the folder."""
    server = Server(state)
    watcher = asyncio.ensure_future(inactivity.watch(state))
    try:
        await state.settle()
        plain = await server.start(state.settings.listen)
        if state.settings.tls:
            state.edge.configure(plain)
        await state.edge.start()
        print(json.dumps(ready_line(state, plain)), flush=True)
        await stop.wait()
    finally:
        watcher.cancel()
        await state.registry.close()
        await server.close()
        await state.edge.close()


async def serve(settings, folder):
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if settings.exit_with_stdin:
        watch_stdin(stop)
    await run(State(settings, folder), stop)


def main(arguments=None):
    settings = parse(arguments)
    folder = tempfile.mkdtemp(prefix="standin-")
    try:
        asyncio.run(serve(settings, folder))
    except (OSError, EdgeError, subprocess.CalledProcessError) as error:
        print(f"standin: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
