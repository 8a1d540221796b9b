"""The background processes of a capsule: list and kill."""
import signal

from aiohttp import web

from .errors import agent_error, not_found
from .guest import GuestError
from .route import Route


def select(capsule, selector):
    """The live process of that pid or tag, or a 404."""
    for process in capsule.processes.values():
        if selector in (str(process.pid), process.tag):
            return process
    raise not_found(f'process "{selector}" not found')


def row(process):
    fields = {"pid": process.pid, "tag": process.tag, "cmd": process.cmd}
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
