"""Notices that a caller has gone while a handler is still busy for it.

aiohttp 3.8 does not cancel a handler whose client disconnects, so a handler
that holds something on the caller's behalf has to look for itself.
"""
import asyncio
import time

LOOK_EVERY = 0.025


class ClientGone(Exception):
    """The caller closed its connection, or reset its stream at the edge."""


def is_gone(request):
    transport = request.transport
    return transport is None or transport.is_closing()


def drop(request):
    """Closes the caller's connection at once, whatever is in flight."""
    if request.transport is not None:
        request.transport.abort()


async def wait_for(request, awaitable, timeout=None):
    """The awaitable's result; ClientGone or TimeoutError if they come first.

    The awaitable is cancelled in both of these cases.
    """
    task = asyncio.ensure_future(awaitable)
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        while not task.done():
            if is_gone(request):
                raise ClientGone()
            pause = LOOK_EVERY
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise asyncio.TimeoutError()
                pause = min(pause, left)
            await asyncio.wait({task}, timeout=pause)
        return task.result()
    finally:
        if not task.done():
            task.cancel()


async def sleep(request, seconds):
    """Sleeps on the caller's behalf; ClientGone when it leaves."""
    await wait_for(request, asyncio.sleep(seconds))
