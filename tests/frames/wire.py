"""A TCP connection with TLS whose every byte, and whose end, is ours to choose."""
import socket
import ssl
import struct


class Gone(Exception):
    """The connection, or the stream, has ended: there is nobody to serve."""


class Wire:
    """asyncio's own TLS hides how a connection ends; hence memory buffers."""

    def __init__(self, reader, writer, context):
        self.reader = reader
        self.writer = writer
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.muted = False
        self.is_cut = False

    async def feed(self):
        """Some bytes from the network into the TLS machine."""
        try:
            data = await self.reader.read(65536)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        self.incoming.write(data)

    def flush(self):
        data = self.outgoing.read()
        if data and not self.muted and not self.is_cut and not self.writer.is_closing():
            self.writer.write(data)

    async def handshake(self):
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                await self.feed()
            except ssl.SSLError as error:
                self.flush()
                raise Gone from error
        self.flush()

    async def receive(self):
        while True:
            try:
                data = self.tls.read(65536)
            except ssl.SSLWantReadError:
                self.flush()
                await self.feed()
                continue
            except ssl.SSLError as error:
                raise Gone from error
            if not data:
                raise Gone
            return data

    def send(self, data):
        """Never waits; drain() does."""
        if self.is_cut:
            return
        self.tls.write(data)
        self.flush()

    async def drain(self):
        try:
            await self.writer.drain()
        except OSError as error:
            raise Gone from error

    def send_torn(self, data):
        """All but the last byte of what TLS makes of it."""
        self.tls.write(data)
        self.writer.write(self.outgoing.read()[:-1])

    def cut(self, how):
        """Ends it: "fin" without a word of TLS, "tls" as it should be, "rst".

        After the first two the other side's bytes are still taken in, since a
        close with bytes unread is an RST, which would destroy what was sent.
        """
        if self.is_cut:
            return
        if how == "tls":
            try:
                self.tls.unwrap()
            except ssl.SSLError:
                pass  # the other side's farewell is not there yet
            self.flush()
        self.is_cut = True
        if how == "rst":
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
            return
        try:
            self.writer.write_eof()
        except OSError:
            pass  # the other side was faster

    def stop_reading(self):
        """The other side's bytes pile up, in the end at the other side."""
        self.writer.transport.pause_reading()

    def go_on_reading(self):
        self.writer.transport.resume_reading()

    async def exhaust(self):
        """Until the other side has closed as well."""
        try:
            while await self.reader.read(65536):
                pass
        except OSError:
            pass

    def close(self):
        self.writer.transport.abort()
