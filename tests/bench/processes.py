"""Whole processes: wrennctl, and what people would run in its place."""
import json
import pathlib
import statistics

from . import machine
from .server import KEY, capsule_ids

TIMEOUT = 120
MANY, AT_ONCE = 400, 20
HTTPX_SCRIPT = str(pathlib.Path(__file__).with_name("get_by_httpx.py"))
CAPSULE = capsule_ids(1)[0]


def spawn(lab, command, count, parallel=1, wrapper=(), env=None):
    """What spawn(1) says: medians of one process, and the time of all."""
    out, _ = machine.run(
        [*wrapper, lab.tool("spawn"), str(count), str(parallel), str(TIMEOUT), *command],
        machine.CLIENT_CORE, TIMEOUT + 10, env=env)
    told = json.loads(out)
    return {"ms": statistics.median(told["ms"]), "cpu_ms": told["cpu_seconds"] / count * 1e3,
            "seconds": told["seconds"]}


def commands(site):
    """By name: the command, and how often it is run in a round of a whole run."""
    url = f"/v1/capsules/{CAPSULE}"
    curl = ["curl", "--silent", "--show-error", "--fail", "--max-time", "30",
            "--header", f"X-API-Key: {KEY}"]
    server = site.server
    return {
        "hello": ([site.lab.tool("hello")], 60),
        "version": ([site.wrennctl, "--version"], 60),
        "get": ([site.wrennctl, "get", CAPSULE], 40),
        "curl": ([*curl, "--cacert", server.ca, server.url + url], 10),
        "curl-unix": ([*curl, "--unix-socket", str(server.socket), "http://localhost" + url], 10),
        "httpx": (["/usr/bin/python3", HTTPX_SCRIPT, server.ca, server.url + url, KEY], 3),
    }


def one_shot(lab, name, far=False):
    """One process after the other."""
    site = lab.far if far else lab.near
    command, count = commands(site)[name]
    return spawn(lab, command, lab.count(count), wrapper=site.wrapper, env=site.daemon.env)


def by_ssh(lab, far=False):
    site = lab.far if far else lab.near
    return spawn(lab, site.ssh.command, lab.count(6), wrapper=site.wrapper)


def many(lab, name):
    """Many processes, some at a time."""
    command, _ = commands(lab.near)[name]
    return spawn(lab, command, lab.count(MANY), AT_ONCE, env=lab.near.daemon.env)


def round_trip(lab):
    """Of the slow network: what a TCP connection needs to come about."""
    site = lab.far
    times = []
    for _ in range(lab.count(5)):
        out, _ = machine.run(
            [*site.wrapper, "curl", "--silent", "--output", "/dev/null", "--write-out",
             "%{time_connect}", site.server.plain_url + f"/v1/capsules/{CAPSULE}"],
            machine.CLIENT_CORE, TIMEOUT)
        times.append(float(out) * 1e3)
    return {"ms": statistics.median(times)}
