"""Memory of a wrennd: fresh, with clients, with capsules, after many calls."""
import contextlib
import pathlib
import time

from . import calls
from .daemon import ask

CLIENTS = 200
CAPSULES = 8000
CALLS, CALLS_BEFORE = 100000, 2000
WINDOW = 100
CREATE = '"method":"capsule.create","params":{}\n'
PAUSE, SETTLED, DEADLINE = 0.05, 4, 5


def resident(daemon):
    """(all, anonymous) resident bytes.

    smaps_rollup is exact, and of a process that is not dumpable root's alone;
    status may lag by some pages.
    """
    folder = pathlib.Path(f"/proc/{daemon.process.pid}")
    try:
        text, names = (folder / "smaps_rollup").read_text(), ("Rss:", "Anonymous:")
    except PermissionError:
        text, names = (folder / "status").read_text(), ("VmRSS:", "RssAnon:")
    values = {words[0]: int(words[1]) * 1024 for words in map(str.split, text.splitlines())
              if words[0] in names}
    return tuple(values[name] for name in names)


def settled(daemon):
    """The same, once it has been equal for some looks in a row."""
    until, equal, last = time.monotonic() + DEADLINE, 0, None
    while equal < SETTLED and time.monotonic() < until:
        now = resident(daemon)
        equal = equal + 1 if now == last else 0
        last = now
        time.sleep(PAUSE)
    return last


@contextlib.contextmanager
def fresh(lab):
    daemon = lab.fresh_daemon(lab.server)
    try:
        yield daemon
    finally:
        daemon.close()


def idle(lab):
    """After the first call."""
    with fresh(lab) as daemon:
        every, anonymous = settled(daemon)
        return {"resident_mb": every / 1e6, "anonymous_mb": anonymous / 1e6}


def each_client(lab):
    """Of clients that have called once and stay."""
    with fresh(lab) as daemon, contextlib.ExitStack() as files:
        before = settled(daemon)[1]
        for _ in range(CLIENTS):
            sock = files.enter_context(daemon.connect())
            ask(files.enter_context(sock.makefile("rwb")), "daemon.hello")
        return {"kb": (settled(daemon)[1] - before) / CLIENTS / 1e3}


def each_capsule(lab):
    """Of capsules on record, behind as many that have filled sqlite's cache."""
    with fresh(lab) as daemon:
        calls.load(lab, daemon, CREATE, CAPSULES, WINDOW)
        before = settled(daemon)[1]
        calls.load(lab, daemon, CREATE, CAPSULES, WINDOW)
        return {"kb": (settled(daemon)[1] - before) / CAPSULES / 1e3}


def after_calls(lab):
    """Growth since the first call, and since the buffers have their size."""
    count = lab.count(CALLS)
    with fresh(lab) as daemon:
        first = settled(daemon)[0]
        calls.load(lab, daemon, lab.capsule_calls, CALLS_BEFORE, WINDOW)
        warm = settled(daemon)[0]
        calls.load(lab, daemon, lab.capsule_calls, count, WINDOW)
        last = settled(daemon)[0]
        return {"grown_mb": (last - warm) / 1e6, "since_first_mb": (last - first) / 1e6}
