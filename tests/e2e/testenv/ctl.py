"""wrennctl, run as a shell would."""
import json
import subprocess

from .paths import WRENNCTL


class Ctl:
    """Runs wrennctl against one daemon."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.env = dict(daemon.env, WRENND_SOCKET=str(daemon.socket))

    def run(self, *arguments, stdin=b"", env=None, timeout=60):
        """The finished process: returncode, stdout and stderr as bytes."""
        return subprocess.run(
            [WRENNCTL, *map(str, arguments)], input=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**self.env, **(env or {})}, timeout=timeout, check=False,
        )

    def popen(self, *arguments, **kwargs):
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen([WRENNCTL, *map(str, arguments)], env=self.env, **kwargs)

    def ok(self, *arguments, **kwargs):
        """What it printed, when it ended well."""
        done = self.run(*arguments, **kwargs)
        assert done.returncode == 0, (arguments, done)
        return done.stdout.decode()

    def json(self, *arguments, **kwargs):
        return json.loads(self.ok("-o", "json", *arguments, **kwargs))
