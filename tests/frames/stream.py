"""One request and its answer, which goes out in stages."""
import asyncio
import dataclasses
import enum

import h2.exceptions

from . import wrenn
from .wire import Gone


class Stage(enum.IntEnum):
    """How far a stream has come; faults happen at one."""

    ARRIVED = 0   # the request's headers
    WHOLE = 1     # the request
    EXECUTED = 2  # the work is done, nothing sent
    HEADERS = 3   # the answer's headers are sent
    HALF = 4      # and half its body
    ANSWERED = 5  # and the rest, with END_STREAM


@dataclasses.dataclass
class Request:
    """An entry of the ledger."""

    connection: int
    stream: int
    method: str
    path: str        # without the prefix
    authority: str
    fields: list     # all headers, as h2 gives them
    complete: bool = False
    executed: bool = False
    answered: bool = False
    reset: int = None  # the code of the client's RST_STREAM


class Stream:
    """Made by its connection when the request's headers have come."""

    def __init__(self, connection, event):
        fields = dict(event.headers)
        prefix = connection.server.prefix
        self.connection = connection
        self.id = event.stream_id
        self.stage = Stage.ARRIVED
        self.body = b""
        self.deaf = False  # leaves its window as it is
        self.reply = None
        self.request = Request(
            connection.number, self.id, fields[":method"],
            fields[":path"].removeprefix(prefix), fields.get(":authority"),
            event.headers)

    @property
    def server(self):
        return self.connection.server

    async def until(self, condition):
        """Gone also when the client has reset the stream."""
        await self.connection.until(lambda: self.request.reset is not None or condition())
        if self.request.reset is not None:
            raise Gone

    async def advance(self, stage):
        while self.stage < stage:
            await self.STEPS[self.stage](self)
            self.stage = Stage(self.stage + 1)

    async def await_request(self):
        await self.until(lambda: self.request.complete)

    async def execute(self):
        if self.id > self.connection.last:
            raise Gone  # a GOAWAY has said that it is not processed
        self.request.executed = True
        status, self.reply = wrenn.answer(
            self.request.method, self.request.path, self.body, self.server.next_number())
        self.fields = [(":status", str(status)), ("content-type", "application/json")]
        if self.reply:
            self.fields.append(("content-length", str(len(self.reply))))

    async def send_headers(self):
        self.headers(self.fields, end=not self.reply)

    async def send_half(self):
        if self.reply:
            self.data(self.reply[:len(self.reply) // 2])

    async def send_rest(self):
        if self.reply:
            self.data(self.reply[len(self.reply) // 2:], end=True)
        self.request.answered = True

    STEPS = [await_request, execute, send_headers, send_half, send_rest]

    # ---- pieces ----

    def tell(self, send, *args, **kwargs):
        """Has h2 send something; Gone when the client has ended the stream."""
        try:
            send(self.id, *args, **kwargs)
        except h2.exceptions.ProtocolError as error:
            if self.request.reset is None:
                raise
            raise Gone from error
        self.connection.flush()

    def headers(self, fields, end=False):
        self.tell(self.connection.h2.send_headers, fields, end_stream=end)

    def data(self, data, end=False):
        """Small enough for any window."""
        self.tell(self.connection.h2.send_data, data, end_stream=end)

    def reset(self, code):
        self.tell(self.connection.h2.reset_stream, code)

    async def stream_data(self, pieces):
        """As much as the client's windows let through, as it does."""
        connection = self.connection
        for piece in pieces:
            await self.until(lambda: connection.h2.local_flow_control_window(
                self.id) >= len(piece))
            self.data(piece)
            await connection.wire.drain()
            # Else a client that always reads would never be heard.
            await asyncio.sleep(0)
