"""The table of what is measured: probes, which run, and rows, which compare."""
import dataclasses
import functools
import shutil
import typing

from . import calls, instructions, memory, network, processes, ssh
from .figures import Row, at_least, at_most


@dataclasses.dataclass(frozen=True)
class Probe:
    """`run` takes the Lab and gives figures; `why_not` says what is missing for it.

    A steady one gives the same whatever else the machine does, so once is enough.
    """
    run: typing.Callable
    why_not: typing.Callable = lambda: None
    steady: bool = False


def program(name, package):
    """For why_not: whether that program is there."""
    return lambda: None if shutil.which(name) else f"there is no {name} (Debian: {package})"


def no_sshd():
    return None if ssh.SSHD else "there is no sshd (Debian: openssh-server)"


def no_far_ssh():
    return no_sshd() or network.why_not()


valgrind = program("valgrind", "valgrind")
ONE_SHOTS = ("hello", "version", "get", "curl", "curl-unix", "httpx")
FAR = ("get", "curl", "httpx")
run = functools.partial

PROBES = {
    **{f"calls-{n}": Probe(run(calls.through_wrennd, window=n)) for n in calls.COUNTS},
    **{f"h2load-{n}": Probe(run(calls.h2load, window=n)) for n in calls.COUNTS},
    "status-1": Probe(run(calls.own, method="daemon.status", window=1)),
    "status-100": Probe(run(calls.own, method="daemon.status", window=100)),
    "instructions": Probe(instructions.of_wrennd, valgrind, steady=True),
    "instructions-h2load": Probe(instructions.of_h2load, valgrind, steady=True),
    **{name: Probe(run(processes.one_shot, name=name)) for name in ONE_SHOTS},
    "ssh": Probe(processes.by_ssh, no_sshd),
    "many": Probe(run(processes.many, name="get")),
    "many-hello": Probe(run(processes.many, name="hello")),
    "many-curl": Probe(run(processes.many, name="curl")),
    **{f"far-{name}": Probe(run(processes.one_shot, name=name, far=True), network.why_not)
       for name in FAR},
    "far-ssh": Probe(run(processes.by_ssh, far=True), no_far_ssh),
    "far-round-trip": Probe(processes.round_trip, network.why_not),
    "idle": Probe(memory.idle, steady=True),
    "clients": Probe(memory.each_client, steady=True),
    "capsules": Probe(memory.each_capsule, steady=True),
    "grown": Probe(memory.after_calls, steady=True),
}

COLD_CURL = "curl, cold, one CA"
UNIX_CURL = "curl, Unix socket, no TLS"
HTTPX = "Python with httpx"
SSH = "ssh, warm ControlMaster"

ROWS = (
    *(Row(f"calls-{n}", f"calls, {n} in flight", "calls/s",
          f"calls-{n}.per_second", f"h2load-{n}.per_second", "h2load",
          (at_least(0.6, "ratio"),) if n == 100 else ())
      for n in (1, 10, 100)),
    *(Row(f"cpu-{n}", f"CPU of wrennd, {n} in flight", "µs/call",
          f"calls-{n}.cpu_us", f"h2load-{n}.cpu_us", "h2load",
          (at_most(10.0),) if n == 64 else ())
      for n in (1, 10, 64, 100)),
    Row("instructions", f"instructions in user space, {instructions.WINDOW} in flight", "/call",
        "instructions.per_call", "instructions-h2load.per_call", "h2load"),
    Row("latency", "a call, nothing else going on", "µs",
        "calls-1.mean_us", "h2load-1.mean_us", "h2load", (at_most(25.0, "difference"),)),
    Row("status", "daemon.status, p50", "µs", "status-1.p50_us", goals=(at_most(15.0),)),
    Row("status-cpu", "daemon.status pipelined, CPU", "µs/call", "status-100.cpu_us",
        goals=(at_most(6.0),)),
    Row("version", "wrennctl --version", "ms", "version.ms", "hello.ms", "hello, world",
        (at_most(1.3, "ratio"),)),
    Row("get", "wrennctl get", "ms", "get.ms", "hello.ms", "hello, world",
        (at_most(1.2, "difference"),)),
    *(Row(f"get-{name}", "wrennctl get", "ms", "get.ms", f"{name}.ms", peer)
      for name, peer in (("curl", COLD_CURL), ("curl-unix", UNIX_CURL), ("httpx", HTTPX),
                         ("ssh", SSH))),
    Row("get-cpu", "CPU of wrennctl get", "ms", "get.cpu_ms", "curl.cpu_ms", COLD_CURL),
    Row("many", f"{processes.MANY} × wrennctl get, {processes.AT_ONCE} at a time", "s",
        "many.seconds", "many-hello.seconds", "hello, world", (at_most(2.0, "ratio"),)),
    Row("many-curl", f"{processes.MANY} × wrennctl get, {processes.AT_ONCE} at a time", "s",
        "many.seconds", "many-curl.seconds", COLD_CURL),
    Row("far-get", f"wrennctl get, {network.ROUND_TRIP_MS} ms away", "ms",
        "far-get.ms", "far-round-trip.ms", "one round trip", (at_most(3.0, "difference"),)),
    *(Row(f"far-{name}", f"wrennctl get, {network.ROUND_TRIP_MS} ms away", "ms",
          "far-get.ms", f"far-{name}.ms", peer)
      for name, peer in (("curl", COLD_CURL), ("httpx", HTTPX), ("ssh", SSH))),
    Row("memory", "resident, after the first call", "MB", "idle.resident_mb",
        goals=(at_most(18.0),)),
    Row("memory-anonymous", "of that anonymous", "MB", "idle.anonymous_mb",
        goals=(at_most(5.0),)),
    Row("memory-client", "each idle client", "kB", "clients.kb", goals=(at_most(4.0),)),
    Row("memory-capsule", "each tracked capsule", "kB", "capsules.kb", goals=(at_most(1.0),)),
    Row("memory-calls", f"growth since the first call, {memory.CALLS:,} calls later", "MB",
        "grown.since_first_mb", goals=(at_most(1.0),)),
    Row("memory-leak", f"of that behind the first {memory.CALLS_BEFORE:,} calls", "MB",
        "grown.grown_mb"),
)
