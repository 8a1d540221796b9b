"""The first process inside a capsule: builds its walls, then runs commands.

Started by guest.py as a script of its own, one per capsule:

    guest_init.py FD ISOLATION NETWORK ROOT HOSTNAME [EXPOSED...]

FD is a stream socket. Each message on it is a 4-byte big-endian length and a
JSON object; a request's descriptors come with its first byte. Requests are
spawn, signal, stop, cont; messages back are ready (with a descriptor of the
capsule's root folder), failed, started, refused and exit. When the socket
closes, everything in the capsule is killed and this process ends.

ISOLATION is "mount" (own mount, pid, network, ipc and uts namespaces, the
private root as /) or "cwd" (nothing but the working directory and HOME).
"""
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER = 1, 24, 36
SYS_PIVOT_ROOT = {"x86_64": 155}.get(os.uname().machine, 41)
SYS_MOUNT_SETATTR = 442
AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = -100, 0x8000, 1
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

READ_ONLY = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc",
             "sys"]
DEVICES = ["null", "zero", "full", "random", "urandom", "tty"]
# What a container engine would leave to root: enough for chown and su, not
# enough to remount, to make devices or to touch the machine.
KEPT_CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31}
LAST_CAPABILITY = 63
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULTS = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM,
            signal.SIGCHLD, signal.SIGHUP]
MESSAGE_MAX = 64 << 20

libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount(source, target, kind=None, flags=0, data=None):
    encoded = [
        None if text is None else os.fsencode(text)
        for text in (source, target, kind, data)
    ]
    check(
        libc.mount(encoded[0], encoded[1], encoded[2],
                   ctypes.c_ulong(flags), encoded[3]),
        f"mount {target}",
    )


def make_read_only(path):
    """Makes a mount and all below it read-only, other flags untouched."""
    attributes = struct.pack("=QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
    check(
        libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(path),
                     AT_RECURSIVE, attributes, len(attributes)),
        f"mount_setattr {path}",
    )


def enter_namespaces(network):
    """Leaves the machine's namespaces, with a user namespace if it must."""
    flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS
    if network == "private":
        flags |= CLONE_NEWNET
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(flags) == 0:
        return
    check(libc.unshare(flags | CLONE_NEWUSER), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"0 {uid} 1"),
        ("gid_map", f"0 {gid} 1"),
    ):
        with open("/proc/self/" + name, "w") as map_file:
            map_file.write(text)


def bind_host(root, name):
    """Shows the machine's folder /name at the same place, read-only."""
    source, target = "/" + name, os.path.join(root, name)
    if os.path.islink(source):
        if not os.path.lexists(target):
            os.symlink(os.readlink(source), target)
    elif os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
        mount(source, target, None, MS_BIND | MS_REC)
        make_read_only(target)


def make_devices(root):
    dev = os.path.join(root, "dev")
    mount("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=755,size=65536k")
    for name in DEVICES:
        target = os.path.join(dev, name)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o666))
        mount("/dev/" + name, target, None, MS_BIND)
    for name in ("pts", "shm"):
        os.mkdir(os.path.join(dev, name))
    os.chmod(os.path.join(dev, "shm"), 0o1777)
    mount("devpts", os.path.join(dev, "pts"), "devpts",
          MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    for name, target in (
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ):
        os.symlink(target, os.path.join(dev, name))


def make_proc(root):
    """A /proc of the capsule's own processes; the kernel's knobs are shut."""
    proc = os.path.join(root, "proc")
    mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in ("sys", "sysrq-trigger", "irq", "bus"):
        target = os.path.join(proc, name)
        if os.path.exists(target):
            mount(target, target, None, MS_BIND | MS_REC)
            make_read_only(target)


def enter_root(root):
    """Makes `root` the / of this process and lets go of the old one."""
    os.chdir(root)
    check(libc.syscall(SYS_PIVOT_ROOT, b".", b"."), "pivot_root")
    check(libc.umount2(b".", MNT_DETACH), "umount2")
    os.chdir("/")


def raise_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        answer = fcntl.ioctl(sock, SIOCGIFFLAGS, request)
        flags = struct.unpack("16sH14s", answer)[1] | IFF_UP
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags,
                                                    b""))


def drop_capabilities():
    """For this process's children: what they gain by exec is bounded."""
    for number in range(LAST_CAPABILITY + 1):
        if number not in KEPT_CAPABILITIES:
            libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)


def die_with_parent():
    """Dies by SIGKILL when the parent does, or at once if it is gone."""
    parent = os.getppid()
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def build_walls(root, hostname, network, exposed):
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount(root, root, None, MS_BIND)
    for name in READ_ONLY + [path.lstrip("/") for path in exposed]:
        bind_host(root, name)
    make_devices(root)
    make_proc(root)
    enter_root(root)
    name = hostname.encode()
    check(libc.sethostname(name, len(name)), "sethostname")
    if network == "private":
        raise_loopback()
    drop_capabilities()


def watch_over(child):
    """The life of the process outside the pid namespace: it waits."""
    os.waitpid(child, 0)
    os._exit(0)


def go_reason(error):
    """The text of an errno as Go prints it: without the capital."""
    text = os.strerror(error.errno)
    return text[0].lower() + text[1:]


class Refused(Exception):
    """A command that could not be started; the text is for the caller."""


def find_program(cmd):
    """The path to execute, by the rules of Go's exec package."""
    if "/" in cmd:
        return cmd
    for folder in PATH.split(":"):
        path = os.path.join(folder, cmd)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise Refused(f'exec: "{cmd}": executable file not found in $PATH')


def descendants(top):
    """The pids below `top`, from /proc; zombies are left out."""
    parents = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                state, parent = stat.read().rpartition(b")")[2].split()[:2]
        except OSError:
            continue
        if state != b"Z":
            parents[int(name)] = int(parent)
    family, found = {top}, True
    while found:
        found = {
            pid for pid, parent in parents.items()
            if parent in family and pid not in family
        }
        family |= found
    return family - {top}


class Init:
    """Serves requests until the socket ends. One per capsule, no threads."""

    def __init__(self, sock, isolated, root):
        self.sock = sock
        self.isolated = isolated
        self.base = "" if isolated else root
        self.home = self.base + "/root"
        self.data = bytearray()
        self.fds = []
        self.running = set()
        self.stopped = False

    def send(self, message, fds=()):
        data = json.dumps(message).encode()
        head = struct.pack(">I", len(data))
        socket.send_fds(self.sock, [head], list(fds))
        self.sock.sendall(data)

    def serve(self):
        wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        root = os.open(self.base or "/", os.O_PATH | os.O_DIRECTORY)
        self.send({"event": "ready"}, [root])
        os.close(root)
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if wake in ready:
                self.drain(wake)
                self.reap()
            if self.sock.fileno() in ready and not self.receive():
                return

    @staticmethod
    def drain(wake):
        try:
            while os.read(wake, 4096):
                pass
        except BlockingIOError:
            pass

    def receive(self):
        """Takes in what has come; False at the end of the socket."""
        data, fds, _, _ = socket.recv_fds(self.sock, 65536, 8)
        for fd in fds:
            os.set_inheritable(fd, False)
        self.fds += fds
        self.data += data
        while len(self.data) >= 4:
            size = struct.unpack(">I", self.data[:4])[0]
            if size > MESSAGE_MAX:
                return False
            if len(self.data) < 4 + size:
                break
            message = json.loads(self.data[4:4 + size])
            del self.data[:4 + size]
            self.handle(message)
        return bool(data)

    def handle(self, message):
        if message["op"] == "spawn":
            self.spawn(message)
        elif message["op"] == "signal":
            self.signal(message["pid"], message["signal"])
        elif message["op"] == "stop":
            self.stopped = True
            self.signal_all(signal.SIGSTOP)
        elif message["op"] == "cont":
            self.stopped = False
            self.signal_all(signal.SIGCONT)

    def spawn(self, message):
        """Starts one command with the descriptors that came with it."""
        fds, self.fds = self.fds[:message["fds"]], self.fds[message["fds"]:]
        try:
            pid = self.start(message, fds)
        except Refused as refusal:
            self.send({"event": "refused", "id": message["id"],
                       "message": str(refusal)})
        else:
            self.running.add(pid)
            if self.stopped:
                # It was on its way here when the capsule was paused.
                self.signal(pid, signal.SIGSTOP)
            self.send({"event": "started", "id": message["id"], "pid": pid})
        finally:
            for fd in fds:
                os.close(fd)

    def start(self, message, fds):
        cmd = message["cmd"]
        cwd = message["cwd"] or self.home
        try:
            os.chdir(os.path.join(self.home, cwd).encode("utf-8", "replace"))
        except (OSError, ValueError) as error:
            reason = go_reason(error) if isinstance(error, OSError) else (
                "invalid argument")
            raise Refused(f"chdir {cwd}: {reason}") from None
        try:
            return os.posix_spawn(
                find_program(cmd).encode("utf-8", "replace"),
                [arg.encode("utf-8", "replace")
                 for arg in [cmd] + message["args"]],
                self.environment(message["envs"]),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, fd, number)
                    for number, fd in enumerate(fds)
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=DEFAULTS,
            )
        except OSError as error:
            raise Refused(f"fork/exec {cmd}: {go_reason(error)}") from None
        except ValueError:
            raise Refused(f"fork/exec {cmd}: invalid argument") from None

    def environment(self, envs):
        given = {
            "PATH": PATH, "HOME": self.home, "USER": "root",
            "LOGNAME": "root", "LANG": "C.UTF-8",
        }
        if not self.isolated:
            given["TMPDIR"] = self.base + "/tmp"
        given.update(envs)
        return {
            name.encode("utf-8", "replace"): value.encode("utf-8", "replace")
            for name, value in given.items()
        }

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.running:
                self.running.discard(pid)
                self.send({"event": "exit", "pid": pid,
                           "code": os.waitstatus_to_exitcode(status)})

    def signal(self, pid, number):
        """To a command and the rest of its session's process group."""
        if pid in self.running:
            try:
                os.killpg(pid, number)
            except ProcessLookupError:
                pass

    def signal_all(self, number):
        """To every process of the capsule but this one."""
        if self.isolated:
            try:
                os.kill(-1, number)
            except ProcessLookupError:
                pass
            return
        done = set()
        while True:
            fresh = descendants(os.getpid()) - done
            if not fresh:
                return
            for pid in fresh:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
            done |= fresh

    def end(self):
        """Kills what is left. With a pid namespace our own end does it."""
        if self.isolated:
            return
        while True:
            self.signal_all(signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return


def main():
    fd, isolation, network, root, hostname = sys.argv[1:6]
    sock = socket.socket(fileno=int(fd))
    isolated = isolation == "mount"
    try:
        if isolated:
            die_with_parent()
            enter_namespaces(network)
            child = os.fork()
            if child:
                sock.close()
                watch_over(child)
            die_with_parent()
            build_walls(root, hostname, network, sys.argv[6:])
        else:
            libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except OSError as error:
        text = json.dumps({"event": "failed", "message": str(error)}).encode()
        sock.sendall(struct.pack(">I", len(text)) + text)
        sys.exit(1)
    init = Init(sock, isolated, root)
    try:
        init.serve()
    except (BrokenPipeError, ConnectionResetError):
        pass
    init.end()


if __name__ == "__main__":
    main()
