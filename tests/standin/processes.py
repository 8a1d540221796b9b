"""The processes of a capsule that nobody waits for: list and kill."""
import re
import signal

from aiohttp import web

from .errors import agent_error, not_found
from .guest import GuestError
from .route import Route

UINT32_MAX = (1 << 32) - 1


def is_pid(selector):
    """A number is never taken for a tag."""
    return re.fullmatch("[0-9]+", selector) and int(selector) <= UINT32_MAX


def find(capsule, selector):
    """The live process of that pid or tag, or None."""
    if is_pid(selector):
        return capsule.processes.get(int(selector))
    for process in capsule.processes.values():
        if selector == process.tag:
            return process
    return None


def select(capsule, selector):
    """The live process of that pid or tag, or a 404."""
    process = find(capsule, selector)
    if process is None:
        name = "pid" if is_pid(selector) else "tag"
        raise not_found("not_found: kill process: not_found: process with "
                        f"{name} {selector} not found")
    return process


def row(process):
    """Only background processes have a tag."""
    fields = {"pid": process.pid}
    if process.tag is not None:
        fields["tag"] = process.tag
    fields["cmd"] = process.cmd
    if process.args:
        fields["args"] = process.args
    return fields


async def list_all(request):
    registry = request.app["state"].registry
    capsule = registry.find_running(request, active=False)
    rows = [row(process) for process in capsule.processes.values()]
    return web.json_response({"processes": rows})


async def kill(request):
    """SIGKILL, or SIGTERM when asked for; any other name means SIGKILL."""
    registry = request.app["state"].registry
    capsule = registry.find_running(request, active=False)
    process = select(capsule, request.match_info["selector"])
    number = signal.SIGKILL
    if request.query.get("signal") == "SIGTERM":
        number = signal.SIGTERM
    try:
        await capsule.guest.signal(process, number)
    except GuestError as error:
        raise agent_error(str(error)) from None
    return web.Response(status=204)


ROUTES = [
    Route("GET", "/v1/capsules/{id}/processes", list_all),
    Route("DELETE", "/v1/capsules/{id}/processes/{selector}", kill),
]
