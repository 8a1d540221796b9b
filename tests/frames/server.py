"""The server: listens on loopback, in a thread of the test's process."""
import asyncio
import re
import shutil
import ssl
import tempfile
import threading

from standin import certs

from .connection import Connection
from .stream import Stage
from .wire import Gone, Wire

START_TIMEOUT = 10


class Rule:
    """Which requests, how many of them, meet a fault."""

    def __init__(self, fault, method, path, count):
        self.fault = fault
        self.method = method
        self.path = re.compile(path)
        self.count = count

    def takes(self, request):
        if self.count == 0 or self.method not in (None, request.method):
            return False
        return self.path.search(request.path) is not None


class FrameServer:
    """Answers well what no rule takes. `requests()` is the ledger.

    Everything but do() and the properties belongs to its own thread; plain
    attributes may be read from others.
    """

    key = "wrn_0123456789abcdef0123456789abcdef"
    prefix = "/api"

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="frames-")
        self.ca_file, *pair = certs.make(self.folder, ["localhost", "127.0.0.1"])
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*pair)
        self.context.set_alpn_protocols(["h2"])
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.tasks = set()
        self.forget()
        self.listener = self.do(self.listen)
        port = self.listener.sockets[0].getsockname()[1]
        self.ready = {"tls_url": f"https://localhost:{port}{self.prefix}",
                      "ca_file": self.ca_file}

    async def listen(self):
        return await asyncio.start_server(self.accept, "127.0.0.1", 0)

    def forget(self):
        self.rules = []
        self.connect_rules = []
        self.ledger = []
        self.connections = []
        self.errors = []  # of faults: a test with one is a failure
        self.numbers = 0
        self.gate = asyncio.Event()
        self.settings = {}  # announced at the start of a connection

    # ---- from the test's thread ----

    def do(self, function, *args):
        """Runs a function, or coroutine function, in the server's thread."""
        async def run():
            result = function(*args)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(START_TIMEOUT)

    def script(self, fault, method=None, path="", count=1):
        """The next `count` requests, -1 for all, meet this fault."""
        self.do(self.rules.append, Rule(fault, method, path, count))

    def on_connect(self, fault, count=1):
        """Likewise for whole connections, from their accept on."""
        self.do(self.connect_rules.append, [fault, count])

    def release(self):
        """Lets go on what a fault holds."""
        self.do(self.gate.set)

    def requests(self, **match):
        """The ledger's entries with these values; `path` by its end."""
        path = match.pop("path", "")
        return [r for r in list(self.ledger) if r.path.endswith(path)
                and all(getattr(r, k) == v for k, v in match.items())]

    def violations(self):
        """What clients did against the rules, and faults that failed."""
        return [v for c in list(self.connections) for v in c.violations] + self.errors

    def reset(self):
        """As new: no connection, no rule, an empty ledger."""
        self.do(self.hang_up)
        self.do(self.forget)

    def stop(self):
        self.do(self.hang_up)
        self.do(self.listener.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        shutil.rmtree(self.folder)

    # ---- in its own ----

    async def hang_up(self):
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def next_number(self):
        self.numbers += 1
        return self.numbers

    def watch(self, coroutine):
        """Runs it as a task whose failure is not lost."""
        async def run():
            try:
                await coroutine
            except Gone:
                pass
            except Exception as error:  # told by violations()
                self.errors.append(repr(error))

        task = asyncio.ensure_future(run())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def accept(self, reader, writer):
        fault = None
        for rule in self.connect_rules:
            if rule[1] != 0:
                fault = rule[0]
                rule[1] -= 1
                break
        wire = Wire(reader, writer, self.context)
        connection = Connection(self, len(self.connections) + 1, wire)
        self.connections.append(connection)
        self.watch(connection.run(fault))

    def enter(self, stream):
        self.ledger.append(stream.request)

    def start(self, stream):
        for rule in self.rules:
            if rule.takes(stream.request):
                rule.count -= 1
                self.watch(rule.fault(stream))
                return
        self.watch(stream.advance(Stage.ANSWERED))
