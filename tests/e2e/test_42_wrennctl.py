"""Every verb of wrennctl as a person and a script use it, and its failures."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from testenv import paths
from testenv.client import until

NOBODY = "cl-nobody"


def error_of(done):
    """The error that -o json printed on standard error, as one line."""
    [line] = done.stderr.splitlines()
    return json.loads(line)["error"]


@pytest.fixture
def web(ctl, capsule):
    """The ID of a running capsule called "web"."""
    made = ctl.json("create", "--name", "web", "--label", "team=a")["id"]
    assert made != capsule
    yield made
    ctl.run("rm", made)


# --- the life of capsules


def test_create_prints_the_id_alone(cloud, ctl):
    done = ctl.run("create", "--name", "one", "-t", "minimal", "--cpus", "2",
                   "--memory", "1G", "--timeout", "10m", "--label", "a=b=c")
    assert done.returncode == 0 and done.stderr == b""
    made = done.stdout.decode()
    assert made.endswith("\n") and made.strip() in cloud.alive()
    row = ctl.json("get", "one")
    assert (row["vcpus"], row["memory_mb"], row["timeout_sec"]) == (2, 1024, 600)
    assert row["labels"] == {"a": "b=c"}
    assert ctl.ok("rm", "one") == made
    assert made.strip() not in cloud.alive()


def test_ls_as_table_ids_and_json(ctl, web, capsule):
    head, *rows = ctl.ok("ls").splitlines()
    assert head.split() == ["ID", "NAME", "STATUS", "TEMPLATE", "CPUS", "MEMORY",
                            "IDLE-LIMIT", "AGE", "LABELS"]
    [row] = [row.split() for row in rows if row.startswith(web)]
    assert row[1:3] == ["web", "running"] and row[-1] == "team=a"
    assert len({row.index("minimal") for row in rows}) == 1
    assert set(ctl.ok("ls", "-q").split()) == {web, capsule}
    assert ctl.ok("ls", "-q", "--label", "team=a").split() == [web]
    [listed] = ctl.json("ls", "--label", "team=a")["capsules"]
    assert listed["id"] == web and listed["labels"] == {"team": "a"}


def test_get_as_lines_and_json(ctl, web):
    lines = dict(line.split(":", 1) for line in ctl.ok("get", "web").splitlines())
    assert lines["id"].strip() == web and lines["status"].strip() == "running"
    assert ctl.json("get", web[:12])["name"] == "web"


def test_pause_wait_resume_ping(cloud, ctl, web):
    assert ctl.ok("pause", "web").strip() == web
    assert ctl.ok("wait", "web", "--status", "paused").strip() == "paused"
    assert ctl.json("wait", "web", "--status", "paused")["status"] == "paused"
    done = ctl.run("wait", "web", "--timeout", "1s")
    assert done.returncode == 8 and done.stdout == b""
    assert ctl.ok("resume", "web").strip() == web
    assert ctl.ok("wait", "web").strip() == "running"
    before = cloud.capsules()[web]["pings"]
    assert ctl.ok("ping", "web") == ""
    assert cloud.capsules()[web]["pings"] == before + 1


def test_several_capsules_go_on_after_a_failure(cloud, ctl, web):
    done = ctl.run("rm", NOBODY, "web")
    assert done.returncode == 3
    assert done.stdout.decode().strip() == web
    assert done.stderr.startswith(f"wrennctl: {NOBODY}: ".encode())
    assert web not in cloud.alive()


# --- commands


def test_exec_is_the_command(ctl, web):
    done = ctl.run("exec", "-e", "A=1", "-e", "B", "-w", "/tmp", "web", "--", "sh", "-c",
                   "printf '%s %s ' $A $B; pwd; echo talk >&2; exit 3", env={"B": "2"})
    assert (done.returncode, done.stdout, done.stderr) == (3, b"1 2 /tmp\n", b"talk\n")
    assert ctl.ok("exec", "--shell", "web", "echo a | tr a b") == "b\n"
    # What follows the capsule is the command's, options and -- included.
    assert ctl.ok("exec", "web", "echo", "--help", "-o", "json") == "--help -o json\n"
    assert ctl.ok("exec", "web", "--", "echo", "--", "-1") == "-- -1\n"


def test_exec_prints_bytes_as_they_are(ctl, web):
    for verb in (("exec", "--binary", "web"), ("run", "--binary")):
        done = ctl.run(*verb, "printf", r"\000\377\033[31m")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"\0\xff\x1b[31m", b"")
    done = ctl.run("exec", "web", "printf", r"\000\033[31m")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\0\x1b[31m", b"")


def test_exec_says_when_bytes_are_lost(ctl, web):
    done = ctl.run("exec", "web", "sh", "-c", r"printf 'a\377b'; exit 4")
    assert (done.returncode, done.stdout) == (4, "a\ufffdb".encode())
    assert b"--binary" in done.stderr


def test_exec_says_when_the_connection_dropped(cloud, ctl, web):
    cloud.admin("POST", "/faults", {
        "match": {"path": "/exec/stream$"}, "action": {"ws": {"after": 1, "cut": "reset"}}})
    done = ctl.run("exec", "web", "sh", "-c", "sleep 1; echo end; exit 6")
    assert (done.returncode, done.stdout) == (6, b"end\n")
    assert b"dropped" in done.stderr


def test_exec_never_ends_well_without_an_exit(cloud, ctl, web):
    for after in (0, 1):
        cloud.admin("POST", "/faults", {
            "match": {"path": "/exec/stream$"},
            "action": {"ws": {"after": after, "cut": "reset"}}})
        cloud.admin("POST", "/faults", {
            "match": {"path": "/processes/[0-9]+/stream$"}, "action": {"delay": 1}})
        done = ctl.run("exec", "web", "true")
        assert done.returncode == 125 and done.stderr.startswith(b"wrennctl: ")
        cloud.clear_faults()


def test_exec_shows_output_as_it_comes(ctl, web):
    line = "echo one; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo two >&2; exit 5"
    process = ctl.popen("exec", "web", "sh", "-c", line)
    assert process.stdout.readline() == b"one\n"
    assert process.poll() is None
    ctl.ok("exec", "web", "touch", "/tmp/go")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (5, b"", b"two\n")


def test_exec_brings_much(ctl, web):
    done = ctl.run("exec", "web", "seq", "500000")
    assert done.returncode == 0
    assert done.stdout == "".join(f"{i}\n" for i in range(1, 500001)).encode()


def sleeping(cloud, capsule, seconds):
    """Processes of the capsule that sleep for so long."""
    found = []
    for pid in cloud.capsule(capsule)["pids"]:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as line:
            if seconds.encode() in line.read().split(b"\0"):
                found.append(pid)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_ends_exec_and_its_command(cloud, ctl, web, number):
    seconds = str(5000 + number)
    process = ctl.popen("exec", "web", "sleep", seconds)
    until(lambda: sleeping(cloud, web, seconds))
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode in (128 + number, -number)
    until(lambda: not sleeping(cloud, web, seconds))


def test_exec_ends_when_nobody_reads(cloud, ctl, web):
    process = ctl.popen("exec", "web", "sh", "-c", "yes 7007; exec sleep 7007")
    assert process.stdout.readline() == b"7007\n"
    process.stdout.close()
    process.stdout = None
    process.communicate(timeout=30)
    assert process.returncode == 125


def test_json_is_collected(ctl, web):
    answer = ctl.json("exec", "web", "printf", r"\377")
    assert (answer["exit_code"], answer["encoding"], answer["stdout"]) == (0, "base64", "/w==")


@pytest.mark.parametrize("words, status", [
    (("nosuch-program",), 127),
    (("/etc/passwd",), 126),
])
def test_exec_of_what_cannot_be_run(ctl, web, words, status):
    done = ctl.run("exec", "web", *words)
    assert (done.returncode, done.stdout) == (status, b"")
    assert words[0].encode() in done.stderr
    done = ctl.run("exec", "--binary", "web", *words)
    assert (done.returncode, done.stdout) == (status, b"")
    assert done.stderr.startswith(b"wrennctl: ")


@pytest.mark.parametrize("words, status", [
    (("web", "sh", "-c", "kill -9 $$"), 125),
    (("web",), 125),
    (("--no-such-option", "web", "true"), 125),
    (("--shell", "web", "two", "words"), 125),
    (("-e", "=x", "web", "true"), 125),
    (("--timeout", "1s", "web", "sleep", "30"), 125),
    ((NOBODY, "true"), 125),
])
def test_exec_tells_its_own_failures(ctl, web, words, status):
    assert web
    done = ctl.run("exec", *words)
    assert (done.returncode, done.stdout) == (status, b"")
    assert done.stderr.startswith(b"wrennctl: ")


def test_run_destroys_its_capsule(cloud, ctl):
    before = cloud.alive()
    done = ctl.run("run", "--label", "x=y", "--", "sh", "-c", "echo out; exit 7")
    assert (done.returncode, done.stdout) == (7, b"out\n")
    assert ctl.run("run", "nosuch-program").returncode == 127
    assert cloud.alive() == before
    answer = ctl.json("run", "--keep", "--name", "kept", "true")
    assert answer["exit_code"] == 0
    [kept] = cloud.alive() - before
    assert ctl.ok("rm", "kept").strip() == kept


def test_run_creates_nothing_for_a_wrong_command_line(cloud, ctl):
    for words in ((), ("--keep", "--rm", "true"), ("--shell", "a", "b"),
                  ("-e", "WRENN_TEST_UNSET", "true"), ("--memory", "5", "true")):
        assert ctl.run("run", *words).returncode == 125
    assert cloud.requests(method="POST", path="/v1/capsules") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_run_with_its_capsule(cloud, ctl, number):
    before = cloud.alive()
    process = ctl.popen("run", "sleep", "100")
    until(lambda: any(e["path"].endswith("/exec/stream") for e in cloud.ledger()))
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert cloud.alive() == before


# --- files


def test_files_there_and_back(ctl, web, tmp_path):
    data = os.urandom(3_000_000)
    (tmp_path / "a:b").write_bytes(data)
    (tmp_path / "empty").touch()
    assert ctl.ok("cp", tmp_path / "a:b", "web:/tmp/") == ""
    ctl.ok("cp", "web:/tmp/a:b", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    ctl.ok("fs", "put", tmp_path / "empty", "web:/tmp/e")
    ctl.ok("fs", "get", "web:/tmp/e", tmp_path / "e")
    assert (tmp_path / "e").read_bytes() == b""
    ctl.ok("cp", "-", "web:/tmp/in", stdin=b"from stdin")
    assert ctl.ok("cp", "web:/tmp/in", "-") == "from stdin"
    assert ctl.ok("fs", "cat", "web:/tmp/in", "web:/tmp/in") == "from stdinfrom stdin"
    assert ctl.json("fs", "stat", "web:/tmp/a:b")["entry"]["size"] == len(data)


def test_a_download_keeps_the_mode_and_the_link(ctl, web, tmp_path):
    ctl.ok("cp", "-", "web:/tmp/new", stdin=b"new")
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    ctl.ok("cp", "web:/tmp/new", link)
    assert link.is_symlink() and target.read_text() == "new"
    assert target.stat().st_mode & 0o7777 == 0o640


@pytest.mark.parametrize("words, status", [
    (("cp", "here", "there"), 2),
    (("cp", "web:/a", "web:/b"), 2),
    (("cp", "here", "web:"), 2),
    (("cp", "-", "web:/tmp/"), 2),
    (("fs", "get", "./a:b"), 2),
    (("fs", "rm", "web:/tmp"), 2),
    (("cp", "nosuch", "web:/a"), 1),
    (("cp", ".", "web:/a"), 1),
    (("cp", "web:/etc/passwd", "/dev/full"), 1),
    (("cp", "web:/etc/passwd", "/nonexistent/x"), 1),
    (("cp", "web:/nosuch", "x"), 3),
    (("fs", "cat", "web:/nosuch"), 3),
    (("fs", "ls", "web:/nosuch"), 3),
    (("fs", "stat", f"{NOBODY}:/"), 3),
])
def test_copies_that_fail_leave_nothing(ctl, web, tmp_path, words, status):
    assert web
    process = ctl.popen(*words, cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (status, b"")
    assert err.startswith(b"wrennctl: ")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(cloud, ctl, web, tmp_path):
    ctl.ok("exec", "web", "truncate", "-s", "200M", "/tmp/big")
    (tmp_path / "big").write_text("old")
    process = ctl.popen("cp", "web:/tmp/big", tmp_path / "big")
    with contextlib.suppress(TimeoutError):
        until(lambda: any(p.name.startswith(".wrennctl-") and p.stat().st_size
                          for p in tmp_path.iterdir()), deadline=10)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    if process.returncode == 0:
        pytest.skip("the download was faster than the signal")
    assert process.returncode == 130
    assert (tmp_path / "big").read_text() == "old"
    assert {p.name for p in tmp_path.iterdir()} == {"big"}


def test_unsafe_names_are_shown_as_escapes(ctl, web):
    ctl.ok("fs", "mkdir", "web:/tmp/d/sub")
    for name in ("new\nline", "esc\033[31m", "\u202ebidi", "ok"):
        ctl.ok("cp", "-", f"web:/tmp/d/{name}", stdin=b"x")
    head, *rows = ctl.ok("fs", "ls", "web:/tmp/d").splitlines()
    assert head.split() == ["MODE", "OWNER", "GROUP", "SIZE", "MODIFIED", "NAME"]
    names = [row[head.index("NAME"):] for row in rows]
    assert names == [r"esc\x1b[31m", r"new\nline", "ok", "sub", r"\u{202e}bidi"]
    entries = ctl.json("fs", "ls", "web:/tmp/d")["entries"]
    assert "new\nline" in {entry["name"] for entry in entries}
    ctl.ok("fs", "rm", "web:/tmp/d/ok")
    ctl.ok("fs", "rm", "-r", "web:/tmp/d")
    assert ctl.run("fs", "stat", "web:/tmp/d").returncode == 3


# --- wrennd, help and what the shell sees


def test_status_whoami_rpc_version(daemon, ctl):
    assert f"pid:            {daemon.process.pid}\n" in ctl.ok("status")
    assert ctl.json("status")["pid"] == daemon.process.pid
    key = daemon.key_file.read_text()
    assert "API key:" in ctl.ok("whoami") and key not in ctl.ok("whoami")
    assert ctl.json("whoami")["api_key"]["source"] == "file"
    assert json.loads(ctl.ok("rpc", "daemon.hello"))["protocol"] == 1
    assert json.loads(ctl.ok("rpc", "capsule.list", "-", stdin=b"{}"))["capsules"] == []
    version = ctl.json("version")
    assert version["wrennctl"] == version["wrennd"]
    assert ctl.ok("--version") == f"wrennctl {version['wrennctl']}\n"


def test_help_of_everything(ctl):
    overview = ctl.ok("help")
    assert ctl.ok("--help") == overview
    verbs = [line[2:].split("  ")[0] for line in overview.splitlines()
             if line.startswith("  ") and line[2].islower()]
    assert {"create", "exec", "fs ls", "help"} <= set(verbs)
    for verb in verbs:
        text = ctl.ok("help", *verb.split())
        assert text.startswith(f"usage: wrennctl {verb}") and "Examples:" in text
        assert ctl.ok(*verb.split(), "--help") == text
    assert "fs mkdir" in ctl.ok("help", "fs")
    assert ctl.ok("fs", "--help") == ctl.ok("fs", "-h") == ctl.ok("help", "fs")
    assert "Parameters:" in ctl.ok("help", "capsule.create")


@pytest.mark.parametrize("words, said", [
    ((), "no verb"),
    (("bogus",), "bogus"),
    (("fs",), "second word"),
    (("fs", "bogus"), "fs bogus"),
    (("get", "-1"), "-1"),
    (("ls", "-é"), r"-\xc3"),
    (("ls", "--al=x"), "--al=x"),
    (("ls", "one"), "too many"),
    (("rm",), "missing"),
    (("create", "--timeout"), "--timeout"),
    (("create", "--timeout", "-1"), "-1"),
    (("create", "--cpus", "0"), "--cpus"),
    (("--socket", "x", "--system", "ls"), "--system"),
    (("-o", "csv", "ls"), "csv"),
    (("rpc", "daemon.hello", "[]"), "object"),
    (("help", "nosuch"), "nosuch"),
])
def test_usage_errors(ctl, words, said):
    done = ctl.run(*words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode() and b"help" in done.stderr
    if "-o" not in words:
        done = ctl.run("-o", "json", *words)
        assert (done.returncode, done.stdout) == (2, b"")
        assert error_of(done)["data"]["name"] == "usage"


def test_errors_as_json_are_json_whatever_they_name(ctl, tmp_path):
    error = error_of(ctl.run("-o", "json", "get", NOBODY))
    assert error["data"]["name"] == "not_found" and NOBODY in error["message"]
    process = ctl.popen("-o", "json", "cp", os.fsdecode(b"/nosuch/\xff\xfe"), "x:/y")
    line = process.communicate(timeout=30)[1]
    assert json.loads(line.decode())["error"]["message"].startswith(r"/nosuch/\xff\xfe: ")
    # Cut where the message is full, which is in the middle of a letter.
    error = error_of(ctl.run("-o", "json", "fs", "stat", "é" * 5000))
    assert "é" * 200 in error["message"]


@pytest.mark.parametrize("words, status", [
    (("ls",), 1), (("help",), 1), (("help", "ls"), 1), (("-o", "json", "status"), 1),
    (("--version",), 1), (("fs", "cat", "web:/etc/passwd"), 1),
    (("exec", "web", "echo", "x"), 125), (("exec", "web", "sh", "-c", "echo x; exit 3"), 3),
])
def test_output_that_cannot_be_written(ctl, web, words, status):
    assert web
    with open("/dev/full", "wb") as full:
        done = ctl.popen(*words, stdout=full)
        assert b"No space left" in done.communicate(timeout=60)[1]
    assert done.returncode == status
    done = ctl.popen(*words, stdout=None, preexec_fn=lambda: os.close(1))
    assert b"Bad file descriptor" in done.communicate(timeout=60)[1]
    assert done.returncode == status


def test_events_end_when_nobody_reads_them(client, ctl):
    process = ctl.popen("events")
    until(lambda: client.call("daemon.status")["clients"] >= 2)
    time.sleep(0.3)
    process.stdout.close()
    made = client.call("capsule.create", {"lease": {"type": "none"}})["id"]
    client.call("capsule.destroy", {"capsule": made})
    assert process.wait(timeout=10) == 1
    assert b"Broken pipe" in process.stderr.read()


@pytest.mark.parametrize("words", [("ls",), ("status",), ("get", "x")])
def test_no_wrennd_at_all(ctl, tmp_path, words):
    done = ctl.run("--socket", tmp_path / "none", *words)
    assert (done.returncode, done.stdout) == (10, b"")
    done = ctl.run("--socket", "/tmp/" + "x" * 200, "-o", "json", *words)
    assert error_of(done)["data"]["name"] == "daemon_unreachable"


# --- whose account it is

OTHERS = ({"WRENN_API_KEY": "wrn_" + "e" * 32}, {"WRENN_TOKEN": "eyJ" + "e" * 80},
          {"WRENN_BASE_URL": "https://elsewhere.example/api"})


@pytest.mark.parametrize("env", OTHERS, ids=lambda env: next(iter(env)))
def test_another_credential_than_the_environments_is_not_used(cloud, ctl, web, env):
    cloud.admin("DELETE", "/ledger")
    for words in (("ls",), ("get", web), ("get", "nosuch"), ("wait", web), ("rm", web),
                  ("pause", web), ("create",), ("cp", "/etc/passwd", web + ":/x"),
                  ("api", "DELETE", "/v1/capsules/" + web)):
        done = ctl.run(*words, env=env)
        assert (done.returncode, done.stdout) == (5, b""), words
        assert b"the running wrennd" in done.stderr and b"e" * 20 not in done.stderr
    for words in (("exec", web, "true"), ("run", "true")):
        assert ctl.run(*words, env=env).returncode == 125
    assert {entry["method"] for entry in cloud.requests()} <= {"GET"}
    assert web in cloud.alive()


def test_the_environments_own_credential_is_used(cloud, ctl, web):
    env = {"WRENN_API_KEY": cloud.key, "WRENN_BASE_URL": cloud.ready["tls_url"] + "/"}
    assert ctl.ok("ls", "-q", env=env).split()[0] == web
    assert ctl.ok("rm", web, env=env).strip() == web
    assert ctl.run("get", "nosuch", env=env).returncode == 3


@pytest.mark.parametrize("words", [
    ("get", "x"), ("ls",), ("rm", "x"), ("create",), ("exec", "x", "true")], ids=" ".join)
def test_nothing_is_asked_before_the_account_is_known(ctl, tmp_path, words):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        ctl.env["WRENN_API_KEY"] = "wrn_" + "e" * 32
        process = ctl.popen("--socket", tmp_path / "s", *words)
        peer = listener.accept()[0]
    with peer, peer.makefile("rb") as lines:
        peer.settimeout(20)
        sent = [json.loads(lines.readline()) for _ in ("hello", "status")]
        peer.sendall(answer(b'"result":{"api_key":null}') % {b"id": sent[1]["id"]})
        sent += map(json.loads, lines)
    assert [one["method"] for one in sent] == ["daemon.hello", "auth.status"]
    assert b"the running wrennd holds none" in process.communicate(timeout=20)[1]
    assert process.returncode == (125 if words[0] == "exec" else 5)


# --- something else at the socket


class Impostor:
    """Listens where wrennd should and answers each request with `answer`."""

    def __init__(self, folder, answer):
        self.path = folder / "s"
        self.answer = answer
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                with self.listener.accept()[0] as peer, contextlib.suppress(OSError):
                    self.serve(peer)

    def serve(self, peer):
        for line in peer.makefile("rb"):
            request = json.loads(line)
            if "id" in request:
                answer = self.answer % {b"id": request["id"]}
                peer.sendall(answer)
                if not answer.endswith(b"\n"):
                    return  # hangs up in the middle

    def close(self):
        self.listener.close()


def answer(rest):
    return b'{"jsonrpc":"2.0","id":%(id)d,' + rest + b"}\n"


VERBS = (("ls",), ("get", "x"), ("rm", "x"), ("exec", "x", "true"), ("run", "true"),
         ("fs", "cat", "x:/y"), ("cp", "/etc/passwd", "x:/y"), ("events", "--no-follow"))


@pytest.mark.parametrize("bytes_", [
    b"\0\xff{{{\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b'{"jsonrpc":"2.0","id":%(id)d,"res',
    b"x" * (17 << 20) + b"\n",
    answer(b'"error":{"code":0,"message":"zero"}'),
    answer(b'"error":{}'),
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32016,"message":"full",'
    b'"data":{"name":"busy"}}}\n',
], ids=["bytes", "http", "half", "endless", "code-0", "empty-error", "refusal"])
def test_what_is_no_wrennd_is_a_failure_of_every_verb(ctl, tmp_path, bytes_):
    impostor = Impostor(tmp_path, bytes_)
    for words in VERBS:
        done = ctl.run("--socket", impostor.path, *words, timeout=20)
        assert 0 < done.returncode < 128, (words, done)
        assert done.stdout == b"" and done.stderr.startswith(b"wrennctl: ")
        assert b"Sanitizer" not in done.stderr
    impostor.close()


def test_answers_of_odd_shape_are_survived(ctl, tmp_path):
    event = (b'{"jsonrpc":"2.0","method":"event","params":{"call":%(id)d,"event":'
             b'{"type":5,"a\\u001bk":"v"}}}\n')
    impostor = Impostor(tmp_path, event + answer(
        b'"result":{"capsules":[null,5,{},{"id":"\\u202ex","labels":{"a":null}}]}'))
    done = ctl.run("--socket", impostor.path, "ls")
    assert done.returncode == 0 and rb"\u{202e}x" in done.stdout
    done = ctl.run("--socket", impostor.path, "events", "--no-follow")
    assert done.returncode == 0 and rb'a\x1bk=v' in done.stdout
    done = ctl.run("--socket", impostor.path, "login", "--with-token", stdin=b"wrn_x\n")
    assert done.returncode == 0 and b"null" not in done.stderr
    impostor.close()


def test_a_stuck_wrennd_is_told_by_status_and_version(ctl, tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    both = [subprocess.Popen([paths.WRENNCTL, "--socket", tmp_path / "s", verb], env=ctl.env,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for verb in ("status", "version")]
    out = [process.communicate(timeout=30) for process in both]
    assert both[0].returncode == 8 and b"did not answer in time" in out[0][1]
    assert both[1].returncode == 0 and b"none answers" in out[1][0]
    listener.close()
