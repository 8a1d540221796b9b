"""API keys as people make them, who log in for that."""
from aiohttp import web

from . import fields
from .capsule import rfc3339
from .errors import not_found
from .ids import check_id
from .route import JWT, Route

NAME_MAX = 255


def answer(key):
    """The key as the API shows it: without the secret."""
    row = {
        "id": key.id,
        "team_id": key.team,
        "name": key.name,
        "key_prefix": key.text[:12],
        "created_by": key.created_by,
        "created_at": rfc3339(key.created_at),
    }
    if key.last_used is not None:
        row["last_used"] = rfc3339(key.last_used)
    return row


async def create(request):
    accounts = request.app["state"].accounts
    identity = request["identity"]
    body = await fields.read_object(request, optional=True)
    name = fields.short_text(body, "name", "Unnamed API Key", NAME_MAX)
    key = accounts.make_key(identity.team, name, identity.user.id)
    return web.json_response({**answer(key), "key": key.text}, status=201)


async def list_all(request):
    accounts = request.app["state"].accounts
    team = request["identity"].team
    rows = [answer(k) for k in accounts.keys.values() if k.team == team]
    return web.json_response(rows)


async def delete(request):
    accounts = request.app["state"].accounts
    number = check_id("key", request.match_info["id"], "API key")
    for key in accounts.keys.values():
        if key.id == number and key.team == request["identity"].team:
            del accounts.keys[key.text]
            return web.Response(status=204)
    raise not_found("API key not found")


ROUTES = [
    Route("POST", "/v1/api-keys", create, JWT),
    Route("GET", "/v1/api-keys", list_all, JWT),
    Route("DELETE", "/v1/api-keys/{id}", delete, JWT),
]
