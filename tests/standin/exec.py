"""Commands in a capsule, in the foreground and in the background."""
import asyncio
import base64
import secrets
import time

from aiohttp import web

from . import fields, hangup
from .errors import agent_error
from .guest import GuestError
from .process import Collector, Fan
from .route import Route

TIMEOUT_SEC = 30
OUTPUT_MAX = 64 << 20


def encoded(stdout, stderr):
    """(stdout, stderr, encoding): base64 for both if either is not UTF-8."""
    try:
        return stdout.decode(), stderr.decode(), "utf-8"
    except UnicodeDecodeError:
        return (
            base64.b64encode(stdout).decode(),
            base64.b64encode(stderr).decode(),
            "base64",
        )


async def finish(request, process, collector, timeout):
    """The exit code; an ApiError if it took or wrote too much."""
    exit_task = asyncio.ensure_future(process.wait())
    overflow = asyncio.ensure_future(collector.overflow.wait())
    both = {exit_task, overflow}
    try:
        await hangup.wait_for(
            request,
            asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED),
            timeout,
        )
        if overflow.done():
            raise agent_error("exec: output exceeds 64 MiB")
        return exit_task.result()
    except asyncio.TimeoutError:
        raise agent_error("exec: context deadline exceeded") from None
    finally:
        for task in both:
            task.cancel()


async def run(request, guest, body, timeout):
    """The foreground. `envs` and `cwd` have no effect, as upstream.

    However it ends, the command does not outlive the call.
    """
    cmd = body["cmd"]
    started = time.monotonic()
    collector = Collector(OUTPUT_MAX)
    process = await guest.spawn(collector, cmd, fields.strings(body, "args"))
    try:
        code = await finish(request, process, collector, timeout)
    finally:
        if not process.exited.done():
            await guest.kill(process)
            process.close_pipes()
    if process.lost:
        raise GuestError("exec: sandbox went away")
    stdout, stderr, encoding = encoded(**collector.parts)
    return {
        "cmd": cmd,
        "stdout": stdout,
        "stderr": stderr,
        "exit_code": code,
        "duration_ms": int((time.monotonic() - started) * 1000),
        "encoding": encoding,
    }


async def start(capsule, guest, body):
    """The background: the answer comes as soon as it runs."""
    process = await guest.spawn(
        Fan(),
        body["cmd"],
        fields.strings(body, "args"),
        fields.string_map(body, "envs"),
        fields.text(body, "cwd", "") or None,
    )
    process.tag = fields.text(body, "tag", "") or (
        "proc-" + secrets.token_hex(4)
    )
    register(capsule, process)
    return {"cmd": process.cmd, "pid": process.pid, "tag": process.tag}


def register(capsule, process):
    """Lists it among the capsule's processes until it ends."""
    if not process.exited.done():
        capsule.processes[process.pid] = process
        process.exited.add_done_callback(
            lambda _: forget(capsule, process)
        )


def forget(capsule, process):
    if capsule.processes.get(process.pid) is process:
        del capsule.processes[process.pid]


async def execute(request):
    registry = request.app["state"].registry
    capsule = registry.find_running(request)
    body = await fields.read_object(request)
    fields.text(body, "cmd")
    fields.strings(body, "args")
    timeout = fields.integer(body, "timeout_sec", 0) or TIMEOUT_SEC
    background = fields.boolean(body, "background")
    guest = await registry.guest_of(capsule)
    try:
        if background:
            answer = await start(capsule, guest, body)
        else:
            answer = await run(request, guest, body, timeout)
    except GuestError as error:
        raise agent_error(str(error)) from None
    return web.json_response(
        {"sandbox_id": capsule.id, **answer}, status=202 if background else 200
    )


ROUTES = [Route("POST", "/v1/capsules/{id}/exec", execute)]
