"""A capsule and the registry of all of them."""
import asyncio
import os
import time
from collections import deque

from .errors import agent_error, invalid_state, not_found
from .guest import Guest, GuestError
from .ids import check_id, new_id

HIDDEN = ("stopped", "error")
STATUSES = ("pending", "starting", "running", "paused", "hibernated",
            "stopped", "missing", "error")
SAMPLES_MAX = 20000


def rfc3339(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Capsule:
    """A row of the platform's table and, once used, a live guest.

    The guest is started by the first call that needs it, so that a capsule
    nobody works in costs no process. Times are seconds since the epoch.
    """

    def __init__(self, team, template, size, timeout_sec, address):
        now = time.time()
        self.id = new_id("cl")
        self.team = team
        self.template = template
        self.vcpus, self.memory_mb = size
        self.timeout_sec = timeout_sec
        self.address = address
        self.status = "pending"
        self.created_at = now
        self.last_updated = now
        self.started_at = None
        self.last_active_at = None
        self.pings = 0
        self.pause_fails = False
        self.spans = []
        self.samples = deque(maxlen=SAMPLES_MAX)
        self.processes = {}
        self.guest = None
        self.lock = asyncio.Lock()
        # Set, and replaced, each time it ceases to run.
        self.interrupted = asyncio.Event()

    def set_status(self, status):
        """Also keeps the spans of time it ran, for the usage figures."""
        now = time.time()
        if self.status == "running" and status != "running":
            self.spans[-1][1] = now
            self.interrupted.set()
            self.interrupted = asyncio.Event()
        if status == "running" and self.status != "running":
            self.spans.append([now, None])
            self.started_at = self.started_at or now
            self.last_active_at = now
        self.status = status
        self.last_updated = now

    def must_be(self, status):
        """Raises a 409 if it is in another state."""
        if self.status != status:
            raise invalid_state(
                f"sandbox is not {status} (status: {self.status})"
            )

    def touch(self):
        """Stamps activity. Called when a call starts, never at its end."""
        self.last_active_at = time.time()
        self.last_updated = self.last_active_at

    def idle_too_long(self):
        return (
            self.status == "running"
            and self.timeout_sec > 0
            and time.time() - self.last_active_at > self.timeout_sec
        )

    def answer(self):
        """The Capsule object of the API."""
        fields = {
            "id": self.id,
            "status": self.status,
            "template": self.template,
            "vcpus": self.vcpus,
            "memory_mb": self.memory_mb,
            "timeout_sec": self.timeout_sec,
            "created_at": rfc3339(self.created_at),
            "last_updated": rfc3339(self.last_updated),
        }
        if self.status == "running":
            fields["guest_ip"] = self.address
            fields["host_ip"] = "10.12.0.1"
        for name in ("started_at", "last_active_at"):
            if getattr(self, name) is not None:
                fields[name] = rfc3339(getattr(self, name))
        return fields


class Registry:
    """All capsules of all teams, by id, oldest first."""

    def __init__(self, root, walls):
        self.root = root
        self.walls = walls
        self.by_id = {}

    def add(self, team, template, size, timeout_sec):
        number = len(self.by_id) % 65024
        address = f"10.11.{number // 254}.{number % 254 + 1}"
        capsule = Capsule(team, template, size, timeout_sec, address)
        self.by_id[capsule.id] = capsule
        return capsule

    def of_team(self, team):
        """Newest first; what is stopped or failed is left out."""
        return [
            capsule
            for capsule in reversed(self.by_id.values())
            if capsule.team == team and capsule.status not in HIDDEN
        ]

    def find(self, request):
        """The caller's capsule named in the path; a 400 or a 404."""
        text = check_id("cl", request.match_info["id"], "sandbox")
        capsule = self.by_id.get(text)
        request["entry"]["capsule"] = text
        if capsule is None or capsule.team != request["identity"].team:
            raise not_found("sandbox not found")
        return capsule

    def find_running(self, request, active=True):
        """As find(), and a 409 unless it runs; stamps its activity."""
        capsule = self.find(request)
        capsule.must_be("running")
        if active:
            capsule.touch()
        return capsule

    async def guest_of(self, capsule):
        """The running capsule's guest, started if this is its first use."""
        async with capsule.lock:
            capsule.must_be("running")
            if capsule.guest is None:
                guest = Guest(
                    capsule.id, os.path.join(self.root, capsule.id), self.walls
                )
                try:
                    await guest.boot()
                except GuestError as error:
                    await guest.end()
                    raise agent_error(str(error)) from None
                capsule.guest = guest
            return capsule.guest

    async def pause(self, capsule):
        """A 409 unless it runs, a 502 if it is told to fail."""
        async with capsule.lock:
            capsule.must_be("running")
            if capsule.pause_fails:
                raise agent_error("pause sandbox: snapshot failed")
            await self._tell(capsule, Guest.stop_all)
            capsule.set_status("paused")

    async def resume(self, capsule):
        """A 409 unless it is paused."""
        async with capsule.lock:
            capsule.must_be("paused")
            await self._tell(capsule, Guest.continue_all)
            capsule.set_status("running")

    @staticmethod
    async def _tell(capsule, what):
        if capsule.guest is not None:
            try:
                await what(capsule.guest)
            except GuestError as error:
                raise agent_error(str(error)) from None

    async def destroy(self, capsule):
        """Ends it for good; its row stays, as `stopped`."""
        capsule.set_status("stopped")
        async with capsule.lock:
            guest, capsule.guest = capsule.guest, None
        if guest is not None:
            await guest.end()
        capsule.processes.clear()

    async def close(self):
        await asyncio.gather(
            *(
                capsule.guest.end()
                for capsule in self.by_id.values()
                if capsule.guest is not None
            )
        )
