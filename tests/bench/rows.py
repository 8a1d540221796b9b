"""The table of what is measured: probes, which run, and rows, which compare."""
import functools

import calls
from figures import Row, at_least, at_most

# What is run in each round, by name: each takes the Lab and gives its figures.
PROBES = {
    **{f"calls-{n}": functools.partial(calls.through_wrennd, window=n) for n in calls.COUNTS},
    **{f"h2load-{n}": functools.partial(calls.h2load, window=n) for n in calls.COUNTS},
    "status-1": functools.partial(calls.own, method="daemon.status", window=1),
    "status-100": functools.partial(calls.own, method="daemon.status", window=100),
}

ROWS = (
    *(Row(f"calls-{n}", f"calls, {n} in flight", "calls/s",
          f"calls-{n}.per_second", f"h2load-{n}.per_second", "h2load",
          (at_least(0.6, "ratio"),) if n == 100 else ())
      for n in (1, 10, 100)),
    *(Row(f"cpu-{n}", f"CPU of wrennd, {n} in flight", "µs/call",
          f"calls-{n}.cpu_us", f"h2load-{n}.cpu_us", "h2load",
          (at_most(10.0),) if n == 64 else ())
      for n in (1, 10, 64, 100)),
    Row("latency", "a call, nothing else going on", "µs",
        "calls-1.mean_us", "h2load-1.mean_us", "h2load", (at_most(25.0, "difference"),)),
    Row("status", "daemon.status, p50", "µs", "status-1.p50_us", goals=(at_most(15.0),)),
    Row("status-cpu", "daemon.status pipelined, CPU", "µs/call", "status-100.cpu_us",
        goals=(at_most(6.0),)),
)
