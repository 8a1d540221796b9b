"""The machines that capsules run on, as rows; nothing runs on them here."""
import secrets
import time
from dataclasses import dataclass, field

from aiohttp import web

from . import fields
from .capsule import HIDDEN, rfc3339
from .errors import ApiError, forbidden, invalid, invalid_state, not_found
from .ids import check_id, new_id
from .route import JWT, Route

STATUSES = ("pending", "online", "offline", "draining", "unreachable")
TEXT_MAX = 255


@dataclass
class Host:
    """`capsules` are the IDs of those said to run there."""

    type: str
    team: object
    provider: str
    zone: str
    created_by: str
    id: str = field(default_factory=lambda: new_id("host"))
    status: str = "pending"
    tags: list = field(default_factory=list)
    capsules: list = field(default_factory=list)
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)

    def answer(self):
        row = {
            "id": self.id,
            "type": self.type,
            "status": self.status,
            "created_by": self.created_by,
            "created_at": rfc3339(self.created_at),
            "updated_at": rfc3339(self.updated_at),
        }
        if self.team is not None:
            row["team_id"] = self.team
        if self.provider:
            row["provider"] = self.provider
        if self.zone:
            row["availability_zone"] = self.zone
        return row


def may_see(host, user, team):
    return user.admin or (host.type == "byoc" and host.team == team)


def find(request):
    """The host named in the path; a 400 or a 404."""
    number = check_id("host", request.match_info["id"], "host")
    host = request.app["state"].hosts.get(number)
    identity = request["identity"]
    if host is None or not may_see(host, identity.user, identity.team):
        raise not_found("host not found")
    return host


def alive_on(request, host):
    """Its capsules that are not gone."""
    by_id = request.app["state"].registry.by_id
    return [i for i in host.capsules
            if i in by_id and by_id[i].status not in HIDDEN]


def with_token(host, status):
    token = secrets.token_urlsafe(32)
    return web.json_response(
        {"host": host.answer(), "registration_token": token}, status=status
    )


async def create(request):
    body = await fields.read_object(request)
    user = request["identity"].user
    kind = fields.text(body, "type")
    if kind not in ("regular", "byoc"):
        raise invalid("type must be regular or byoc")
    team = fields.text(body, "team_id", "") or None
    if team is not None:
        check_id("team", team, "team")
    if kind == "regular" and not user.admin:
        raise forbidden("only platform admins add regular hosts")
    if kind == "byoc" and team is None:
        raise invalid("team_id is required for byoc hosts")
    if team is not None and team not in user.teams and not user.admin:
        raise forbidden("not a member of this team")
    host = Host(
        kind, team, fields.short_text(body, "provider", "", TEXT_MAX),
        fields.short_text(body, "availability_zone", "", TEXT_MAX), user.id,
    )
    request.app["state"].hosts[host.id] = host
    return with_token(host, 201)


async def list_all(request):
    identity = request["identity"]
    hosts = request.app["state"].hosts.values()
    return web.json_response([
        host.answer() for host in hosts
        if may_see(host, identity.user, identity.team)
    ])


async def get(request):
    return web.json_response(find(request).answer())


async def preview(request):
    host = find(request)
    return web.json_response(
        {"host": host.answer(), "sandbox_ids": alive_on(request, host)}
    )


async def delete(request):
    """Refused while capsules run there, which `force` destroys."""
    host = find(request)
    alive = alive_on(request, host)
    if alive and request.query.get("force") != "true":
        raise ApiError(409, "has_active_sandboxes",
                       "host has active sandboxes", {"sandbox_ids": alive})
    registry = request.app["state"].registry
    for number in alive:
        await registry.destroy(registry.by_id[number])
    del request.app["state"].hosts[host.id]
    return web.Response(status=204)


async def regenerate_token(request):
    host = find(request)
    if host.status != "pending":
        raise invalid_state("host is already registered")
    return with_token(host, 201)


async def list_tags(request):
    return web.json_response(find(request).tags)


async def add_tag(request):
    host = find(request)
    tag = fields.text(await fields.read_object(request), "tag")
    if tag not in host.tags:
        host.tags.append(tag)
    return web.Response(status=204)


async def remove_tag(request):
    host = find(request)
    tag = request.match_info["tag"]
    if tag in host.tags:
        host.tags.remove(tag)
    return web.Response(status=204)


ROUTES = [
    Route("POST", "/v1/hosts", create, JWT),
    Route("GET", "/v1/hosts", list_all, JWT),
    Route("GET", "/v1/hosts/{id}", get, JWT),
    Route("DELETE", "/v1/hosts/{id}", delete, JWT),
    Route("GET", "/v1/hosts/{id}/delete-preview", preview, JWT),
    Route("POST", "/v1/hosts/{id}/token", regenerate_token, JWT),
    Route("GET", "/v1/hosts/{id}/tags", list_tags, JWT),
    Route("POST", "/v1/hosts/{id}/tags", add_tag, JWT),
    Route("DELETE", "/v1/hosts/{id}/tags/{tag}", remove_tag, JWT),
]
