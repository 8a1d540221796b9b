"""The script itself: its options, its walls, its end."""
import os
import signal
import socket
import subprocess
import sys
import tempfile

import pytest

from .harness import SCRIPT, Standin, alive, eventually


def run_in(server, capsule, *argv):
    return server.call("POST", f"/v1/capsules/{capsule}/exec",
                       {"cmd": argv[0], "args": list(argv[1:])}).json


def start_sleeper(server):
    """A capsule with a process and its orphan; their pids."""
    capsule = server.create()
    server.call("POST", f"/v1/capsules/{capsule}/exec", {
        "cmd": "sh", "args": ["-c", "(setsid sleep 300 &); sleep 300; :"],
        "background": True})
    return eventually(lambda: len(server.capsule(capsule)["pids"]) == 3
                      and server.capsule(capsule)["pids"])


def folder_of(server):
    return os.path.dirname(server.ready["ca_file"])


@pytest.mark.parametrize("isolation", ["auto", "cwd"])
@pytest.mark.parametrize("ending", [
    signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_it(isolation, ending):
    server = Standin("--tls", "--isolation", isolation)
    pids = start_sleeper(server) + [server.ready["edge_pid"]]
    paused = server.create()
    run_in(server, paused, "true")
    server.call("POST", f"/v1/capsules/{paused}/pause")
    assert all(alive(pid) for pid in pids)
    server.process.send_signal(ending)
    code = server.process.wait(10)
    server.stop()
    if ending == signal.SIGKILL:
        eventually(lambda: not any(alive(pid) for pid in pids))
        subprocess.run(["rm", "-rf", folder_of(server)], check=True)
    else:
        assert code == 0
        assert not any(alive(pid) for pid in pids)
        assert not os.path.exists(folder_of(server))


def test_it_ends_with_its_standard_input():
    server = Standin("--exit-with-stdin", stdin=subprocess.PIPE)
    assert server.call("GET", "/health").status == 200
    server.process.stdin.close()
    assert server.process.wait(10) == 0
    server.stop()


def test_it_ends_with_a_caller_waiting():
    server = Standin()
    capsule = server.create()
    connection = server.send("POST", f"/v1/capsules/{capsule}/exec",
                             {"cmd": "sleep", "args": ["60"]})
    eventually(lambda: server.capsule(capsule)["pids"])
    server.process.terminate()
    assert server.process.wait(5) == 0
    connection.close()
    server.stop()


def test_a_given_root_is_used_and_left(tmp_path):
    server = Standin("--root", str(tmp_path))
    capsule = server.create()
    run_in(server, capsule, "touch", "made")
    assert (tmp_path / capsule / "root" / "made").exists()
    server.stop()
    assert list(tmp_path.iterdir()) == []


def test_addresses_prefix_and_other_folders():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    server = Standin("--listen", f"127.0.0.1:{port}", "--prefix", "",
                     cwd="/")
    assert server.ready["url"] == f"http://127.0.0.1:{port}"
    assert server.call("GET", "/health").status == 200
    server.stop()


def test_the_log_has_requests_and_no_keys(tmp_path):
    log = tmp_path / "log"
    server = Standin("--log", str(log))
    server.call("GET", "/v1/capsules")
    server.stop()
    text = log.read_text()
    assert "GET /v1/capsules 200" in text
    assert server.key not in text


@pytest.mark.parametrize("options", [
    ["--listen", "nonsense"], ["--prefix", "api"], ["--user", "nobody"],
    ["--isolation", "vm"],
])
def test_bad_options_are_explained(options):
    result = subprocess.run([sys.executable, SCRIPT, *options],
                            capture_output=True, text=True)
    assert result.returncode == 2
    assert options[0] in result.stderr


def test_a_taken_port_is_an_error():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        result = subprocess.run(
            [sys.executable, SCRIPT, "--listen", f"127.0.0.1:{port}"],
            capture_output=True, text=True)
    assert result.returncode == 1
    assert "address already in use" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_names_every_option():
    result = subprocess.run([sys.executable, SCRIPT, "--help"],
                            capture_output=True, text=True, check=True)
    for name in ("--listen", "--tls", "--root", "--api-key", "--user",
                 "--create-delay", "--pause-check", "--max-streams"):
        assert name in result.stdout


def isolated(server):
    if server.admin("GET", "/status")["isolation"] != "mount":
        pytest.skip("this system allows no namespaces")


def test_a_capsule_sees_itself_alone(server, capsule):
    isolated(server)
    assert run_in(server, capsule, "hostname")["stdout"] == capsule + "\n"
    own = run_in(server, capsule, "sh", "-c", "echo /proc/[0-9]*")["stdout"]
    assert len(own.split()) == 2
    links = run_in(server, capsule, "ls", "/sys/class/net", "/work")
    assert "/work" in links["stderr"]
    first = run_in(server, capsule, "cat", "/proc/net/dev")["stdout"]
    assert [line.split(":")[0].strip() for line in first.splitlines()[2:]] \
        == ["lo"]


@pytest.mark.parametrize("line", [
    "touch /usr/standin-canary", "touch /etc/standin-canary",
    "echo x > /proc/sys/kernel/hostname", "mount -o remount,rw /usr",
    "mount -o remount,bind,rw /etc", "umount /usr", "mknod /tmp/d b 8 0",
    "unshare -Ur mount -o remount,bind,rw /usr",
    "echo b > /proc/sysrq-trigger", "echo 1 > /sys/kernel/profiling",
    "hostname other",
])
def test_nothing_of_the_machine_can_be_changed(server, capsule, line):
    isolated(server)
    assert run_in(server, capsule, "sh", "-c", line)["exit_code"] != 0


def test_standard_devices_work(server, capsule):
    line = ("echo x > /dev/null && head -c 3 /dev/zero | od -An -tx1 &&"
            " echo y > /dev/shm/f && cat /dev/shm/f && rm /dev/shm/f &&"
            " script -qc 'tty' /dev/null")
    output = run_in(server, capsule, "sh", "-c", line)["stdout"]
    assert output.startswith(" 00 00 00\ny\n/dev/pts/")


def test_two_capsules_listen_on_the_same_port(server, capsule):
    isolated(server)
    other = server.create()
    script = ("import socket; s = socket.create_server(('127.0.0.1', 8888));"
              "open('up', 'w').close(); s.accept()")
    for name in (capsule, other):
        server.call("POST", f"/v1/capsules/{name}/exec", {
            "cmd": "/usr/bin/python3", "args": ["-c", script],
            "background": True})
    for name in (capsule, other):
        eventually(lambda: server.call(
            "POST", f"/v1/capsules/{name}/files/read",
            {"path": "/root/up"}).status == 200)
    server.call("DELETE", "/v1/capsules/" + other)


def test_exposed_folders_are_seen_and_read_only():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        with open(os.path.join(folder, "f"), "w") as file:
            file.write("seen")
        server = Standin("--expose", folder)
        try:
            isolated(server)
            capsule = server.create()
            answer = run_in(server, capsule, "cat", folder + "/f")
            assert answer["stdout"] == "seen"
            answer = run_in(server, capsule, "touch", folder + "/g")
            assert answer["exit_code"] == 1
        finally:
            server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become others")
@pytest.mark.parametrize("become", [
    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
    ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"],
])
def test_other_users_get_the_best_there_is(become):
    """A plain user, and root without CAP_SYS_ADMIN."""
    server = Standin("--exit-with-stdin", wrapper=become,
                     stdin=subprocess.PIPE)
    try:
        capsule = server.create()
        server.upload(f"/v1/capsules/{capsule}/files/write",
                      [("path", b"/root/f"), ("file", b"text")])
        line = "cat ~/f; id -u; touch ~/g"
        answer = run_in(server, capsule, "sh", "-c", line)
        assert answer["exit_code"] == 0, answer
        assert answer["stdout"].startswith("text")
        rows = server.call("POST", f"/v1/capsules/{capsule}/files/list",
                           {"path": "/root"}).json["entries"]
        assert {row["owner"] for row in rows} == {"root"}
    finally:
        server.process.stdin.close()
        assert server.process.wait(10) == 0
        server.stop()
