"""One connection of a client: h2 keeps the rules, faults go past it."""
import asyncio

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.settings import SettingCodes, Settings

from . import frame
from .stream import Stream
from .wire import Gone


class Connection:
    """From accept to end. What tests look at stays when it is over.

    h2 judges the client: what it does against the rules is in `violations`,
    unless we have broken them first in a way that h2 does not know of.
    """

    def __init__(self, server, number, wire):
        self.server = server
        self.number = number
        self.wire = wire
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=False, header_encoding="utf-8",
            validate_outbound_headers=False, normalize_outbound_headers=False))
        self.streams = {}
        self.waiters = []
        self.ended = False
        self.spoiled = False
        self.last = frame.LAST_STREAM  # that we said we would process
        self.violations = []
        self.goaway_code = None  # the client's
        self.pings = 0        # the client's
        self.settings_acks = 0

    # ---- life ----

    async def run(self, fault):
        try:
            await (fault or Connection.serve)(self)
        except Gone:
            pass
        finally:
            self.end()

    async def serve(self):
        """What a good server does."""
        await self.wire.handshake()
        self.greet()
        await self.listen()

    def greet(self):
        """Announces the settings; they hold when the client has agreed, which
        h2 does not grant it for the first ones."""
        values = {SettingCodes.MAX_CONCURRENT_STREAMS: 100, **self.server.settings}
        self.h2.local_settings = Settings(False, values)
        self.h2.initiate_connection()
        self.h2.local_settings = Settings(False)
        self.h2.local_settings.update(values)
        self.flush()

    async def listen(self):
        while not self.wire.is_cut:
            self.take(await self.wire.receive())
        await self.wire.exhaust()

    def end(self):
        self.ended = True
        self.wire.close()
        self.notify()

    def take(self, data):
        if self.wire.is_cut:
            return
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            if not self.spoiled:
                self.violations.append(repr(error))
            self.flush()
            raise Gone from error
        for event in events:
            handler = self.HANDLERS.get(type(event))
            if handler is not None:
                handler(self, event)
        self.flush()
        self.notify()

    # ---- what the client does ----

    def on_request(self, event):
        stream = Stream(self, event)
        self.streams[stream.id] = stream
        self.server.enter(stream)
        if stream.id <= self.last:
            self.server.start(stream)

    def on_data(self, event):
        stream = self.streams[event.stream_id]
        stream.body += event.data
        size = event.flow_controlled_length
        if not stream.deaf:
            self.h2.acknowledge_received_data(size, event.stream_id)
        elif size > 0:
            # The window of all is kept open: the others need it.
            self.h2.increment_flow_control_window(size)

    def on_end(self, event):
        self.streams[event.stream_id].request.complete = True

    def on_reset(self, event):
        stream = self.streams[event.stream_id]
        stream.request.reset = int(event.error_code)

    def on_goaway(self, event):
        self.goaway_code = int(event.error_code)
        # To h2 this is the end; by the rules the streams go on.
        self.h2.state_machine.state = h2.connection.ConnectionState.SERVER_OPEN

    def on_ping(self, event):
        self.pings += 1

    def on_settings_ack(self, event):
        self.settings_acks += 1

    HANDLERS = {
        h2.events.RequestReceived: on_request,
        h2.events.DataReceived: on_data,
        h2.events.StreamEnded: on_end,
        h2.events.StreamReset: on_reset,
        h2.events.ConnectionTerminated: on_goaway,
        h2.events.PingReceived: on_ping,
        h2.events.SettingsAcknowledged: on_settings_ack,
    }

    # ---- what faults do ----

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.wire.send(data)

    def send(self, data):
        """Bytes that h2 need not know of."""
        self.flush()
        self.wire.send(data)

    def spoil(self, data):
        """Bytes after which h2 does not know any more who is to blame."""
        self.spoiled = True
        self.send(data)

    def goaway(self, last, code=0):
        """Streams above `last` are not served any more."""
        self.last = min(self.last, last)
        self.send(frame.goaway(last, code))

    def change_settings(self, values):
        """Told to the client now, in force when it has acknowledged."""
        self.h2.update_settings(values)
        self.flush()

    def mute(self):
        self.wire.muted = True

    def notify(self):
        waiters, self.waiters = self.waiters, []
        for future in waiters:
            if not future.done():
                future.set_result(None)

    async def until(self, condition):
        """Waits for something that the client does; Gone when it cannot."""
        while not condition():
            if self.ended or self.wire.is_cut:
                raise Gone
            future = asyncio.get_running_loop().create_future()
            self.waiters.append(future)
            await future
