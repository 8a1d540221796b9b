"""The process trees of this machine, read from /proc."""
import os


def _stat(pid):
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].split()


def table():
    """{pid: fields of its stat line, from the state on}, without zombies.

    A process whose first thread has ended before the others looks like one,
    and still has its files open.
    """
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fields = _stat(name)
        except OSError:
            continue
        threads = int(fields[17])
        if fields[0] != b"Z" or threads > 1:
            found[int(name)] = fields
    return found


def tree(top):
    """{pid: stat fields} of `top` and its descendants."""
    stats = table()
    family, fresh = {top}, True
    while fresh:
        fresh = {
            pid
            for pid, fields in stats.items()
            if int(fields[1]) in family and pid not in family
        }
        family |= fresh
    return {pid: stats[pid] for pid in family if pid in stats}


def usage(stats):
    """(CPU seconds used, bytes resident) of a table of stat fields."""
    ticks = sum(int(row[11]) + int(row[12]) for row in stats.values())
    pages = sum(int(row[21]) for row in stats.values())
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGESIZE")
