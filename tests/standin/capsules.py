"""The life of capsules: create, list, get, destroy, pause, resume, ping."""
from aiohttp import web

from . import fields, hangup
from .route import Route

VCPUS_MAX = 64
MEMORY_MAX = 1 << 20


def size_of(template, body):
    """(vcpus, memory in MiB) asked for, or those a snapshot fixes."""
    vcpus = fields.integer(body, "vcpus", 1, 0, VCPUS_MAX) or 1
    memory = fields.integer(body, "memory_mb", 512, 0, MEMORY_MAX) or 512
    if template.type == "snapshot":
        return template.vcpus, template.memory_mb
    return vcpus, memory


async def create(request):
    """Answers when the capsule runs.

    A caller that hangs up before leaves the row pending for good: the real
    server's clean-up dies with the request, and nothing looks for such rows.
    """
    state = request.app["state"]
    body = await fields.read_object(request)
    name = fields.text(body, "template", "") or "minimal"
    team = request["identity"].team
    template = state.templates.find(name, team)
    timeout_sec = fields.integer(body, "timeout_sec", 0)
    size = size_of(template, body)
    capsule = state.registry.add(team, name, size, timeout_sec)
    request["entry"]["capsule"] = capsule.id
    if state.settings.create_delay > 0:
        await hangup.sleep(request, state.settings.create_delay)
    if capsule.status == "pending":
        capsule.set_status("running")
    return web.json_response(capsule.answer(), status=201)


async def list_all(request):
    registry = request.app["state"].registry
    team = request["identity"].team
    return web.json_response([c.answer() for c in registry.of_team(team)])


async def get(request):
    capsule = request.app["state"].registry.find(request)
    return web.json_response(capsule.answer())


async def destroy(request):
    registry = request.app["state"].registry
    capsule = registry.find(request)
    if capsule.status != "stopped":
        await registry.destroy(capsule)
    return web.Response(status=204)


async def pause(request):
    registry = request.app["state"].registry
    capsule = registry.find(request)
    await registry.pause(capsule)
    return web.json_response(capsule.answer())


async def resume(request):
    registry = request.app["state"].registry
    capsule = registry.find(request)
    await registry.resume(capsule)
    return web.json_response(capsule.answer())


async def ping(request):
    capsule = request.app["state"].registry.find_running(request)
    capsule.pings += 1
    return web.Response(status=204)


ROUTES = [
    Route("POST", "/v1/capsules", create),
    Route("GET", "/v1/capsules", list_all),
    Route("GET", "/v1/capsules/{id}", get),
    Route("DELETE", "/v1/capsules/{id}", destroy),
    Route("POST", "/v1/capsules/{id}/pause", pause),
    Route("POST", "/v1/capsules/{id}/resume", resume),
    Route("POST", "/v1/capsules/{id}/ping", ping),
]
