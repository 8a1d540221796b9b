"""The WebSockets of commands: exec/stream and processes/{selector}/stream."""
import asyncio
import codecs
import json

from . import exec, fields
from .errors import ApiError, invalid, unauthorized
from .guest import GuestError
from .hangup import ClientGone
from .ids import check_id
from .process import Fan
from .processes import find
from .route import LATER, Route
from .websocket import WebSocket
from .wsfaults import Struck

AUTH_TIMEOUT = 5  # seconds for the message that stands in for a header
# What the real agent starts in a command's place. So a program that is not
# there is no error but 127 from nice, which says so on stderr.
LAUNCHER = ["-c", 'exec /usr/bin/nice -n 0 "$@"', "--"]


def one_for_each(error):
    """U+FFFD for each byte, as Go's encoder does; Python has fewer."""
    return "\ufffd" * (error.end - error.start), error.end


codecs.register_error("standin.one_for_each", one_for_each)


def decode(data):
    """The text of a chunk by itself: it knows nothing of the one before."""
    return data.decode("utf-8", "standin.one_for_each")


def parse(text):
    """A client's message as a dict; ValueError if it is anything else."""
    message = json.loads(text)
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message


async def authenticate(request, socket):
    """By the first message, unless a header has done it."""
    if request["identity"] is not None:
        return
    entry = request["entry"]
    accounts = request.app["state"].accounts
    try:
        text = await asyncio.wait_for(socket.receive(), AUTH_TIMEOUT)
        message = parse(text)
        if message.get("type") != "auth":
            raise unauthorized("not an auth message")
        identity = accounts.read_token(fields.text(message, "token"))
    except (asyncio.TimeoutError, ValueError, ApiError):
        entry["auth"] = "bad"
        raise unauthorized("authentication failed") from None
    request["identity"] = identity
    entry["auth"], entry["team"] = identity.kind, identity.team


async def converse(request, socket, work):
    """How it ended: `work`'s word for it, or "error" once one was told.

    Nearly all that is wrong with a request is found behind the 101 and told
    by a message.
    """
    await socket.open()
    try:
        await authenticate(request, socket)
        capsule = request.app["state"].registry.find_running(
            request, active=False
        )
        return await work(request, socket, capsule)
    except ApiError as error:
        await socket.send(type="error", data=error.message)
        return "error"


async def serve(request, work):
    check_id("cl", request.match_info["id"], "sandbox")
    entry = request["entry"]
    entry["executed"] = False
    entry["stream"] = {"pid": None, "messages": 0, "bytes": 0, "missed": 0,
                       "end": None}
    socket = WebSocket(request)
    try:
        end = await converse(request, socket, work)
    except (ClientGone, ConnectionError):
        end = "client"
    except Struck:
        end = "fault"
    entry["stream"]["end"] = end
    return socket.response


async def read_start(socket):
    """(cmd, args) of the client's first message. There is no hurry."""
    text = await socket.receive()
    try:
        message = parse(text)
        args = fields.strings(message, "args")
        cmd = fields.text(message, "cmd", "")
    except (ValueError, ApiError) as error:
        raise invalid(f"failed to read start message: {error}") from None
    if message.get("type") != "start" or not cmd:
        raise invalid(
            "first message must be type 'start' with a 'cmd' field"
        )
    return cmd, args


async def listen(socket, can_stop):
    """Takes in what the client says; all but "stop" is ignored."""
    while True:
        text = await socket.receive()
        try:
            stop = parse(text).get("type") == "stop"
        except ValueError:
            stop = False
        if stop and can_stop:
            return "stop"


async def forward(socket, process, subscription):
    """Sends a process's events. That it is lost is told to nobody."""
    await socket.send(type="start", pid=process.pid)
    while True:
        name, value = await subscription.get()
        if name == "exit":
            await socket.send(type="exit", exit_code=value)
            return "exit"
        if name == "lost":
            return "gone"
        await socket.send(type=name, data=decode(value))


async def interrupt(interrupted):
    await interrupted.wait()
    return "gone"


async def first_of(*coroutines):
    """The result, or the error, of that which is done first; ends the rest."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        done, _ = await asyncio.wait(
            tasks, return_when=asyncio.FIRST_COMPLETED
        )
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def follow(socket, process, subscription, interrupted, can_stop):
    """From the start event to the end. The process outlives all of it."""
    entry = socket.entry
    entry["executed"] = True
    entry["stream"]["pid"] = process.pid
    try:
        return await first_of(
            forward(socket, process, subscription),
            interrupt(interrupted),
            listen(socket, can_stop),
        )
    finally:
        process.sink.unsubscribe(subscription)


async def start(request, socket, capsule):
    cmd, args = await read_start(socket)
    interrupted = capsule.interrupted
    guest = await request.app["state"].registry.guest_of(capsule)
    capsule.touch()
    fan = Fan()
    subscription = fan.subscribe(request["entry"]["stream"])
    try:
        process = await guest.spawn(fan, "/bin/sh", [*LAUNCHER, cmd, *args])
    except GuestError:
        return "gone"
    process.cmd, process.args = cmd, args
    exec.register(capsule, process)
    return await follow(
        socket, process, subscription, interrupted, can_stop=True
    )


async def connect(request, socket, capsule):
    """To a process that runs. For one that does not there is no message."""
    capsule.touch()
    process = find(capsule, request.match_info["selector"])
    if process is None:
        return "gone"
    subscription = process.sink.subscribe(request["entry"]["stream"])
    return await follow(
        socket, process, subscription, capsule.interrupted, can_stop=False
    )


async def exec_stream(request):
    return await serve(request, start)


async def process_stream(request):
    return await serve(request, connect)


ROUTES = [
    Route("GET", "/v1/capsules/{id}/exec/stream", exec_stream, LATER),
    Route("GET", "/v1/capsules/{id}/processes/{selector}/stream",
          process_stream, LATER),
]
