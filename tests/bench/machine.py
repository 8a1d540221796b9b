"""The processors: who runs on which, and who else has used them meanwhile."""
import ctypes
import os
import pathlib
import resource
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1
TICK = os.sysconf("SC_CLK_TCK")
LIBC = ctypes.CDLL(None)


def siblings(core):
    """The threads of that processor's core."""
    path = f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
    found = set()
    try:
        for part in pathlib.Path(path).read_text().strip().split(","):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    except (OSError, ValueError):
        pass
    return found or {core}


def choose(cores):
    """One for the server and one for the rest, on two cores where there are."""
    server, *others = sorted(cores)
    apart = [core for core in others if core not in siblings(server)]
    return server, (apart or others or [server])[0]


SERVER_CORE, CLIENT_CORE = choose(os.sched_getaffinity(0))


def child_setup(core):
    """For preexec_fn: one core, and an end when this script ends, however."""
    parent = os.getpid()

    def setup():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        os.sched_setaffinity(0, {core})

    return setup


def start(command, core, **options):
    """A process that stays; it is the caller's to end()."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=child_setup(core),
                            **options)


def end(process):
    """SIGTERM, and SIGKILL for what does not care."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(command, core, timeout, given="", env=None):
    """(standard output as text, CPU seconds of it); an error if it fails.

    `given` is its standard input.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, preexec_fn=child_setup(core),
                               env=env)
    try:
        out, errors = process.communicate(given, timeout=timeout)
    finally:
        process.kill()
        process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode != 0:
        raise ChildProcessError(f"{' '.join(command)}: status {process.returncode}\n{errors}{out}")
    return out, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cpu_of(pid):
    """CPU seconds of a process and all its threads so far, to the nanosecond.

    This is what clock_getcpuclockid() makes of a process id.
    """
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9


def descendants():
    """The processes that descend from this script."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = pathlib.Path(f"/proc/{name}/stat").read_text()
            except OSError:
                continue  # it has ended
            parents[int(name)] = int(text.rpartition(")")[2].split()[1])
    found, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found - {os.getpid()}


def own_seconds():
    """CPU seconds of this script and all that descends from it."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for pid in descendants():
        try:
            total += cpu_of(pid)
        except OSError:
            pass  # it has ended meanwhile
    return total


def busy_seconds(cores):
    """How long these processors were not idle; the kernel counts that exactly."""
    busy = 0
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name[3:].isdigit() and int(name[3:]) in cores:
            busy -= int(fields[3]) + int(fields[4])
    return time.monotonic() * len(cores) + busy / TICK


class Foreign:
    """What part of our processors others have used in the block, 0 to 1."""

    def __init__(self):
        self.cores = {SERVER_CORE, CLIENT_CORE}
        self.share = None

    def __enter__(self):
        self.start = time.monotonic()
        self.others = busy_seconds(self.cores) - own_seconds()
        return self

    def __exit__(self, *_):
        others = busy_seconds(self.cores) - own_seconds() - self.others
        elapsed = (time.monotonic() - self.start) * len(self.cores)
        # The kernel counts in ticks, which matters where the block is short.
        self.share = max(0.0, (others - 2 * len(self.cores) / TICK) / elapsed)
