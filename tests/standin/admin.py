"""The endpoints for tests and people who steer the stand-in itself."""
import ipaddress
import resource

from aiohttp import web

from . import VERSION, fields, hosts
from .capsule import STATUSES
from .errors import ApiError, forbidden, invalid, not_found
from .ids import is_name
from .templates import Template

PREFIX = "/_standin"


async def handle(request, handler):
    """Only from this machine, and never through the edge."""
    try:
        if "Via" in request.headers or not is_local(request):
            raise forbidden("the admin endpoints are for this machine alone")
        request.app["state"].outage.spare(request)
        return await handler(request)
    except ApiError as error:
        return error.response()


def is_local(request):
    peer = request.transport.get_extra_info("peername")
    return ipaddress.ip_address(peer[0]).is_loopback


def number(body, name, default):
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise invalid(f"{name} must be a number")
    return value


async def status(request):
    state = request.app["state"]
    counts = {}
    for capsule in state.registry.by_id.values():
        counts[capsule.status] = counts.get(capsule.status, 0) + 1
    return web.json_response(
        {
            "version": VERSION,
            "isolation": state.walls.isolation,
            "isolation_note": state.isolation_note,
            "network": state.walls.network,
            "edge_pid": state.edge.pid,
            "outage": state.outage.mode,
            "capsules": counts,
            "requests": state.ledger.count,
            "max_rss_kib": resource.getrusage(
                resource.RUSAGE_SELF
            ).ru_maxrss,
            "settings": settings_answer(state),
        }
    )


def settings_answer(state):
    return {
        "create_delay": state.settings.create_delay,
        "pause_check": state.settings.pause_check,
        "jwt_ttl": state.accounts.jwt_ttl,
        "snapshot_overwrite": state.settings.snapshot_overwrite,
    }


async def change_settings(request):
    state = request.app["state"]
    body = await fields.read_object(request)
    old = settings_answer(state)
    if set(body) - set(old):
        raise invalid("settings are: " + ", ".join(old))
    overwrite = old.pop("snapshot_overwrite")
    if "snapshot_overwrite" in body:
        overwrite = fields.boolean(body, "snapshot_overwrite")
    new = {name: number(body, name, value) for name, value in old.items()}
    state.settings.snapshot_overwrite = overwrite
    state.settings.create_delay = new["create_delay"]
    state.settings.pause_check = new["pause_check"]
    state.accounts.jwt_ttl = new["jwt_ttl"]
    return web.json_response(settings_answer(state))


async def list_faults(request):
    rules = request.app["state"].faults.rules
    return web.json_response([rule.answer() for rule in rules])


async def add_fault(request):
    body = await fields.read_object(request)
    rule = request.app["state"].faults.add(body)
    return web.json_response(rule.answer(), status=201)


async def remove_faults(request):
    rule = request.match_info.get("rule")
    request.app["state"].faults.remove(None if rule is None else int(rule))
    return web.Response(status=204)


async def start_outage(request):
    body = await fields.read_object(request)
    seconds = number(body, "seconds", None)
    mode = fields.text(body, "mode", "close")
    await request.app["state"].outage.start(seconds, mode)
    return web.json_response({"mode": mode, "seconds": seconds})


async def end_outage(request):
    await request.app["state"].outage.end()
    return web.Response(status=204)


async def steer_edge(request):
    edge = request.app["state"].edge
    actions = {"start": edge.start, "stop": edge.stop,
               "restart": edge.restart, "goaway": edge.go_away}
    body = await fields.read_object(request)
    action = actions.get(fields.text(body, "action"))
    if action is None:
        raise invalid("actions are: " + ", ".join(actions))
    await action()
    return web.json_response({"edge_pid": edge.pid})


async def list_ledger(request):
    since = request.query.get("since", "0")
    if not since.isdigit():
        raise invalid("since must be a number")
    entries = request.app["state"].ledger.since(int(since))
    return web.json_response(entries)


async def clear_ledger(request):
    request.app["state"].ledger.clear()
    return web.Response(status=204)


def describe(capsule):
    """The Capsule object and what the API does not show."""
    guest = capsule.guest
    return {
        **capsule.answer(),
        "team": capsule.team,
        "pings": capsule.pings,
        "pause_fails": capsule.pause_fails,
        "created": capsule.created_at,
        "last_active": capsule.last_active_at,
        "processes": sorted(capsule.processes),
        "booted": guest is not None,
        "pids": guest.pids() if guest is not None else [],
        "root": guest.root if guest is not None else None,
    }


async def list_capsules(request):
    registry = request.app["state"].registry
    rows = [describe(capsule) for capsule in registry.by_id.values()]
    return web.json_response(rows)


def read_team(state, body):
    """A team by id or by its place in the list; the first by default."""
    team = body.get("team", 0)
    if isinstance(team, int) and 0 <= team < len(state.accounts.teams):
        return state.accounts.teams[team]
    if team in state.accounts.teams:
        return team
    raise not_found("no such team")


async def add_capsule(request):
    """One that runs, of any team, without a request in the ledger."""
    state = request.app["state"]
    body = await fields.read_object(request, optional=True)
    size = (fields.integer(body, "vcpus", 1), fields.integer(
        body, "memory_mb", 512))
    capsule = state.registry.add(
        read_team(state, body),
        fields.text(body, "template", "minimal"),
        size,
        fields.integer(body, "timeout_sec", 0),
    )
    capsule.set_status("running")
    await bend_capsule(state.registry, capsule, body)
    return web.json_response(describe(capsule), status=201)


async def bend_capsule(registry, capsule, body):
    """Sets what the body names; the processes follow the status."""
    status_ = fields.text(body, "status", capsule.status)
    if status_ not in STATUSES:
        raise invalid("statuses are: " + ", ".join(STATUSES))
    capsule.timeout_sec = fields.integer(
        body, "timeout_sec", capsule.timeout_sec
    )
    capsule.pause_fails = body.get("pause_fails", capsule.pause_fails) is True
    if "age" in body:
        capsule.created_at -= number(body, "age", 0)
    if status_ == "stopped" and capsule.status != "stopped":
        await registry.destroy(capsule)
    elif status_ != capsule.status:
        await follow_status(capsule, status_)
    if "idle_for" in body:
        capsule.touch()
        capsule.last_active_at -= number(body, "idle_for", 0)


async def follow_status(capsule, status_):
    if capsule.guest is not None:
        if status_ == "running":
            await capsule.guest.continue_all()
        elif capsule.status == "running":
            await capsule.guest.stop_all()
    capsule.set_status(status_)


async def change_capsule(request):
    registry = request.app["state"].registry
    body = await fields.read_object(request)
    capsule = registry.by_id.get(request.match_info["id"])
    if capsule is None:
        raise not_found("no such capsule")
    await bend_capsule(registry, capsule, body)
    return web.json_response(describe(capsule))


async def add_template(request):
    state = request.app["state"]
    body = await fields.read_object(request)
    name = fields.text(body, "name")
    if not is_name(name):
        raise invalid("invalid template name")
    template = Template(
        name,
        fields.text(body, "type", "snapshot"),
        fields.integer(body, "vcpus", 1),
        fields.integer(body, "memory_mb", 512),
        read_team(state, body) if "team" in body else None,
    )
    state.templates.add(template)
    return web.json_response({"name": name}, status=201)


async def add_key(request):
    """A key for a team; `new_team` makes a team for it."""
    state = request.app["state"]
    body = await fields.read_object(request)
    key = fields.text(body, "key")
    team = read_team(state, body)
    if fields.boolean(body, "new_team"):
        team = state.accounts.add_team()
    state.accounts.add_key(key, team)
    return web.json_response({"team": team}, status=201)


async def remove_key(request):
    keys = request.app["state"].accounts.keys
    if keys.pop(request.match_info["key"], None) is None:
        raise not_found("no such key")
    return web.Response(status=204)


async def change_host(request):
    """Its status, and which capsules are said to run there."""
    host = request.app["state"].hosts.get(request.match_info["id"])
    body = await fields.read_object(request)
    if host is None:
        raise not_found("no such host")
    status_ = fields.text(body, "status", host.status)
    if status_ not in hosts.STATUSES:
        raise invalid("statuses are: " + ", ".join(hosts.STATUSES))
    host.status = status_
    if "capsules" in body:
        host.capsules = fields.strings(body, "capsules")
    return web.json_response(host.answer())


async def add_user(request):
    """A user, or other figures for one that exists."""
    state = request.app["state"]
    body = await fields.read_object(request)
    state_ = fields.text(body, "state", "active")
    if state_ not in ("active", "not_activated", "disabled", "deactivated"):
        raise invalid("state is active, not_activated, disabled, deactivated")
    user = state.accounts.add_user(
        fields.text(body, "email"),
        fields.text(body, "password"),
        [read_team(state, {"team": team}) for team in body.get("teams", [0])],
        state_,
        fields.boolean(body, "admin"),
    )
    return web.json_response({"user_id": user.id}, status=201)


ROUTES = [
    ("GET", "/status", status),
    ("POST", "/settings", change_settings),
    ("GET", "/faults", list_faults),
    ("POST", "/faults", add_fault),
    ("DELETE", "/faults", remove_faults),
    ("DELETE", r"/faults/{rule:\d+}", remove_faults),
    ("POST", "/outage", start_outage),
    ("DELETE", "/outage", end_outage),
    ("POST", "/edge", steer_edge),
    ("GET", "/ledger", list_ledger),
    ("DELETE", "/ledger", clear_ledger),
    ("GET", "/capsules", list_capsules),
    ("POST", "/capsules", add_capsule),
    ("POST", "/capsules/{id}", change_capsule),
    ("POST", "/templates", add_template),
    ("POST", "/keys", add_key),
    ("DELETE", "/keys/{key}", remove_key),
    ("POST", "/hosts/{id}", change_host),
    ("POST", "/users", add_user),
]
