"""A guest by itself, where the API's order of things is too tame."""
import asyncio
import os
import signal

import pytest

from .guest import Guest, GuestError, Walls, remove_tree
from .harness import alive, eventually, state_letter
from .process import Collector, Fan

OUTPUT_MAX = 1000


def scenario(tmp_path, steps):
    """Runs the coroutine function `steps` with a guest that is up."""

    async def run():
        walls = Walls("auto", "private", [])
        await walls.settle(str(tmp_path))
        guest = Guest("cl-test", str(tmp_path / "root"), walls)
        try:
            await guest.boot()
            await steps(guest)
        finally:
            await guest.end()

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_comes_after_the_stop_is_stopped_too(tmp_path):
    async def steps(guest):
        await guest.stop_all()
        process = await guest.spawn(Fan(), "sleep", ["60"])
        pid = guest.pids()[0]
        eventually(lambda: state_letter(pid) == "T")
        await guest.continue_all()
        eventually(lambda: state_letter(pid) == "S")
        await guest.signal(process, signal.SIGTERM)
        assert await process.wait() == -1

    scenario(tmp_path, steps)


def test_a_spawn_given_up_on_leaves_nothing_running(tmp_path):
    async def steps(guest):
        task = asyncio.ensure_future(guest.spawn(Fan(), "sleep", ["60"]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while guest.starting or guest.processes or guest.pids():
            await asyncio.sleep(0.005)

    scenario(tmp_path, steps)


def test_the_end_of_the_init_is_the_end_of_all(tmp_path):
    async def steps(guest):
        process = await guest.spawn(Collector(OUTPUT_MAX), "sleep", ["60"])
        pids = guest.pids()
        for pid in set(guest.stats()) - set(pids):
            os.kill(pid, signal.SIGKILL)
        assert await process.wait() == -1 and process.lost
        with pytest.raises(GuestError):
            await guest.spawn(Fan(), "true")
        if guest.walls.isolation == "mount":
            eventually(lambda: not any(alive(pid) for pid in pids))
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)

    scenario(tmp_path, steps)


def test_folders_without_permissions_are_removed(tmp_path):
    deep = tmp_path / "root" / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "f").touch()
    (tmp_path / "outside").mkdir(0o500)
    (deep / "link").symlink_to(tmp_path / "outside")
    for folder in (deep, deep.parent, deep.parent.parent):
        folder.chmod(0)
    remove_tree(str(tmp_path / "root"))
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (tmp_path / "outside").stat().st_mode & 0o777 == 0o500
