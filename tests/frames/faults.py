"""What the server can do wrong. A fault is a coroutine function of a stream.

Most are an action at a stage: at(EXECUTED, reset(7)). An action is a function
of the stream, a coroutine function where it takes time.
"""
import asyncio

from . import frame
from .stream import Stage
from .wire import Gone

(ARRIVED, WHOLE, EXECUTED, HEADERS, HALF, ANSWERED) = Stage


def at(stage, *actions, then=None):
    """Actions at that stage; `then` is how far it goes on afterwards."""
    async def fault(stream):
        await stream.advance(stage)
        for action in actions:
            result = action(stream)
            if asyncio.iscoroutine(result):
                await result
        if then is not None:
            await stream.advance(then)

    return fault


def held(stream):
    """An action: waits until the test says release()."""
    return stream.server.gate.wait()


def deaf(stream):
    """An action: its window is not opened again."""
    stream.deaf = True


def mute(stream):
    """An action: nothing reaches the client any more, and nothing tells it so."""
    stream.connection.mute()


# ---- ends ----

def reset(code):
    return lambda s: s.reset(code)


def late_reset(code):
    """When the stream is closed already, and h2 would not send it."""
    return lambda s: s.connection.send(frame.rst(s.id, code))


def cut(how):
    return lambda s: s.connection.wire.cut(how)


def torn(data):
    """An answer's bytes whose last is missing, and the end."""
    def action(s):
        s.connection.wire.send_torn(data)
        s.connection.wire.cut("fin")

    return action


def goaway(last, code=0):
    """`last` is a stream's number, or a function of the stream's."""
    return lambda s: s.connection.goaway(last(s.id) if callable(last) else last, code)


# ---- frames ----

def spoil(data):
    """Any bytes, or a function of the stream's number that makes them."""
    return lambda s: s.connection.spoil(data(s.id) if callable(data) else data)


def harmless(data):
    """The same for what the rules allow, so that h2 goes on judging."""
    return lambda s: s.connection.send(data(s.id) if callable(data) else data)


def fields(*pairs, end=False):
    """An answer's headers, as they are, or its trailers."""
    return lambda s: s.headers(list(pairs), end)


def data(content, end=False):
    return lambda s: s.data(content, end)


def repeat(data, count):
    """A flood: the same frames over and over, heard and unheard."""
    async def action(s):
        connection = s.connection
        connection.spoiled = True
        bunch = (data(s.id) if callable(data) else data) * 100
        for _ in range(count // 100):
            connection.send(bunch)
            await connection.wire.drain()
            await asyncio.sleep(0)
            if connection.ended:
                raise Gone

    return action


def endless_body(piece=frame.MAX_FRAME):
    """A body without an end, as far as the windows let it go."""
    async def action(s):
        content = b"x" * piece
        while True:
            await s.stream_data([content])

    return action


# ---- whole connections: coroutine functions of a connection ----

def cut_at_accept(how):
    async def fault(connection):
        connection.wire.cut(how)

    return fault


async def cut_in_handshake(connection):
    """When the client's first flight has come."""
    await connection.wire.feed()
    connection.wire.cut("fin")


async def torn_handshake(connection):
    """The server's first flight ends in its middle."""
    await connection.wire.feed()
    try:
        connection.wire.tls.do_handshake()
    except OSError:
        pass  # it wants to read: its answer is ready
    connection.wire.writer.write(connection.wire.outgoing.read()[:100])
    connection.wire.cut("fin")


async def no_tls(connection):
    await connection.wire.feed()
    connection.wire.writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
    connection.wire.cut("fin")


async def silent_handshake(connection):
    """Takes bytes and says nothing."""
    await connection.wire.exhaust()


def greeting(data, how=None):
    """Other bytes instead of the first SETTINGS; then an end, or silence."""
    async def fault(connection):
        await connection.wire.handshake()
        connection.spoiled = True
        connection.wire.send(data)
        if how is not None:
            connection.wire.cut(how)
        await connection.wire.exhaust()

    return fault


def goaway_at_once(last, code):
    async def fault(connection):
        await connection.wire.handshake()
        connection.greet()
        connection.goaway(last, code)
        await connection.listen()

    return fault
