"""What a fault does to a WebSocket once it is open. See README.md."""
import asyncio
import base64
import binascii
import socket
import struct

from . import hangup
from .errors import invalid
from .outlet import CUT_PAUSE

CUTS = ("end", "reset", "edge")
PAD = b"x" * 65536
HEAD, TAIL = b'{"type":"stdout","data":"', b'"}\n'
TEXT_FRAME, CLOSE_FRAME, PING_FRAME = 0x81, 0x88, 0x89
FLOOD = bytes([PING_FRAME, 5]) + b"flood"
BAD_TEXT = HEAD + b"\xff\xfe" + TAIL
# word: (type, least value); what is not a number has no least one.
WORDS = {
    "accept": (str, None), "delay": ((int, float), 0), "fragment": (int, 1),
    "pings": (int, 0), "no_pong": (bool, None), "after": (int, 0),
    "after_bytes": (int, 0), "raw": (str, None), "bad_utf8": (bool, None),
    "huge": (int, 0), "close": (int, 0), "reason": (str, None),
    "silent": (bool, None), "cut": (str, None),
}


def check(words):
    """Raises a 400 unless `words` can be an action's `ws`."""
    if not isinstance(words, dict):
        raise invalid("action.ws must be an object")
    for word, value in words.items():
        if word not in WORDS:
            raise invalid(f"unknown in a fault: ws.{word}")
        kind, least = WORDS[word]
        if not isinstance(value, kind) or (
            isinstance(value, bool) and kind is not bool
        ):
            raise invalid(f"action.ws.{word} is of another type")
        if least is not None and value < least:
            raise invalid(f"action.ws.{word} is out of range")
    if words.get("cut", "end") not in CUTS:
        raise invalid("action.ws.cut is one of: " + ", ".join(CUTS))
    if words.get("close", 0) > 0xffff or len(words.get("reason", "")) > 40:
        raise invalid("action.ws.close or its reason is too large")
    try:
        base64.b64decode(words.get("raw", ""), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("action.ws.raw must be base64") from None


class Struck(Exception):
    """The fault has ended the WebSocket."""


class NoFault:
    """Stands where no fault is: does nothing to what it is asked about."""

    fragment = 0
    silent = closed = False
    pongs = True

    async def before_message(self):
        pass

    async def after_messages(self, count):
        pass

    def split(self, sent, data):
        return data, False


NO_FAULT = NoFault()


class Script(NoFault):
    """A fault's `ws` at work in one WebSocket. It strikes once."""

    def __init__(self, websocket, words):
        self.websocket = websocket
        self.words = words
        self.fragment = words.get("fragment", 0)
        self.pongs = not words.get("no_pong", False)
        self.struck = False

    async def before_message(self):
        await asyncio.sleep(self.words.get("delay", 0))
        for _ in range(self.words.get("pings", 0)):
            await self.websocket.write(FLOOD)

    async def after_messages(self, count):
        """Strikes if it is for after so many, and not for after bytes."""
        if self.struck or "after_bytes" in self.words:
            return
        if count >= self.words.get("after", 0):
            await self.strike()

    def split(self, sent, data):
        """(what of `data` may still be sent, whether to strike then)."""
        if self.struck or "after_bytes" not in self.words:
            return data, False
        left = self.words["after_bytes"] - sent
        return data[:left], len(data) >= left

    async def strike(self):
        self.struck = True
        words = self.words
        await self.send_rubbish()
        if "close" in words:
            await self.close(words["close"], words.get("reason", ""))
        if words.get("silent"):
            self.silent, self.pongs = True, False
            await self.wait_for_the_end()
        if "cut" in words:
            await self.cut(words["cut"])

    async def send_rubbish(self):
        words, write = self.words, self.websocket.write
        if "raw" in words:
            await write(base64.b64decode(words["raw"]))
        if words.get("bad_utf8"):
            await write(bytes([TEXT_FRAME, len(BAD_TEXT)]) + BAD_TEXT)
        if "huge" in words:
            await self.send_huge(words["huge"])

    async def send_huge(self, size):
        """An event with `size` bytes of data in one frame, which is never
        whole in memory."""
        write = self.websocket.write
        whole = len(HEAD) + size + len(TAIL)
        await write(struct.pack(">BBQ", TEXT_FRAME, 127, whole) + HEAD)
        while size > 0:
            await write(PAD[:size])
            size -= len(PAD)
        await write(TAIL)

    async def close(self, code, reason):
        """Closes, and leaves it to the client to end the connection."""
        payload = struct.pack(">H", code) + reason.encode("utf-8", "replace")
        self.closed = True
        await self.websocket.write(
            bytes([CLOSE_FRAME, len(payload)]) + payload
        )
        if "cut" not in self.words:
            await self.wait_for_the_end()

    async def wait_for_the_end(self):
        await hangup.wait_for(self.websocket.request, asyncio.Event().wait())

    async def cut(self, how):
        """Ends the connection behind what was sent, which still arrives."""
        request = self.websocket.request
        await request.writer.drain()
        await asyncio.sleep(CUT_PAUSE)
        if how == "edge":
            await request.app["state"].edge.restart()
        elif how == "reset" and request.transport is not None:
            request.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        hangup.drop(request)
        raise Struck()
