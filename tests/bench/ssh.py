"""A warm ssh connection: an sshd with keys of its own, and a ControlMaster."""
import getpass
import os
import pathlib
import shutil
import subprocess
import time

from . import machine

SSHD = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
SEPARATION = pathlib.Path("/run/sshd")  # as root, sshd asks for this empty folder
DEADLINE = 20

# SHLVL: or bash would run the person's .bashrc for each command.
SSHD_CONFIG = """
ListenAddress {address}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
SetEnv SHLVL=1
"""

SSH_CONFIG = """
Host far
    HostName {address}
    Port {port}
    User {user}
    IdentityFile {folder}/key
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known_hosts
    StrictHostKeyChecking accept-new
    BatchMode yes
    ControlPath {folder}/master.sock
    LogLevel ERROR
"""


class WarmSsh:
    """`command` runs a program over it. The wrappers come before both ends."""

    def __init__(self, folder, address, port, near=(), far=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(mode=0o700)
        self.made_separation = os.geteuid() == 0 and not SEPARATION.exists()
        if self.made_separation:
            SEPARATION.mkdir(mode=0o755)
        for name in ("host_key", "key"):
            machine.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "",
                         "-f", str(self.folder / name)], machine.CLIENT_CORE, DEADLINE)
        values = {"address": address, "port": port, "folder": folder, "user": getpass.getuser()}
        server, client = self.folder / "sshd_config", self.folder / "ssh_config"
        server.write_text(SSHD_CONFIG.format(**values))
        client.write_text(SSH_CONFIG.format(**values))
        self.log = self.folder / "log"
        self.base = ["ssh", "-F", str(client)]
        self.processes = []
        self.start([*far, SSHD, "-D", "-e", "-f", str(server)], machine.SERVER_CORE)
        self.wait(lambda: "Server listening" in self.log.read_text())
        self.start([*near, *self.base, "-M", "-N", "far"], machine.CLIENT_CORE)
        self.wait(self.is_warm)
        self.command = [*self.base, "far", "true"]

    def start(self, command, core):
        with open(self.log, "ab") as log:
            self.processes.append(machine.start(command, core, stdout=log, stderr=log))

    def wait(self, condition):
        until = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > until or self.processes[-1].poll() is not None:
                text = self.log.read_text()
                self.close()
                raise ChildProcessError(f"no connection by ssh: {text}")
            time.sleep(0.05)

    def is_warm(self):
        return subprocess.run([*self.base, "-O", "check", "far"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False).returncode == 0

    def close(self):
        for process in reversed(self.processes):
            machine.end(process)
        if self.made_separation:
            SEPARATION.rmdir()
