"""The way out of a response's body, where faults can bend it."""
import asyncio

from aiohttp import web

from . import hangup
from .errors import Dropped

SLOW_STEPS = 10  # writes a second when a body is slowed down
CUT_PAUSE = 0.03


class Outlet:
    """Sends one response piece by piece: start(), write()s, finish().

    Applies what the request's fault says about its answer; raises Dropped
    once it has closed the connection for it.
    """

    def __init__(self, request, response):
        self.request = request
        self.response = response
        self.action = request.get("action") or {}
        self.sent = 0

    async def start(self):
        await self.before_answer()
        if "wrong_type" in self.action:
            self.response.content_type = self.action["wrong_type"]
        await self.response.prepare(self.request)

    async def before_answer(self):
        """The faults between doing the work and telling of it."""
        if "delay_answer" in self.action:
            await asyncio.sleep(self.action["delay_answer"])
        if self.action.get("drop_edge") == "after":
            await self.request.app["state"].edge.restart()
            raise self.drop()
        if self.action.get("lose_answer"):
            raise self.drop()

    async def write(self, data):
        cut_after = self.action.get("cut_after")
        if cut_after is not None:
            data = data[:max(cut_after - self.sent, 0)]
        if "slow_body" in self.action:
            await self.write_slowly(data, self.action["slow_body"])
        else:
            await self.response.write(data)
        self.sent += len(data)
        if cut_after is not None and self.sent >= cut_after:
            raise await self.cut()

    async def write_slowly(self, data, rate):
        step = max(int(rate / SLOW_STEPS), 1)
        for start in range(0, len(data), step):
            piece = data[start:start + step]
            await self.response.write(piece)
            await hangup.sleep(self.request, len(piece) / rate)

    async def finish(self):
        await self.response.write_eof()

    async def cut(self):
        """Closes behind the last byte written, which still arrives: with a
        proxy between, only if it has passed that on before it sees the end.
        """
        await self.response.drain()
        await asyncio.sleep(CUT_PAUSE)
        transport = self.request.transport
        if transport is not None:
            transport.close()
        return Dropped()

    def drop(self):
        hangup.drop(self.request)
        return Dropped()


async def send_shaped(request, response):
    """Sends a whole response through an Outlet, for the fault's sake."""
    body = response.body or b""
    shaped = web.StreamResponse(status=response.status)
    shaped.content_type = response.content_type
    if response.status != 204:
        shaped.content_length = len(body)
    outlet = Outlet(request, shaped)
    await outlet.start()
    if body:
        await outlet.write(body)
    await outlet.finish()
    return shaped
