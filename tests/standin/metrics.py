"""Figures: of one capsule, and of a team's use over time."""
import os
import time
from datetime import datetime, timedelta, timezone

from aiohttp import web

from . import proctree
from .capsule import rfc3339
from .errors import invalid, not_found
from .route import Route

RANGES = {"5m": 300, "10m": 600, "1h": 3600, "2h": 7200, "6h": 21600,
          "12h": 43200, "24h": 86400, "30d": 2592000}
CAPSULE_RANGES = ("5m", "10m", "1h", "2h", "6h", "12h", "24h")
TEAM_RANGES = ("5m", "1h", "6h", "24h", "30d")
BUCKETS = 30
USAGE_DAYS_MAX = 92


def read_range(request, allowed, default):
    name = request.query.get("range") or default
    if name not in allowed:
        raise invalid("range must be one of: " + ", ".join(allowed))
    return name


def disk_bytes(root):
    """Blocks in use below a capsule's private root."""
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                info = os.lstat(os.path.join(folder, name))
            except FileNotFoundError:
                continue
            total += info.st_blocks * 512
    return total


def take_sample(capsule):
    """Appends the figures of this moment to the capsule's samples."""
    now = time.time()
    cpu_seconds = memory = disk = 0
    if capsule.guest is not None:
        cpu_seconds, memory = proctree.usage(capsule.guest.stats())
        disk = disk_bytes(capsule.guest.root)
    cpu_pct = 0.0
    if capsule.samples:
        last_time, last_cpu = capsule.samples[-1][0:2]
        used = max(cpu_seconds - last_cpu, 0)
        cpu_pct = 100 * used / max(now - last_time, 0.001)
    capsule.samples.append((now, cpu_seconds, round(cpu_pct, 2), memory, disk))


async def of_capsule(request):
    """A point for every time somebody asked, as long ago as the range."""
    name = read_range(request, CAPSULE_RANGES, "10m")
    capsule = request.app["state"].registry.find(request)
    if capsule.status not in ("running", "paused"):
        raise not_found(
            f"metrics not available for sandbox in state: {capsule.status}"
        )
    if capsule.status == "running":
        take_sample(capsule)
    since = time.time() - RANGES[name]
    points = [
        {"timestamp_unix": int(at), "cpu_pct": cpu, "mem_bytes": memory,
         "disk_bytes": disk}
        for at, _, cpu, memory, disk in capsule.samples
        if at >= since
    ]
    return web.json_response(
        {"sandbox_id": capsule.id, "range": name, "points": points}
    )


def reserved_at(capsules, at):
    """(capsules running, vcpus, MiB) at a moment."""
    running = [
        capsule
        for capsule in capsules
        if any(
            start <= at and (end is None or end > at)
            for start, end in capsule.spans
        )
    ]
    return (
        len(running),
        sum(capsule.vcpus for capsule in running),
        sum(capsule.memory_mb for capsule in running),
    )


def team_capsules(request):
    registry = request.app["state"].registry
    team = request["identity"].team
    return [c for c in registry.by_id.values() if c.team == team]


async def team_stats(request):
    name = read_range(request, TEAM_RANGES, "1h")
    capsules = team_capsules(request)
    now = time.time()
    step = RANGES[name] / BUCKETS
    times = [now - step * back for back in reversed(range(BUCKETS))]
    rows = [reserved_at(capsules, at) for at in times]
    counts, vcpus, memory = (list(column) for column in zip(*rows))
    return web.json_response(
        {
            "range": name,
            "current": {
                "running_count": counts[-1],
                "vcpus_reserved": vcpus[-1],
                "memory_mb_reserved": memory[-1],
            },
            "peaks": {
                "running_count": max(counts),
                "vcpus": max(vcpus),
                "memory_mb": max(memory),
            },
            "series": {
                "labels": [rfc3339(at) for at in times],
                "running": counts,
                "vcpus": vcpus,
                "memory_mb": memory,
            },
        }
    )


def read_day(request, name, default):
    text = request.query.get(name)
    if not text:
        return default
    try:
        day = datetime.strptime(text, "%Y-%m-%d")
    except ValueError:
        raise invalid(f"{name} must be YYYY-MM-DD") from None
    return day.replace(tzinfo=timezone.utc)


def minutes_between(capsule, start, end):
    """How long a capsule ran within [start, end), in minutes."""
    now = time.time()
    return sum(
        max(min(stop or now, end) - max(begin, start), 0)
        for begin, stop in capsule.spans
    ) / 60


async def team_usage(request):
    """Minutes per day of every vcpu and MiB that was running."""
    today = datetime.now(timezone.utc).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    first = read_day(request, "from", today - timedelta(days=29))
    last = read_day(request, "to", today)
    if first > last:
        raise invalid("from must be before or equal to to")
    if (last - first).days > USAGE_DAYS_MAX:
        raise invalid(f"range cannot exceed {USAGE_DAYS_MAX} days")
    capsules = team_capsules(request)
    points = []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        start = day.timestamp()
        ran = [(c, minutes_between(c, start, start + 86400)) for c in capsules]
        points.append(
            {
                "date": day.strftime("%Y-%m-%d"),
                "cpu_minutes": sum(c.vcpus * m for c, m in ran),
                "ram_mb_minutes": sum(c.memory_mb * m for c, m in ran),
            }
        )
    return web.json_response(
        {
            "from": first.strftime("%Y-%m-%d"),
            "to": last.strftime("%Y-%m-%d"),
            "points": points,
        }
    )


ROUTES = [
    Route("GET", "/v1/capsules/stats", team_stats),
    Route("GET", "/v1/capsules/usage", team_usage),
    Route("GET", "/v1/capsules/{id}/metrics", of_capsule),
]
