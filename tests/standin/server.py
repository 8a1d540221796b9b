"""The HTTP server: every request's way from the socket to its handler."""
from aiohttp import web

from . import (admin, auth, capsules, exec, faults, files, metrics, openapi,
               processes, streams)
from .errors import ApiError, Dropped, error_response
from .hangup import ClientGone
from .route import LATER, NONE
from .websocket import bend_accept

KEEP_ALIVE = 620  # seconds, as the hosted service
GONE = 499  # never sent: stands for an answer nobody is there to get

# Rows with fixed words come before rows with an {id} in the same place.
ROUTES = [
    *openapi.ROUTES, *auth.ROUTES, *metrics.ROUTES, *capsules.ROUTES,
    *exec.ROUTES, *processes.ROUTES, *streams.ROUTES, *files.ROUTES,
]


def guarded(route):
    """The route's handler behind its authentication."""

    async def handle(request):
        entry = request["entry"]
        if route.auth != NONE:
            accounts = request.app["state"].accounts
            try:
                identity = accounts.identify(request, route.auth)
            except ApiError:
                if entry["auth"] != "none":
                    entry["auth"] = "bad"
                if route.auth != LATER:
                    raise
                identity = None
            request["identity"] = identity
            if identity is not None:
                entry["auth"] = identity.kind
                entry["team"] = identity.team
        entry["executed"] = True
        return await route.handler(request)

    return handle


async def answer(request, handler):
    """The handler's response, or the one its error stands for."""
    try:
        return await handler(request)
    except ApiError as error:
        # A refusal that comes before the whole request makes the edge reset
        # the stream now and then. Uploads are not waited for.
        if request.content_type == "application/json":
            await request.content.read()
        if error.status < 500:
            request["entry"]["executed"] = False
        return error.response()
    except web.HTTPException as error:
        return web.Response(status=error.status, text=error.text)
    except (ClientGone, Dropped, ConnectionError):
        raise
    except Exception:
        request.app["state"].log.exception("%s %s", request.method,
                                           request.path)
        return error_response(500, "internal_error", "internal error")


async def handle_api(request, handler):
    """Outage, fault, handler, in this order; the ledger sees them all."""
    state = request.app["state"]
    path = request.path[len(state.settings.prefix):]
    entry = request["entry"] = state.ledger.open(request, path)

    async def inner(request):
        return await answer(request, handler)

    try:
        await state.outage.meet(request)
        rule = state.faults.take(request.method, path, request.headers)
        if rule is None:
            response = await inner(request)
        else:
            entry["fault"] = rule.id
            response = await faults.run(request, rule.action, inner)
        state.ledger.close(entry, response.status)
    except (ClientGone, Dropped, ConnectionError):
        state.ledger.close(entry, None)
        response = web.Response(status=GONE)
    state.log.info("%s %s %s %ss", entry["method"], entry["path"],
                   entry["status"], entry["seconds"])
    return response


@web.middleware
async def dispatch(request, handler):
    if request.path.startswith(admin.PREFIX + "/"):
        return await admin.handle(request, handler)
    return await handle_api(request, handler)


def make_app(state):
    app = web.Application(middlewares=[dispatch], client_max_size=0)
    app["state"] = state
    app["routes"] = ROUTES
    app.on_response_prepare.append(bend_accept)
    for route in ROUTES:
        app.router.add_route(
            route.method, state.settings.prefix + route.path, guarded(route)
        )
    for method, path, handler in admin.ROUTES:
        app.router.add_route(method, admin.PREFIX + path, handler)
    return app


class Server:
    """The plain listener. start(), then close()."""

    def __init__(self, state):
        self.state = state
        self.runner = web.AppRunner(
            make_app(state), access_log=None, keepalive_timeout=KEEP_ALIVE,
            handle_signals=False,
        )

    async def start(self, listen):
        """Listens; returns the address and port it got."""
        await self.runner.setup()
        self.state.outage.server = self.runner.server
        site = web.TCPSite(
            self.runner, listen[0], listen[1], shutdown_timeout=1, backlog=1024
        )
        await site.start()
        return self.runner.addresses[0][:2]

    async def close(self):
        self.state.outage.close_connections()
        await self.runner.cleanup()
