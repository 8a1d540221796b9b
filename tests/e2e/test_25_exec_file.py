"""Commands and files: bytes, limits, errors, cancelling."""
import base64
import os

import pytest

from testenv.client import until
from testenv.expect import fails
from testenv.transfer import download, upload

TEXT_MAX = 12 * 1024 * 1024  # of a command's answer
READ_MAX = 16 * 1024 * 1024 // 4 * 3 - 4096


@pytest.fixture(scope="module")
def shared(tmp_path_factory, shared_cloud):
    """A daemon and a capsule for all tests here: (cloud, client, capsule)."""
    from testenv.daemon import Daemon

    shared_cloud.clear_faults()
    daemon = Daemon(tmp_path_factory.mktemp("dx"), shared_cloud).start()
    with daemon.client() as client:
        made = client.call("capsule.create")["id"]
        yield shared_cloud, client, made
        client.call("capsule.destroy", {"capsule": made})
    daemon.remove()


@pytest.fixture
def client(shared):
    return shared[1]


@pytest.fixture
def run(shared):
    """run(cmd, *args, **params): the answer of exec.run."""
    _, client, made = shared
    return lambda cmd, *args, **params: client.call("exec.run", {
        "capsule": made, "cmd": cmd, "args": list(args), **params})


@pytest.fixture
def file(shared):
    """file(verb, path, **params): the answer of file.VERB."""
    _, client, made = shared
    return lambda verb, path, **params: client.call(
        f"file.{verb}", {"capsule": made, "path": path, **params})


def processes(cloud, capsule, word):
    """Processes of the capsule whose command line holds the word."""
    found = []
    for pid in cloud.capsule(capsule)["pids"]:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                if word.encode() in line.read():
                    found.append(pid)
        except OSError:
            pass  # ended meanwhile
    return found


# ---- commands ----

ODD = ["", "two words", "'", '"', "\\", "$HOME", "`id`", "*", "a\nb\n", "\t",
       "-n", "--", "zażółć 🐦", ";", "\x01\x1b[31m"]


def shown(args):
    return "".join(f"<{a}>" for a in args)


@pytest.mark.parametrize("more", [{}, {"cwd": "/tmp"}, {"envs": {"A": "1"}}])
def test_arguments_as_given(run, more):
    done = run("printf", "<%s>", *ODD, **more)
    assert done["stdout"] == shown(ODD)
    assert (done["exit_code"], done["stderr"]) == (0, "")


def test_command_without_arguments(client, shared):
    done = client.call("exec.run", {"capsule": shared[2], "cmd": "true"})
    assert (done["stdout"], done["stderr"], done["exit_code"],
            done["encoding"]) == ("", "", 0, "utf-8")
    assert done["duration_ms"] >= 0


def test_command_with_a_slash_or_space_in_its_name(run, file):
    file("write", "/root/my prog", text="#!/bin/sh\necho ran \"$@\"\n")
    run("chmod", "755", "/root/my prog")
    assert run("/root/my prog", "x")["stdout"] == "ran x\n"
    assert run("./my prog", "x", cwd="/root")["stdout"] == "ran x\n"


def test_streams_apart(run):
    done = run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done["stdout"], done["stderr"], done["exit_code"]) == (
        "out\n", "err\n", 3)


@pytest.mark.parametrize("folder", ["/tmp", "/", "/root/-x", "/root/a b'\"$c"])
def test_cwd(run, folder):
    run("mkdir", "-p", "--", folder)
    assert run("pwd", cwd=folder)["stdout"] == folder + "\n"


@pytest.mark.parametrize("folder", ["-x", "-", "sub dir"])
def test_cwd_relative(run, folder):
    """Relative to where commands start, and never an option of cd."""
    run("mkdir", "-p", "--", f"/root/{folder}")
    assert run("pwd", cwd=folder)["stdout"] == f"/root/{folder}\n"


def test_cwd_missing(run):
    done = run("echo", "never", cwd="/no/such/folder")
    assert done["exit_code"] == 126
    assert done["stdout"] == "" and "/no/such/folder" in done["stderr"]


ENVS = {"PLAIN": "x", "EMPTY": "", "SPACES": " a  b ", "QUOTES": "'\"`",
        "NEWLINES": "a\n\nb\n", "DOLLAR": "$HOME $(id) ${X}", "UTF8": "zażółć",
        "_": "under", "n": "7", "a1_": "=x=y", "IFS_": "*"}


def test_envs(run):
    done = run("env", "-0", envs=ENVS)
    have = dict(pair.split("=", 1) for pair in done["stdout"].split("\0")[:-1])
    have["_"] = "under"  # every shell sets its own
    assert {k: have.get(k) for k in ENVS} == ENVS


def test_envs_leave_the_rest_alone(run):
    plain = set(run("env")["stdout"].splitlines())
    more = set(run("env", envs={"ADDED": "1"})["stdout"].splitlines())
    own = ("_=", "PWD=", "OLDPWD=", "SHLVL=")
    assert {v for v in more - plain if not v.startswith(own)} == {"ADDED=1"}
    assert not {v for v in plain - more if not v.startswith(own)}


@pytest.mark.parametrize("name", ["", "1A", "A B", "A=B", "A-B", "é", "$(x)", "A;B"])
def test_invalid_env_name(shared, run, name):
    cloud = shared[0]
    before = len(cloud.requests(method="POST"))
    with fails("invalid_params") as error:
        run("true", envs={name: "x"})
    assert error.value.data["param"] == "envs"
    assert len(cloud.requests(method="POST")) == before


def test_binary_output(run, file):
    data = bytes(range(256)) * 64
    file("write", "/root/bin", data=base64.b64encode(data).decode())
    done = run("sh", "-c", "cat /root/bin; echo text >&2")
    assert done["encoding"] == "base64"
    assert base64.b64decode(done["stdout"]) == data
    assert base64.b64decode(done["stderr"]) == b"text\n"


def test_nul_bytes_in_output(run):
    done = run("printf", "a\\0b\\0")
    assert (done["stdout"], done["encoding"]) == ("a\0b\0", "utf-8")


def test_exit_codes(run):
    for code in range(256):
        assert run("sh", "-c", f"exit {code}")["exit_code"] == code


def test_killed_by_a_signal(run):
    done = run("sh", "-c", "echo before; kill -9 $$")
    assert (done["exit_code"], done["stdout"]) == (-1, "before\n")


@pytest.mark.parametrize("name", ["no-such-program", "/no/such/program"])
def test_command_not_found(run, name):
    with fails("command_not_found"):
        run(name)


def test_command_not_found_when_wrapped(run):
    assert run("no-such-program", cwd="/tmp")["exit_code"] == 127


@pytest.mark.parametrize("path", ["/root/plain", "/etc"])
def test_command_not_executable(run, file, path):
    file("write", "/root/plain", text="no program\n")
    with fails("command_not_executable"):
        run(path)


def test_timeout_ends_the_command(shared, run):
    cloud, _, made = shared
    with fails("timeout"):
        run("sleep", "3001", timeout_sec=1)
    until(lambda: not processes(cloud, made, "3001"), deadline=5)


def test_cancel_ends_the_command(shared, client):
    cloud, _, made = shared
    number = client.send("exec.run", {
        "capsule": made, "cmd": "sleep", "args": ["3002"], "timeout_sec": 300})
    until(lambda: processes(cloud, made, "3002"))
    assert client.call("call.cancel", {"call": number}) == {"cancelled": True}
    with fails("cancelled"):
        client.wait(number)
    until(lambda: not processes(cloud, made, "3002"), deadline=5)


def test_hang_up_ends_the_command(make_daemon, cloud):
    daemon = make_daemon().start()
    made = daemon.call("capsule.create")["id"]
    with daemon.client() as client:
        client.send("exec.run", {
            "capsule": made, "cmd": "sleep", "args": ["3003"],
            "timeout_sec": 300})
        until(lambda: processes(cloud, made, "3003"))
    until(lambda: not processes(cloud, made, "3003"), deadline=5)
    status = daemon.call("daemon.status")
    assert status["calls"]["in_flight"] == 1  # the one that asks


def test_cancel_of_one_leaves_others(shared, client):
    """Both run on one connection upstream."""
    cloud, _, made = shared
    run = {"capsule": made, "cmd": "sh", "timeout_sec": 300}
    wait = "until test -e /root/go; do sleep 0.1; done; echo on"
    stays = client.send("exec.run", {**run, "args": ["-c", wait]})
    goes = client.send("exec.run", {**run, "args": ["-c", "exec sleep 3004"]})
    until(lambda: processes(cloud, made, "3004"))
    until(lambda: processes(cloud, made, "/root/go"))
    client.call("call.cancel", {"call": goes})
    with fails("cancelled"):
        client.wait(goes)
    until(lambda: not processes(cloud, made, "3004"), deadline=5)
    assert processes(cloud, made, "/root/go")
    client.call("file.write", {"capsule": made, "path": "/root/go", "text": ""})
    assert client.wait(stays)["stdout"] == "on\n"


def test_long_output(run):
    done = run("sh", "-c", "yes 0123456789abcde | head -c 8388608")
    assert done["stdout"] == "0123456789abcde\n" * (8388608 // 16)


def test_too_much_output(client, run):
    with fails("too_large"):
        run("sh", "-c", "yes 0123456789abcde | head -c 13631488")
    assert run("echo", "on")["stdout"] == "on\n"


# ---- files ----

@pytest.mark.parametrize("text", [
    "", "x", "a\nb\r\n", "zażółć 🐦", "nul \0 inside", "\x01\x1b\x7f",
    "\u2028\u2029\ufffd", "--boundary\r\n\r\n", '"\\/',
])
def test_text_round_trip(file, text):
    size = len(text.encode())
    if "\0" in text:
        with fails("invalid_params"):
            file("write", "/root/t", text=text)
        file("write", "/root/t", data=base64.b64encode(text.encode()).decode())
    else:
        assert file("write", "/root/t", text=text) == {"size": size}
    assert file("read", "/root/t") == {
        "size": size, "encoding": "utf-8", "text": text}


@pytest.mark.parametrize("data", [
    b"\xff", bytes(range(256)), b"ok\xc3", b"\xed\xa0\x80", b"\0\xfe" * 5000,
], ids=repr)
def test_binary_round_trip(file, data):
    text = base64.b64encode(data).decode()
    assert file("write", "/root/b", data=text) == {"size": len(data)}
    assert file("read", "/root/b") == {
        "size": len(data), "encoding": "base64", "data": text}


def test_write_replaces(file):
    file("write", "/root/r", text="a long first content")
    file("write", "/root/r", text="short")
    assert file("read", "/root/r")["text"] == "short"


@pytest.mark.parametrize("data", ["x", "====", "Zg", "Zg=", "Z g=", "Zg==\n"])
def test_write_bad_base64(file, data):
    with fails("invalid_params") as error:
        file("write", "/root/x", data=data)
    assert error.value.data["param"] == "data"


@pytest.mark.parametrize("content", [{}, {"text": "a", "data": "YQ=="}])
def test_write_takes_one_content(file, content):
    with fails("invalid_params"):
        file("write", "/root/x", **content)


def test_largest_write_in_a_line(shared, client):
    """A request line of exactly 1 MiB is served."""
    _, _, made = shared
    number = 900000
    head = ('{"jsonrpc":"2.0","id":%d,"method":"file.write","params":'
            '{"capsule":"%s","path":"/root/big","text":"' % (number, made))
    text = "y" * (1024 * 1024 - len(head) - 3)
    client.send_bytes((head + text + '"}}\n').encode())
    assert client.wait(number) == {"size": len(text)}
    assert client.call("file.read", {"capsule": made, "path": "/root/big"})[
        "text"] == text


@pytest.mark.parametrize("data", [b"x", b"\xff"], ids=["text", "binary"])
def test_read_at_the_limit(shared, client, file, data):
    _, _, made = shared
    whole = data * READ_MAX
    assert upload(client, made, "/root/lim", whole) == {"size": READ_MAX}
    answer = file("read", "/root/lim")
    got = (answer["text"].encode() if answer["encoding"] == "utf-8"
           else base64.b64decode(answer["data"]))
    assert got == whole
    upload(client, made, "/root/lim", whole + data)
    with fails("too_large") as error:
        file("read", "/root/lim")
    assert "data socket" in error.value.message
    assert download(client, made, "/root/lim") == (
        whole + data, {"size": READ_MAX + 1})


def test_read_of_much_escaped_text(shared, client, file):
    """As text it would be six times as long: it comes as base64."""
    _, _, made = shared
    whole = b"\x01" * (4 * 1024 * 1024)
    upload(client, made, "/root/ctl", whole)
    answer = file("read", "/root/ctl")
    assert base64.b64decode(answer["data"]) == whole


@pytest.mark.parametrize("path", ["/root/none", "/none/at/all"])
def test_read_missing(file, path):
    with fails("not_found"):
        file("read", path)


def test_download_missing(shared, client):
    with fails("not_found"):
        download(client, shared[2], "/root/none")


def test_read_folder(file):
    with fails("validation"):
        file("read", "/root")


@pytest.mark.parametrize("verb", ["read", "write", "list", "stat", "mkdir", "remove"])
@pytest.mark.parametrize("path", ["relative", "./x", "../etc", "~"])
def test_relative_path(shared, file, verb, path):
    before = len(shared[0].ledger())
    with fails("invalid_params") as error:
        file(verb, path, **({"text": ""} if verb == "write" else {}))
    assert error.value.data["param"] == "path"
    assert len(shared[0].ledger()) == before


def test_relative_path_with_a_data_socket(shared, client):
    for call in (lambda: upload(client, shared[2], "rel", b"x"),
                 lambda: download(client, shared[2], "rel")):
        with fails("invalid_params") as error:
            call()
        assert error.value.data["param"] == "path"


def names(entries):
    return [e["name"] for e in entries]


def test_list(file):
    file("mkdir", "/root/ls/sub")
    file("write", "/root/ls/a", text="12345")
    file("write", "/root/ls/sub/b", text="")
    shallow = file("list", "/root/ls")["entries"]
    assert names(shallow) == ["a", "sub"]
    assert [(e["type"], e["path"]) for e in shallow] == [
        ("file", "/root/ls/a"), ("directory", "/root/ls/sub")]
    assert shallow[0]["size"] == 5
    assert names(file("list", "/root/ls/", depth=2)["entries"]) == ["a", "sub", "b"]
    assert file("list", "/root/ls/sub")["entries"][0]["name"] == "b"
    with fails("not_found"):
        file("list", "/root/ls/none")


def test_list_empty(file):
    file("mkdir", "/root/empty")
    assert file("list", "/root/empty") == {"entries": []}


def test_stat(file):
    file("mkdir", "/root/st")
    file("write", "/root/st/f", text="abc")
    one = file("stat", "/root/st/f")["entry"]
    assert (one["name"], one["path"], one["type"], one["size"]) == (
        "f", "/root/st/f", "file", 3)
    assert file("stat", "/root/st")["entry"]["type"] == "directory"
    assert file("stat", "/root/st///") == file("stat", "/root/st")
    for root in ("/", "//"):
        entry = file("stat", root)["entry"]
        assert (entry["path"], entry["type"]) == ("/", "directory")
    for path in ("/root/st/none", "/root/st/F", "/none/at/all"):
        with fails("not_found"):
            file("stat", path)


def test_mkdir(file):
    made = file("mkdir", "/root/mk/a/b")
    assert made["created"] is True
    assert (made["entry"]["path"], made["entry"]["type"]) == (
        "/root/mk/a/b", "directory")
    again = file("mkdir", "/root/mk/a/b/")
    assert again["created"] is False
    assert again["entry"]["path"] == "/root/mk/a/b"


def test_remove(file):
    file("write", "/root/rm/deep/f", text="")
    assert file("remove", "/root/rm/deep/f") == {}
    assert file("list", "/root/rm/deep")["entries"] == []
    assert file("remove", "/root/rm") == {}
    with fails("not_found"):
        file("stat", "/root/rm")


@pytest.mark.parametrize("name", [
    "zażółć 🐦", "a b", "q'\"uote", "new\nline", "-dash", "%2e%2e", "per%cent",
    "a;b&c?d#e", "\u202eltr", "x" * 255,
])
def test_odd_file_names(file, name):
    path = f"/root/odd/{name}"
    file("write", path, text="here")
    assert file("read", path)["text"] == "here"
    assert file("stat", path)["entry"]["name"] == name
    assert name in names(file("list", "/root/odd")["entries"])
    file("remove", path)
    with fails("not_found"):
        file("stat", path)


def test_files_and_commands_meet(shared, client, file, run):
    data = os.urandom(3 * 1024 * 1024)
    upload(client, shared[2], "/root/rnd", data)
    assert run("stat", "-c", "%s", "/root/rnd")["stdout"] == f"{len(data)}\n"
    run("cp", "/root/rnd", "/root/copy")
    assert download(client, shared[2], "/root/copy")[0] == data
