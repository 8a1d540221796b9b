"""A command that runs in a capsule, and where its output goes."""
import asyncio
import os

CHUNK = 32768  # what the real agent reads at once, and so sends as one event
LAG_MAX = 4096  # chunks a subscriber may lag before it starts to miss some
# How long after the end of a foreground command its output is still read
# while some process it left behind holds the pipes open.
GRACE = 0.25


class Subscription:
    """One reader of a Fan: events in order, the oldest lost when it lags.

    How many were is counted in `tally["missed"]`.
    """

    def __init__(self, tally):
        self.queue = asyncio.Queue()
        self.tally = tally

    def put(self, event):
        if self.queue.qsize() >= LAG_MAX:
            self.queue.get_nowait()
            self.tally["missed"] += 1
        self.queue.put_nowait(event)

    async def get(self):
        return await self.queue.get()


class Fan:
    """Hands each event to whoever subscribes at that moment.

    Events are ("stdout" | "stderr", bytes) and, last, ("exit", code), or
    ("lost", -1) when nobody can know. The last one waits for the end of the
    output, whoever holds its pipes open.
    """

    grace = None

    def __init__(self):
        self.subscriptions = set()

    def subscribe(self, tally):
        subscription = Subscription(tally)
        self.subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription):
        self.subscriptions.discard(subscription)

    def publish(self, name, value):
        for subscription in self.subscriptions:
            subscription.put((name, value))


class Collector:
    """Keeps all output, up to a limit after which `overflow` is set."""

    grace = GRACE

    def __init__(self, limit):
        self.parts = {"stdout": bytearray(), "stderr": bytearray()}
        self.left = limit
        self.overflow = asyncio.Event()

    def publish(self, name, value):
        if name not in self.parts:
            return
        self.left -= len(value)
        if self.left < 0:
            self.overflow.set()
        else:
            self.parts[name] += value


class Process:
    """From its start until its output is drained. Owns the pipes' ends.

    `sink` has a method publish(name, value) as Fan's, and `grace`: for how
    many seconds after its end its output is read, None for as long as it is.
    """

    def __init__(self, pid, sink):
        self.pid = pid
        self.sink = sink
        self.tag = None
        self.cmd = None
        self.args = []
        self.lost = False
        self.open_pipes = {}
        self.pipes_closed = asyncio.Event()
        self.exited = asyncio.get_running_loop().create_future()
        self.done = asyncio.get_running_loop().create_future()

    def read_from(self, name, fd):
        """Reads the pipe `fd`, non-blocking and ours from now on."""
        self.open_pipes[name] = fd
        asyncio.get_running_loop().add_reader(fd, self._readable, name, fd)

    def _readable(self, name, fd):
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        if data:
            self.sink.publish(name, data)
        else:
            self._close(name)

    def _close(self, name):
        fd = self.open_pipes.pop(name)
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)
        if not self.open_pipes:
            self.pipes_closed.set()

    def close_pipes(self):
        for name in list(self.open_pipes):
            self._close(name)

    def exit(self, code):
        """Told once by the guest; a signal's number comes as a negative."""
        if not self.exited.done():
            self.exited.set_result(-1 if code < 0 else code)
            asyncio.ensure_future(self._finish())

    def lose(self):
        """Told when its capsule is gone, and what became of it unknown."""
        self.lost = True
        self.exit(-1)

    async def _finish(self):
        try:
            await asyncio.wait_for(self.pipes_closed.wait(), self.sink.grace)
        except asyncio.TimeoutError:
            self.close_pipes()
        name = "lost" if self.lost else "exit"
        self.sink.publish(name, self.exited.result())
        self.done.set_result(self.exited.result())

    async def wait(self):
        """The exit code, -1 after a signal, once the output is drained."""
        return await asyncio.shield(self.done)
