"""Calls through wrennd, and the same requests sent by h2load."""
import json
import re

from . import machine
from .server import KEY

TIMEOUT = 120
COUNTS = {1: 6000, 10: 30000, 64: 60000, 100: 60000}  # by how many are in flight
OWN_COUNT = 20000


def load(lab, daemon, calls, count, window):
    """What load(1) says, and wrennd's CPU time a call in microseconds."""
    before = daemon.cpu()
    out, _ = machine.run(
        [lab.tool("load"), str(daemon.socket), str(count), str(window), str(TIMEOUT)],
        machine.CLIENT_CORE, TIMEOUT + 10, given=calls)
    told = json.loads(out)
    return {
        "per_second": count / told["seconds"],
        "mean_us": told["seconds"] / count * 1e6,
        "p50_us": told["p50_us"],
        "p99_us": told["p99_us"],
        "cpu_us": (daemon.cpu() - before) / count * 1e6,
        "client_cpu_us": told["cpu_seconds"] / count * 1e6,
    }


def through_wrennd(lab, window):
    return load(lab, lab.near.daemon, lab.capsule_calls, lab.count(COUNTS[window]), window)


def own(lab, method, window):
    """Calls that wrennd answers by itself."""
    return load(lab, lab.near.daemon, f'"method":"{method}"\n', lab.count(OWN_COUNT), window)


def h2load_command(lab, count, window):
    """The same requests as capsule_calls, on one connection."""
    return ["h2load", "-n", str(count), "-c", "1", "-t", "1", "-m", str(window),
            "-H", f"x-api-key: {KEY}", "-H", "accept: application/json",
            "-i", str(lab.capsule_urls)]


def h2load(lab, window):
    count = lab.count(COUNTS[window])
    out, cpu = machine.run(h2load_command(lab, count, window), machine.CLIENT_CORE, TIMEOUT)
    done = re.search(r"^requests: .* (\d+) succeeded", out, re.MULTILINE)
    rate = re.search(r"^finished in .*?, ([0-9.]+) req/s", out, re.MULTILINE)
    if not done or not rate or int(done.group(1)) != count:
        raise ChildProcessError(f"h2load: not all requests succeeded:\n{out}")
    per_second = float(rate.group(1))
    return {"per_second": per_second, "mean_us": 1e6 / per_second, "cpu_us": cpu / count * 1e6}
