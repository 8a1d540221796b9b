"""The machine of one capsule, seen from outside: start it, run things in it.

The work inside is done by guest_init.py; this is the other end of its socket.
"""
import asyncio
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys

from . import proctree
from .process import Process

INIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest_init.py")
FOLDERS = ["root", "tmp", "home/user", "srv", "data", "opt", "mnt", "media",
           "run", "var/tmp", "var/log", "var/lib", "dev", "proc"]
BOOT_TIMEOUT = 10
END_TIMEOUT = 5
PASSES_MAX = 100


class GuestError(Exception):
    """What the guest could not do, in the words of the real agent."""


class Walls:
    """How guests are set apart; the same for all of one server."""

    def __init__(self, isolation, network, exposed):
        self.isolation = isolation
        self.network = network
        self.exposed = list(exposed)

    async def settle(self, folder):
        """Resolves "auto" by trying; `folder` is for the trial's files.

        Returns why full isolation is not to be had, or None.
        """
        if self.isolation != "auto":
            return None
        self.isolation = "mount"
        guest = Guest("standin-trial", os.path.join(folder, "trial"), self)
        try:
            await guest.boot()
        except GuestError as error:
            self.isolation = "cwd"
            return str(error)
        finally:
            await guest.end()
        return None


class Guest:
    """One capsule's processes and files. boot() first, end() last."""

    def __init__(self, name, root, walls):
        self.name = name
        self.root = root
        self.walls = walls
        self.root_fd = None
        self.child = None
        self.sock = None
        self.reader = None
        self.booted = None
        self.write_lock = asyncio.Lock()
        self.processes = {}
        self.starting = {}
        self.next_id = 0

    async def boot(self):
        """Starts the init process; raises GuestError if it cannot work."""
        for folder in FOLDERS:
            os.makedirs(os.path.join(self.root, folder), exist_ok=True)
        for folder in ("tmp", "var/tmp"):
            os.chmod(os.path.join(self.root, folder), 0o1777)
        self.sock, theirs = socket.socketpair()
        self.sock.setblocking(False)
        self.booted = asyncio.get_running_loop().create_future()
        with theirs:
            self.child = subprocess.Popen(
                [sys.executable, "-I", "-S", INIT, str(theirs.fileno()),
                 self.walls.isolation, self.walls.network, self.root,
                 self.name, *self.walls.exposed],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        self.reader = asyncio.ensure_future(self._read())
        try:
            await asyncio.wait_for(asyncio.shield(self.booted), BOOT_TIMEOUT)
        except asyncio.TimeoutError:
            raise GuestError("capsule did not start in time") from None

    async def end(self):
        """Kills everything in the capsule and waits until it is dead."""
        if self.sock is not None:
            self.sock.shutdown(socket.SHUT_RDWR)
            await self._wait_for_child()
            await self.reader
            self.sock.close()
            self.sock = None
        if self.root_fd is not None:
            os.close(self.root_fd)
            self.root_fd = None
        remove_tree(self.root)

    async def _wait_for_child(self):
        loop = asyncio.get_running_loop()
        deadline = loop.time() + END_TIMEOUT
        while self.child.poll() is None:
            if loop.time() > deadline:
                self.child.kill()
            await asyncio.sleep(0.002)

    async def spawn(self, sink, cmd, args=(), envs=None, cwd=None):
        """Starts a command without input; its output goes to `sink`."""
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        try:
            process = await self._start(
                {"cmd": cmd, "args": list(args), "envs": envs or {},
                 "cwd": cwd},
                [null, out_write, err_write],
                sink,
            )
        except BaseException:
            os.close(out_read)
            os.close(err_read)
            raise
        finally:
            for fd in (null, out_write, err_write):
                os.close(fd)
        process.cmd, process.args = cmd, list(args)
        for name, fd in (("stdout", out_read), ("stderr", err_read)):
            os.set_blocking(fd, False)
            process.read_from(name, fd)
        return process

    async def _start(self, command, fds, sink):
        self.next_id += 1
        answer = asyncio.get_running_loop().create_future()
        self.starting[self.next_id] = answer, sink
        command.update(op="spawn", id=self.next_id, fds=len(fds))
        try:
            await self._send(command, fds)
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            answer.add_done_callback(self._kill_unwanted)
            raise

    def _kill_unwanted(self, answer):
        """A command that came up after its caller had given up on it."""
        if answer.exception() is None:
            asyncio.ensure_future(self.kill(answer.result()))

    async def signal(self, process, number):
        """To a command and what it started, unless it has ended."""
        if not process.exited.done():
            await self._send(
                {"op": "signal", "pid": process.pid, "signal": int(number)}
            )

    async def kill(self, process):
        """SIGKILL for a command nobody waits for any more."""
        try:
            await self.signal(process, signal.SIGKILL)
        except GuestError:
            pass  # it ended with its capsule

    async def stop_all(self):
        await self._send({"op": "stop"})

    async def continue_all(self):
        await self._send({"op": "cont"})

    def pids(self):
        """Pids, as this machine counts, of the init's descendants."""
        if self.child is None or self.child.poll() is not None:
            return []
        top = self.child.pid
        isolated = self.walls.isolation == "mount"
        return sorted(
            pid
            for pid, row in self.stats().items()
            # With namespaces the init is the one child of the first process.
            if pid != top and not (isolated and int(row[1]) == top)
        )

    def stats(self):
        """{pid: stat fields} of all its processes, the init's too."""
        return proctree.tree(self.child.pid)

    async def _send(self, message, fds=()):
        data = json.dumps(message).encode()
        loop = asyncio.get_running_loop()
        async with self.write_lock:
            if self.sock is None:
                raise GuestError("capsule has ended")
            head = struct.pack(">I", len(data))
            while True:
                try:
                    socket.send_fds(self.sock, [head], list(fds))
                    break
                except BlockingIOError:
                    await asyncio.sleep(0.001)
                except OSError:
                    raise GuestError("capsule has ended") from None
            try:
                await loop.sock_sendall(self.sock, data)
            except OSError:
                raise GuestError("capsule has ended") from None

    async def _read(self):
        """Takes in the init's messages until its socket ends."""
        data = bytearray()
        while True:
            chunk = await self._receive()
            if not chunk:
                break
            data += chunk
            while len(data) >= 4:
                size = struct.unpack(">I", data[:4])[0]
                if len(data) < 4 + size:
                    break
                self._handle(json.loads(data[4:4 + size]))
                del data[:4 + size]
        self._fail_all()

    async def _receive(self):
        await _readable(self.sock)
        try:
            data, fds, _, _ = socket.recv_fds(self.sock, 65536, 1)
        except OSError:
            return b""
        for fd in fds:
            os.set_inheritable(fd, False)
            self.root_fd = fd
        return data

    def _handle(self, message):
        event = message["event"]
        if event == "ready":
            self.booted.set_result(None)
        elif event == "failed":
            self.booted.set_exception(GuestError(message["message"]))
        elif event == "exit":
            self.processes.pop(message["pid"]).exit(message["code"])
        else:
            answer, sink = self.starting.pop(message["id"])
            if event == "started":
                process = Process(message["pid"], sink)
                self.processes[process.pid] = process
                answer.set_result(process)
            else:
                answer.set_exception(GuestError(message["message"]))

    def _fail_all(self):
        """The init is gone: nothing runs any more and nothing will."""
        gone = GuestError("capsule has ended")
        if not self.booted.done():
            self.booted.set_exception(gone)
            self.booted.exception()
        for answer, _ in self.starting.values():
            answer.set_exception(gone)
        for process in self.processes.values():
            process.lose()


async def _readable(sock):
    """Waits until `sock` has something to read, or has ended."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()
    loop.add_reader(
        sock, lambda: waiter.done() or waiter.set_result(None)
    )
    try:
        await waiter
    finally:
        loop.remove_reader(sock)


def remove_tree(root):
    """Removes what a capsule leaves, folders without permissions too.

    A pass opens the folders it could not enter; the next one enters them.
    """
    opened = {root}

    def open_up(function, path, info):
        for folder in (os.path.dirname(path), path):
            if os.path.isdir(folder) and not os.path.islink(folder):
                os.chmod(folder, 0o700)
                opened.add(folder)

    for _ in range(PASSES_MAX):
        if not opened or not os.path.lexists(root):
            return
        opened.clear()
        shutil.rmtree(root, onerror=open_up)
