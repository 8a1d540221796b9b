"""The server's side of a WebSocket: the upgrade, its messages, its end.

aiohttp does the handshake and reads what comes. What goes out are frames of
our own making: the real server cuts messages into pieces, which aiohttp never
does, and faults need frames that nobody sane would send.
"""
import json
import struct

from aiohttp import WSMsgType, web

from .hangup import ClientGone
from .wsfaults import NO_FAULT, Script

CONTINUATION, TEXT, CLOSE, PING, PONG = 0, 1, 8, 9, 10
FINAL = 0x80
# The real server's buffer without the room for a header. A message of more
# than BUFFERED_MAX passes it by.
BUFFER = 4096 - 14
BUFFERED_MAX = 2 * 4096
# Go's encoder writes these so, the last one where bytes were not UTF-8.
ESCAPES = {
    ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029\ufffd"
}


def frame(opcode, payload, final=True):
    """The bytes of a frame; a server's are not masked."""
    size = len(payload)
    first = opcode | (FINAL if final else 0)
    if size < 126:
        head = bytes([first, size])
    elif size < 1 << 16:
        head = struct.pack(">BBH", first, 126, size)
    else:
        head = struct.pack(">BBQ", first, 127, size)
    return head + payload


def cut(payload, size):
    """The payload as a message of frames of up to `size` bytes."""
    starts = range(0, max(len(payload), 1), size)
    return [
        frame(
            CONTINUATION if start else TEXT,
            payload[start:start + size],
            start + size >= len(payload),
        )
        for start in starts
    ]


def frames_of(payload):
    """A message as the real server cuts it: what is over its buffer's size
    comes in pieces, and what is far over it in one, with an empty last."""
    if len(payload) > BUFFERED_MAX:
        return [
            frame(TEXT, payload, final=False), frame(CONTINUATION, b"")
        ]
    return cut(payload, BUFFER)


def encode(event):
    """An event as JSON text, spelled as Go does, with its line feed."""
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return (text.translate(ESCAPES) + "\n").encode("utf-8", "replace")


async def bend_accept(request, response):
    """Tells a lie in the handshake, when a fault asks for one."""
    accept = (request.get("action") or {}).get("ws", {}).get("accept")
    if isinstance(response, Upgrade) and accept is not None:
        response.headers["Sec-WebSocket-Accept"] = accept


class Upgrade(web.WebSocketResponse):
    """The 101 and whatever the client sends behind it."""

    def __init__(self):
        super().__init__(autoclose=False, autoping=False, compress=False,
                         max_msg_size=0)

    async def write_eof(self, data=b""):
        """Nothing: the real server ends without a close frame."""


class WebSocket:
    """One connection, from open() until its handler returns `response`.

    It is counted in the ledger's `entry`. Raises ClientGone once the client
    has closed it or is gone, and Struck when a fault has ended it.
    """

    def __init__(self, request):
        self.request = request
        self.entry = request["entry"]
        self.tally = self.entry["stream"]
        self.outage = request.app["state"].outage
        self.response = Upgrade()
        action = request.get("action") or {}
        self.script = Script(self, action["ws"]) if "ws" in action else (
            NO_FAULT)

    async def open(self):
        await self.response.prepare(self.request)
        self.entry["status"] = 101
        await self.script.after_messages(0)

    async def send(self, **event):
        await self.script.before_message()
        payload = encode(event)
        size = self.script.fragment
        for piece in cut(payload, size) if size else frames_of(payload):
            await self.write(piece)
        self.tally["messages"] += 1
        await self.script.after_messages(self.tally["messages"])

    async def write(self, data):
        """Sends bytes as they are; waits while the client lags behind."""
        await self.outage.wait_out()
        data, due = self.script.split(self.tally["bytes"], data)
        await self.request.writer.write(data)
        self.tally["bytes"] += len(data)
        if due:
            await self.script.strike()

    async def receive(self):
        """The next message's data, text or bytes. Answers pings."""
        while True:
            message = await self.response.receive()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                if not self.script.silent:
                    return message.data
            elif message.type == WSMsgType.PING:
                if self.script.pongs:
                    await self.write(frame(PONG, message.data))
            elif message.type == WSMsgType.CLOSE:
                await self.answer_close(message.data)
                raise ClientGone()
            elif message.type != WSMsgType.PONG:
                raise ClientGone()

    async def answer_close(self, code):
        """Says the client's code back, as if that were all of an answer."""
        if self.script.silent:
            await self.script.wait_for_the_end()
        if not self.script.closed:
            payload = struct.pack(">H", code) if code else b""
            await self.write(frame(CLOSE, payload))
