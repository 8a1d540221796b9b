"""A program on a terminal of its own."""
import fcntl
import os
import pty
import select
import subprocess
import termios
import time

DEADLINE = 30


class Terminal:
    """Runs a command with this as its controlling terminal.

    Its standard streams are the terminal too, but for those given.
    """

    def __init__(self, command, *, env, **streams):
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        for name in ("stdin", "stdout", "stderr"):
            streams.setdefault(name, slave)
        self.process = subprocess.Popen(
            list(map(str, command)), env=env, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0), **streams)
        # Kept open here: its settings outlive the program.
        self.slave = slave
        self.shown = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def type(self, data):
        os.write(self.master, data)

    def echoes(self):
        """Whether what is typed is shown."""
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def settings(self):
        return termios.tcgetattr(self.slave)

    def wait_for(self, text, deadline=DEADLINE):
        """Reads until that is shown."""
        end = time.monotonic() + deadline
        while text not in self.shown:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                raise TimeoutError(f"{text!r} is not shown but {self.shown!r}")
            self.shown += os.read(self.master, 65536)

    def finish(self, timeout=60):
        """Its exit status; what it showed is in `shown`."""
        status = self.process.wait(timeout=timeout)
        while select.select([self.master], [], [], 0)[0]:
            self.shown += os.read(self.master, 65536)
        return status
