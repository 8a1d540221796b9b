"""Instructions in user space for a call, as callgrind counts them.

They depend on neither the clock nor on what else runs. Two runs of different
length differ by the calls alone, not by what starting and stopping takes.
"""
import re

from . import calls
from . import machine

COUNT = 1000
WINDOW = 64
TIMEOUT = 300


def wrapper(out):
    return ["valgrind", "--tool=callgrind", "--quiet", f"--callgrind-out-file={out}"]


def total(out):
    found = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    if not found:
        raise ChildProcessError("callgrind has counted nothing")
    return int(found.group(1))


def per_call(lab, run):
    """`run` is given a count, and answers the instructions of all."""
    count = lab.count(COUNT)
    return {"per_call": (run(2 * count) - run(count)) / count}


def of_wrennd(lab):
    def run(count):
        out = lab.folder / "callgrind.wrennd"
        daemon = lab.fresh_daemon(lab.server, wrapper(out))
        try:
            calls.load(lab, daemon, lab.capsule_calls, count, WINDOW)
        finally:
            daemon.close()
        return total(out)

    return per_call(lab, run)


def of_h2load(lab):
    def run(count):
        out = lab.folder / "callgrind.h2load"
        machine.run([*wrapper(out), *calls.h2load_command(lab, count, WINDOW)],
                    machine.CLIENT_CORE, TIMEOUT)
        return total(out)

    return per_call(lab, run)
