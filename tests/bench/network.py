"""A network of 20 ms: two namespaces, and a process that holds packets back."""
import os
import select
import subprocess

from . import machine

ROUND_TRIP_MS = 20
NEAR, FAR = "10.99.0.1", "10.99.0.2"  # seen in these namespaces alone
DEADLINE = 10


def why_not():
    """What is missing for it, or None."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    if not os.path.exists("/dev/net/tun"):
        return "the kernel has no TUN devices"
    return None


class SlowNetwork:
    """`near` and `far` are what to put in front of a command to run it there."""

    def __init__(self, tool):
        self.process = machine.start([tool, str(ROUND_TRIP_MS * 500), NEAR, FAR],
                                     machine.SERVER_CORE, stdout=subprocess.PIPE)
        ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE)
        words = self.process.stdout.readline().split() if ready else []
        if len(words) != 2:
            self.close()
            raise ChildProcessError("the slow network does not come about")
        self.near, self.far = (("nsenter", f"--net=/proc/{self.process.pid}/fd/{int(word)}")
                               for word in words)

    def close(self):
        machine.end(self.process)
        self.process.stdout.close()
