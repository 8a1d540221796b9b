"""The record of capsules: locked, cut, damaged, foreign, old, and no room."""
import os
import random
import shutil
import sqlite3
import subprocess

import pytest

from testenv.client import RpcError, until
from testenv.expect import fails

SEED = 7


def database(daemon):
    return daemon.state / "capsules.db"


def ended(daemon, *options):
    """What a wrennd that cannot start says; it must end by itself."""
    before = len(daemon.log_text()) if daemon.log.exists() else 0
    daemon.spawn(*options)
    assert daemon.process.wait(timeout=30) == 1
    return daemon.log_text()[before:]


@pytest.fixture
def stopped(daemon):
    """(a stopped daemon, the ID of its one capsule)."""
    made = daemon.call("capsule.create", {"name": "web"})["id"]
    assert daemon.stop() == 0
    return daemon, made


def store(daemon):
    return daemon.call("daemon.status")["store"]


def test_second_daemon(daemon, make_daemon):
    second = make_daemon(settings=f"state_dir = {daemon.state}")
    said = ended(second)
    assert "another wrennd works with" in said and str(daemon.state) in said
    daemon.call("capsule.create")
    assert store(daemon)["state"] == "ok"


def test_lock_is_free_after_kill(daemon):
    daemon.kill()
    daemon.start()


def test_files_are_the_owners(daemon):
    daemon.call("capsule.create")
    for name in os.listdir(daemon.state):
        assert (daemon.state / name).stat().st_mode & 0o077 == 0, name


@pytest.mark.parametrize("spoil", [
    lambda f: f.write_bytes(b""), lambda f: f.unlink()], ids=["cut", "missing"])
def test_empty_where_rows_were(cloud, stopped, spoil):
    daemon, made = stopped
    spoil(database(daemon))
    for _ in range(2):
        said = ended(daemon)
        assert "--new-store" in said and str(database(daemon)) in said
    daemon.start("--new-store")
    assert store(daemon)["state"] == "ok"
    assert daemon.call("capsule.list")["capsules"] == []
    # It is still there, and can be reached as any other's.
    assert daemon.call("capsule.get", {"capsule": made})["tracked"] is False
    daemon.call("capsule.create", {"name": "web"})
    daemon.stop()
    daemon.start()
    assert len(daemon.call("capsule.list")["capsules"]) == 1


def test_new_store_spares_one_with_rows(stopped):
    daemon, made = stopped
    daemon.start("--new-store")
    assert daemon.call("capsule.get", {"capsule": "web"})["id"] == made


@pytest.mark.parametrize("garbage", [
    b"no database at all " * 1000, b"\0" * 8192, b"SQLite format 3\0" + b"\xff" * 8000])
def test_garbage_is_kept_aside(cloud, stopped, garbage):
    daemon, made = stopped
    database(daemon).write_bytes(garbage)
    daemon.start()
    told = store(daemon)
    assert told["state"] == "rebuilt"
    with open(told["kept_aside"], "rb") as kept:
        assert kept.read() == garbage
    assert daemon.call("daemon.status")["state"] == "degraded"
    assert told["kept_aside"] in daemon.log_text()
    assert daemon.call("capsule.get", {"capsule": made})["tracked"] is False
    daemon.call("capsule.create", {"name": "web"})
    daemon.stop()
    daemon.start()
    assert len(daemon.call("capsule.list")["capsules"]) == 1
    assert store(daemon)["state"] == "ok"
    assert made in cloud.alive()


def test_flipped_bytes(cloud, daemon):
    """Rows never vanish in silence: kept, refused, or said in the status."""
    for i in range(12):
        daemon.call("capsule.create", {"name": f"c{i}"})
    daemon.stop()
    for name in ("capsules.db-wal", "capsules.db-shm"):
        assert not (daemon.state / name).exists()
    whole = database(daemon).read_bytes()
    aside = daemon.folder / "whole"
    shutil.copytree(daemon.state, aside)
    dice = random.Random(SEED)
    seen = set()
    for turn in range(40):
        shutil.rmtree(daemon.state)
        shutil.copytree(aside, daemon.state)
        data = bytearray(whole)
        for _ in range(4 if turn % 2 else 64):
            data[dice.randrange(100 if turn % 4 == 0 else len(data))] ^= 1 << dice.randrange(8)
        database(daemon).write_bytes(data)
        daemon.spawn()
        try:
            until(daemon.answers)
        except ChildProcessError:
            assert daemon.process.returncode == 1
            seen.add("refused")
            continue
        status = daemon.call("daemon.status")
        if status["store"]["state"] == "rebuilt":
            with open(status["store"]["kept_aside"], "rb") as kept:
                assert len(kept.read()) == len(data)
        else:
            assert sum(status["capsules"].values()) == 12, turn
        seen.add(status["store"]["state"])
        daemon.kill()
    assert {"ok", "rebuilt"} <= seen
    assert not cloud.requests(method="DELETE")


def test_another_programs_file(make_daemon):
    daemon = make_daemon()
    daemon.state.mkdir(parents=True)
    with sqlite3.connect(database(daemon)) as other:
        other.execute("CREATE TABLE precious (x)")
        other.execute("INSERT INTO precious VALUES (1)")
    other.close()
    for options in ((), ("--new-store",)):
        assert "belongs to another program" in ended(daemon, *options)
    with sqlite3.connect(database(daemon)) as other:
        assert other.execute("SELECT * FROM precious").fetchall() == [(1,)]
    other.close()


def set_version(daemon, number):
    db = sqlite3.connect(database(daemon))
    db.execute(f"PRAGMA user_version = {number}")
    db.commit()
    db.close()


def test_file_of_a_newer_version(stopped):
    daemon, made = stopped
    set_version(daemon, 99)
    said = ended(daemon)
    assert "newer wrennd" in said and "99" in said
    set_version(daemon, 1)
    daemon.start()
    assert daemon.call("capsule.get", {"capsule": "web"})["id"] == made


def test_older_copy(cloud, stopped):
    daemon, made = stopped
    old = database(daemon).read_bytes()
    daemon.start()
    later = daemon.call("capsule.create")["id"]
    daemon.stop()
    database(daemon).write_bytes(old)
    daemon.start()
    assert store(daemon)["state"] == "rolled_back"
    assert daemon.call("daemon.status")["state"] == "degraded"
    assert daemon.call("capsule.get", {"capsule": "web"})["id"] == made
    assert daemon.call("capsule.get", {"capsule": later})["tracked"] is False
    daemon.stop()
    daemon.start()
    assert store(daemon)["state"] == "ok"
    assert {made, later} <= cloud.alive()


def test_rows_written_just_before_a_kill(daemon):
    made = daemon.call("capsule.create", {"name": "web"})["id"]
    daemon.kill()
    db = sqlite3.connect(database(daemon))
    assert db.execute("SELECT id, name FROM capsule").fetchall() == [(made, "web")]
    db.close()


# ---- no room ----

@pytest.fixture
def small_disk(tmp_path_factory):
    """A file system of 512 KiB."""
    folder = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "none", str(folder)],
        stderr=subprocess.DEVNULL, check=False)
    if mounted.returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """Leaves no room in the file system."""
    with open(folder / "filler", "wb", buffering=0) as filler:
        for size in (4096, 1):
            try:
                while True:
                    filler.write(b"x" * size)
            except OSError:
                pass


def create_until_refused(daemon, cloud):
    """What was created before the store had used up what it had in hand."""
    made = []
    for i in range(2000):
        posts = len(cloud.requests(method="POST", path="/v1/capsules"))
        try:
            made.append(daemon.call("capsule.create", {"name": f"n{i}"})["id"])
        except RpcError as error:
            assert error.name == "store_unavailable", error
            # It was refused before anything was sent.
            assert len(cloud.requests(method="POST", path="/v1/capsules")) == posts
            return made
    pytest.fail("the disk is full, and creates go on")


def test_full_disk(cloud, make_daemon, small_disk):
    daemon = make_daemon(settings=f"state_dir = {small_disk}/state").start()
    first = daemon.call("capsule.create", {"name": "first"})["id"]
    second = daemon.call("capsule.create", {"name": "second"})["id"]
    fill(small_disk)
    made = create_until_refused(daemon, cloud)
    status = daemon.call("daemon.status")
    assert (status["state"], status["store"]["state"]) == ("degraded", "failing")

    # What exists can be worked with, and destroyed.
    names = {c["id"] for c in daemon.call("capsule.list")["capsules"]}
    assert names == {first, second, *made}
    done = daemon.call("exec.run", {"capsule": "first", "cmd": "echo", "args": ["x"]})
    assert done["stdout"] == "x\n"
    assert daemon.call("capsule.destroy", {"capsule": "second"})["state"] == "gone"
    assert second not in cloud.alive()
    with fails("store_unavailable"):
        daemon.call("auth.set", {"api_key": cloud.key})
    assert daemon.call("auth.status")["api_key"]["source"] == "set"

    (small_disk / "filler").unlink()
    last = until(lambda: created(daemon))
    until(lambda: store(daemon)["state"] == "ok")
    until(lambda: not is_live_on_disk(daemon, small_disk / "state", second))
    daemon.kill()
    daemon.start()
    listed = {c["id"]: c["record"] for c in daemon.call("capsule.list")["capsules"]}
    assert listed == {i: "live" for i in (first, last, *made)}


def is_live_on_disk(daemon, state, capsule):
    """What the next run would find if wrennd were killed now."""
    copy = daemon.folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(state, copy)
    try:
        db = sqlite3.connect(copy / "capsules.db")
        rows = db.execute("SELECT state FROM capsule WHERE id = ?", (capsule,)).fetchall()
        db.close()
    except sqlite3.DatabaseError:
        return True  # it was written to while it was copied
    return any(state in (1, 2) for (state,) in rows)


def created(daemon):
    try:
        return daemon.call("capsule.create", {"name": "last"})["id"]
    except RpcError as error:
        assert error.name == "store_unavailable"
        return None


def test_start_on_a_full_disk(make_daemon, small_disk):
    """It ends with a reason, and a later start finds everything."""
    daemon = make_daemon(settings=f"state_dir = {small_disk}/state")
    daemon.state = small_disk / "state"
    daemon.start()
    made = daemon.call("capsule.create", {"name": "web"})["id"]
    daemon.stop()
    fill(small_disk)
    daemon.spawn()
    try:
        until(daemon.answers)
        daemon.stop()
    except ChildProcessError as error:
        assert "capsules" in str(error)
    (small_disk / "filler").unlink()
    daemon.start()
    assert daemon.call("capsule.get", {"capsule": "web"})["id"] == made
