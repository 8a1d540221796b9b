"""multipart/form-data read as it arrives, in constant memory."""
import re

from . import hangup
from .errors import invalid

HEAD_MAX = 16384
NAME = re.compile(rb';\s*name=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.I)
BOUNDARY = re.compile(
    r'multipart/form-data\s*;.*?boundary=(?:"([^"]+)"|([^\s;]+))', re.I
)


class Multipart:
    """The parts of a request's body: next_part(), then chunks() to its end.

    Raises a 400 for what is not multipart and ClientGone if the caller's
    connection ends before the body does.
    """

    def __init__(self, request):
        found = BOUNDARY.match(request.headers.get("Content-Type", ""))
        if found is None:
            raise invalid("expected multipart/form-data with boundary")
        boundary = found.group(1) or found.group(2)
        self.stream = request.content
        self.delimiter = b"\r\n--" + boundary.encode()
        # With the line break in front the first delimiter is like the rest.
        self.buffer = bytearray(b"\r\n")
        self.started = False

    async def _fill(self):
        try:
            data = await self.stream.readany()
        except OSError:
            raise hangup.ClientGone() from None
        if not data:
            raise invalid("failed to parse multipart: unexpected end")
        self.buffer += data

    async def next_part(self):
        """The form name of the next part, or None behind the last one."""
        if not self.started:
            self.started = True
            async for _ in self.chunks():
                pass  # the preamble
        while len(self.buffer) < 2:
            await self._fill()
        if self.buffer.startswith(b"--"):
            return None
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > HEAD_MAX:
                raise invalid("failed to parse multipart: part header too long")
            await self._fill()
        end = self.buffer.index(b"\r\n\r\n")
        head = bytes(self.buffer[:end])
        del self.buffer[:end + 4]
        found = NAME.search(head)
        if found is None:
            return ""
        return (found.group(1) or found.group(2) or b"").decode(
            "utf-8", "replace"
        )

    async def chunks(self):
        """The bytes of the current part; consumes the delimiter after it."""
        keep = len(self.delimiter) - 1
        while True:
            end = self.buffer.find(self.delimiter)
            if end >= 0:
                data = bytes(self.buffer[:end])
                del self.buffer[:end + len(self.delimiter)]
                if data:
                    yield data
                return
            if len(self.buffer) > keep:
                data = bytes(self.buffer[:-keep])
                del self.buffer[:-keep]
                yield data
            await self._fill()

    async def value(self, limit):
        """A short part as text."""
        data = bytearray()
        async for chunk in self.chunks():
            data += chunk
            if len(data) > limit:
                raise invalid("failed to parse multipart: field too long")
        return data.decode("utf-8", "replace")
