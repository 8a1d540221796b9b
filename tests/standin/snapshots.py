"""Snapshots: templates that a team makes of its capsules."""
import secrets

from aiohttp import web

from . import fields
from .capsule import rfc3339
from .errors import ApiError, forbidden, invalid, invalid_state, not_found
from .ids import check_id, is_name
from .route import Route
from .templates import Template

TYPES = ("base", "snapshot")


def answer(template):
    row = {
        "name": template.name,
        "type": template.type,
        "size_bytes": template.size_bytes,
        "created_at": rfc3339(template.created_at),
        "platform": template.team is None,
    }
    if template.type == "snapshot":
        row["vcpus"] = template.vcpus
        row["memory_mb"] = template.memory_mb
    return row


def find_capsule(request, body):
    """The caller's capsule that the body names; a 400 or a 404."""
    text = check_id("cl", fields.text(body, "sandbox_id"), "sandbox")
    request["entry"]["capsule"] = text
    capsule = request.app["state"].registry.by_id.get(text)
    if capsule is None or capsule.team != request["identity"].team:
        raise not_found("sandbox not found")
    return capsule


def check_free(request, name):
    """A 409 where the name is used; `overwrite` helps on servers that know
    it, which current ones do not."""
    state = request.app["state"]
    if not is_name(name):
        raise invalid("invalid snapshot name")
    if state.templates.get(name, None) is not None:
        raise ApiError(409, "name_reserved", f'"{name}" is reserved')
    known = state.settings.snapshot_overwrite
    if known and request.query.get("overwrite") == "true":
        return
    if state.templates.get(name, request["identity"].team) is not None:
        raise ApiError(409, "template_name_taken",
                       f'template "{name}" exists')


async def create(request):
    """The capsule is paused by it, and stays so."""
    state = request.app["state"]
    body = await fields.read_object(request)
    capsule = find_capsule(request, body)
    name = fields.text(body, "name", "") or "snap-" + secrets.token_hex(4)
    check_free(request, name)
    if capsule.status not in ("running", "paused"):
        raise invalid_state(
            f"sandbox is not running or paused (status: {capsule.status})"
        )
    if capsule.status == "running":
        await state.registry.pause(capsule)
    template = Template(
        name, "snapshot", capsule.vcpus, capsule.memory_mb, capsule.team,
        size_bytes=capsule.memory_mb << 20,
    )
    state.templates.add(template)
    return web.json_response(answer(template), status=201)


async def list_all(request):
    kind = request.query.get("type", "")
    if kind and kind not in TYPES:
        raise invalid("type must be base or snapshot")
    templates = request.app["state"].templates
    return web.json_response([
        answer(t) for t in templates.of_team(request["identity"].team)
        if kind in ("", t.type)
    ])


async def delete(request):
    templates = request.app["state"].templates
    name = request.match_info["name"]
    team = request["identity"].team
    if not is_name(name):
        raise invalid("invalid snapshot name")
    if templates.get(name, team) is not None:
        templates.remove(name, team)
        return web.Response(status=204)
    if templates.get(name, None) is not None:
        raise forbidden("platform templates cannot be deleted")
    raise not_found("template not found")


ROUTES = [
    Route("POST", "/v1/snapshots", create),
    Route("GET", "/v1/snapshots", list_all),
    Route("DELETE", "/v1/snapshots/{name}", delete),
]
