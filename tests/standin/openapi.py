"""GET /health and GET /openapi.yaml."""
from aiohttp import web

from . import VERSION
from .route import NONE, Route


async def health(request):
    return web.json_response({"status": "ok", "version": VERSION})


def document(routes):
    """A short OpenAPI document: the paths and methods there are."""
    lines = ["openapi: 3.1.0", "info:", "  title: Wrenn API (stand-in)",
             f"  version: {VERSION}", "paths:"]
    paths = {}
    for route in routes:
        paths.setdefault(route.path, []).append(route)
    for path, rows in paths.items():
        lines.append(f"  {path}:")
        for route in rows:
            name = route.handler.__module__.rpartition(".")[2]
            lines.append(f"    {route.method.lower()}:")
            lines.append(
                f"      operationId: {name}_{route.handler.__name__}"
            )
            lines.append("      responses: {default: {description: see docs}}")
    return "\n".join(lines) + "\n"


async def openapi(request):
    return web.Response(
        text=document(request.app["routes"]), content_type="application/yaml"
    )


ROUTES = [
    Route("GET", "/health", health, NONE),
    Route("GET", "/openapi.yaml", openapi, NONE),
]
