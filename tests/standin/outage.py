"""The whole service away for a while: connections die, or hang."""
import asyncio
import weakref

from . import hangup
from .errors import Dropped, invalid


class Outage:
    """At most one at a time. The admin's own connections are spared."""

    def __init__(self):
        self.mode = None
        self.over = asyncio.Event()
        self.timer = None
        self.spared = weakref.WeakSet()
        self.server = None
        self.edge = None

    def spare(self, request):
        self.spared.add(request.transport)

    async def start(self, seconds, mode):
        """`close`: all connections end now, new ones end at their first
        request or are refused by the edge. `hang`: nothing moves."""
        if mode not in ("close", "hang"):
            raise invalid('mode is "close" or "hang"')
        await self.end()
        self.mode = mode
        self.over.clear()
        if mode == "hang":
            self.edge.freeze()
        else:
            await self.edge.stop()
            self.close_connections()
        self.timer = asyncio.ensure_future(self._end_after(seconds))

    async def _end_after(self, seconds):
        await asyncio.sleep(seconds)
        self.timer = None
        await self.end()

    async def end(self):
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        mode, self.mode = self.mode, None
        if mode == "hang":
            self.edge.thaw()
        elif mode == "close":
            await self.edge.start()
        self.over.set()

    def close_connections(self):
        for protocol in self.server.connections:
            transport = protocol.transport
            if transport is not None and transport not in self.spared:
                transport.abort()

    async def wait_out(self):
        """Returns when nothing keeps an open WebSocket from moving."""
        while self.mode == "hang":
            await self.over.wait()

    async def meet(self, request):
        """What an API request meets; returns when there is no outage."""
        while self.mode == "hang":
            await hangup.wait_for(request, self.over.wait())
        if self.mode == "close":
            hangup.drop(request)
            raise Dropped()
