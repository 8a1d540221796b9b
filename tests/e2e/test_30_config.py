"""Configuration, sockets, and where credentials come from."""
import hashlib
import signal
import socket
import stat
import subprocess

import pytest

from testenv.client import until
from testenv.daemon import clean_environment
from testenv.expect import fails
from testenv.paths import WRENND

OTHER_KEY = "wrn_" + "5" * 32


def run(*arguments, env=None):
    """wrennd to its end: (exit status, stdout, stderr)."""
    done = subprocess.run(
        [WRENND, *map(str, arguments)], stdin=subprocess.DEVNULL,
        capture_output=True, env=env, timeout=60, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("c")


@pytest.fixture
def refuse(folder):
    """refuse(text): what wrennd says of that configuration, twice."""
    env = clean_environment(XDG_RUNTIME_DIR=folder, XDG_STATE_HOME=folder / "state")
    file = folder / "wrennd.conf"

    def check(text):
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        status, out, err = run("--config", file, "--check-config", env=env)
        assert (status, out) == (1, ""), (status, out, err)
        start = run("--config", file, env=env)
        assert start == (1, "", err)
        assert not (folder / "state").exists()
        return err.replace(str(file), "FILE")

    return check


# ---- wrong files ----

WRONG = [
    ("daemon", "log_level = loud", "error, warn, info or debug"),
    ("daemon", "log_level =", "error, warn, info or debug"),
    ("daemon", "socket = run/sock", "absolute path"),
    ("daemon", "socket =", "absolute path"),
    ("daemon", "state_dir = ~/x", "absolute path"),
    ("daemon", "socket_mode = rw", "octal mode"),
    ("daemon", "socket_mode = 0888", "octal mode"),
    ("daemon", "socket_mode = 1777", "out of range"),
    ("daemon", "drain_timeout = soon", "duration"),
    ("daemon", "drain_timeout = -1s", "duration"),
    ("daemon", "drain_timeout = 5 s", "duration"),
    ("daemon", "drain_timeout = 5 parsecs", "duration"),
    ("daemon", "drain_timeout = 2h", "out of range"),
    ("daemon", "drain_timeout = 99999999999999999999s", "duration"),
    ("profile default", "base_url = app.wrenn.dev", ""),
    ("profile default", "base_url = ftp://x/", ""),
    ("profile default", "base_url = https://", ""),
    ("profile default", "base_url = https://u:p@x/", ""),
    ("profile default", "base_url = https://x/?q=1", ""),
    ("profile default", "api_key_file = key", "absolute path"),
    ("profile default", "allow_plain_http = true", "yes or no"),
    ("profile default", "allow_plain_http = 1", "yes or no"),
    ("profile default", "connect_timeout = 1ms", "out of range"),
    ("profile default", "max_connections = many", "whole number"),
    ("profile default", "max_connections = 0", "out of range"),
    ("profile default", "max_connections = 65", "out of range"),
    ("profile default", "max_connections = 1.5", "whole number"),
    ("ownership", "default_timeout = 0", "out of range"),
    ("ownership", "auto_resume = on", "yes or no"),
    ("limits", "calls_per_client = 0", "out of range"),
    ("limits", "clients_per_user = 100000", "out of range"),
    ("daemon", "base_url = https://x/", "no such key"),
    ("profile default", "log_level = info", "no such key"),
    ("profile", "base_url = https://x/", "no such key"),
    ("profile other", "base_url = https://x/", "no such key"),
    ("demon", "log_level = info", "no such key"),
    ("daemon", "loglevel = info", "no such key"),
    ("daemon", "LOG_LEVEL = info", "no such key"),
]


@pytest.mark.parametrize("section, line, words", WRONG)
def test_wrong_value(refuse, section, line, words):
    said = refuse(f"; a comment\n\n[{section}]\n# another\n{line}\n")
    key = line.split()[0]
    assert said.startswith(f"wrennd: FILE:5: {key}: "), said
    assert words in said


@pytest.mark.parametrize("text, line, words", [
    ("[daemon]\nlog_level = info\nlog_level = debug\n", 3, "set twice"),
    ("[daemon]\nlog_level = info\n[limits]\n[daemon]\nlog_level = warn\n", 5,
     "set twice"),
    ("[daemon]\nlog_level\n", 2, "key = value"),
    ("[daemon\n", 1, "key = value"),
    ("log_level = info\n", 1, "no such key"),
    ("[profile default]\napi_key_command = " + "x" * 70000 + "\n", 2, "too long"),
])
def test_wrong_syntax(refuse, text, line, words):
    said = refuse(text)
    assert said.startswith(f"wrennd: FILE:{line}: "), said
    assert words in said
    assert said.count("\n") == 1


def test_the_first_fault_is_told(refuse):
    said = refuse("[daemon]\nlog_level = a\nsocket = b\n")
    assert said.count("\n") == 1 and "log_level" in said


@pytest.mark.parametrize("url", ["http://192.0.2.1/api", "http://example.com"])
def test_plain_http_to_another_machine(refuse, url):
    said = refuse(f"[profile default]\nbase_url = {url}\n")
    assert url in said and "allow_plain_http = yes" in said


@pytest.mark.parametrize("text", [
    "[profile default]\nbase_url = http://192.0.2.1/api\nallow_plain_http = yes\n",
    "[profile default]\nbase_url = http://localhost:8080\n",
    "[profile default]\nbase_url = http://127.0.0.1:8080/api\n",
    "[profile default]\nbase_url = http://[::1]:8080/api\n",
    "", "# nothing\n",
    "[ownership]\ndefault_timeout = 5m ; a comment\n[limits]\ncalls_per_client=7\n",
])
def test_right(folder, text):
    file = folder / "right.conf"
    file.write_text(text)
    status, out, err = run("--check-config", "--config", file,
                           env=clean_environment())
    assert (status, out, err) == (0, f"{file}: right\n", "")


def test_missing_file(folder):
    file = folder / "none.conf"
    status, _, err = run("--config", file, env=clean_environment())
    assert status == 1 and str(file) in err and "No such file" in err


def test_every_key_is_listed():
    status, out, _ = run("--dump-config")
    assert status == 0
    keys = out.split()
    assert len(set(keys)) == len(keys)
    for section, line, words in WRONG:
        if words != "no such key":
            assert f"{section.split()[0]}.{line.split()[0]}" in keys


@pytest.mark.parametrize("arguments", [
    ["--no-such"], ["file"], ["--config"], ["--socket"]])
def test_wrong_arguments(arguments):
    status, out, err = run(*arguments, env=clean_environment())
    assert (status, out) == (2, "") and "wrennd" in err


def test_wrong_log_level_argument(folder):
    status, _, err = run("--log-level", "loud", "--state-dir", folder,
                         env=clean_environment())
    assert status == 1 and "--log-level" in err


# ---- the socket ----

def ended(daemon, *options):
    """What a wrennd that cannot start says; it must end by itself."""
    daemon.spawn(*options)
    assert daemon.process.wait(timeout=30) == 1
    return daemon.log_text()


def test_socket_path_too_long(make_daemon):
    path = "/tmp/" + "x" * 120
    said = ended(make_daemon(settings=f"socket = {path}"))
    assert "107" in said and "--socket" in said


def test_no_socket_in_the_way(make_daemon):
    daemon = make_daemon()
    daemon.socket.parent.mkdir()
    daemon.socket.write_text("precious")
    assert "--socket" in ended(daemon)
    assert daemon.socket.read_text() == "precious"


def test_live_daemon_in_the_way(daemon, make_daemon):
    """Another state folder, so that only the socket is contended."""
    second = make_daemon(settings=f"socket = {daemon.socket}")
    assert "another wrennd listens" in ended(second)
    daemon.call("daemon.hello")


def test_stale_socket_is_replaced(daemon):
    daemon.kill()
    assert daemon.socket.exists()
    daemon.start()
    daemon.call("daemon.hello")


def test_socket_goes_with_the_daemon(daemon):
    daemon.stop()
    assert not daemon.socket.exists()


@pytest.mark.parametrize("mode", ["0600", "0660", "0666"])
def test_socket_mode(make_daemon, mode):
    daemon = make_daemon(settings=f"socket_mode = {mode}").start()
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == int(mode, 8)
    assert stat.S_IMODE(daemon.socket.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(daemon.state.stat().st_mode) == 0o700


def test_unknown_group(make_daemon):
    said = ended(make_daemon(settings="socket_group = no-such-group"))
    assert "no-such-group" in said


def test_arguments_win(make_daemon, folder):
    daemon = make_daemon()
    elsewhere = daemon.folder / "else.sock"
    daemon.socket = elsewhere
    daemon.start("--socket", str(elsewhere), "--state-dir", str(daemon.folder / "s2"))
    status = daemon.call("daemon.status")
    assert status["socket"] == str(elsewhere)
    assert (daemon.folder / "s2" / "capsules.db").exists()
    assert not daemon.state.exists()


# ---- key files ----

def auth(daemon):
    return daemon.call("auth.status")["api_key"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_key_file_others_can_read(make_daemon, mode):
    daemon = make_daemon()
    daemon.key_file.chmod(mode)
    said = ended(daemon)
    assert str(daemon.key_file) in said and "chmod 600" in said


@pytest.mark.parametrize("content, words", [
    ("", "empty"), (" \n", "empty"), ("wrn_a b", "characters"),
    ("wrn_\x01", "characters"), ("wrn_é", "characters"), ("w" * 9000, "too long"),
])
def test_key_file_content(make_daemon, content, words):
    daemon = make_daemon()
    daemon.key_file.write_text(content)
    said = ended(daemon)
    assert str(daemon.key_file) in said and words in said


def test_key_file_missing_or_no_file(make_daemon):
    daemon = make_daemon()
    daemon.key_file.unlink()
    assert "No such file" in ended(daemon)
    daemon.key_file.mkdir(mode=0o700)
    assert "not a regular file" in ended(daemon)


def test_white_space_around_the_key(cloud, make_daemon):
    daemon = make_daemon(key=f"\n {cloud.key}\r\n\n").start()
    assert daemon.call("capsule.list") == {"capsules": []}


# ---- reloading ----

def reload(daemon, how):
    if how == "call":
        daemon.call("daemon.reload")
        return
    seen = daemon.log_text().count("reload")
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: daemon.log_text().count("reload") > seen)


@pytest.fixture
def other_key(cloud):
    """A second key of the first team, for as long as the test."""
    cloud.admin("POST", "/keys", {"key": OTHER_KEY, "team": 0})
    yield OTHER_KEY
    cloud.admin("DELETE", f"/keys/{OTHER_KEY}")


@pytest.mark.parametrize("how", ["call", "signal"])
def test_rotated_key_file(cloud, daemon, other_key, how):
    made = daemon.call("capsule.create")["id"]
    before = auth(daemon)["fingerprint"]
    daemon.key_file.write_text(other_key)
    assert auth(daemon)["fingerprint"] == before
    reload(daemon, how)
    until(lambda: auth(daemon)["fingerprint"] != before)
    # The same team's key: the capsule is still ours, and can be destroyed.
    assert daemon.call("capsule.get", {"capsule": made})["status"] == "running"
    daemon.call("capsule.destroy", {"capsule": made})
    assert made not in cloud.alive()


@pytest.mark.parametrize("how", ["call", "signal"])
def test_log_level_is_reloaded(daemon, how):
    daemon.call("capsule.list")
    assert "debug" in daemon.log_text()
    daemon.config.write_text(
        daemon.config.read_text().replace("log_level = debug", "log_level = warn"))
    if how == "call":
        daemon.call("daemon.reload")
        assert is_quiet(daemon)
    else:
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: is_quiet(daemon))


def is_quiet(daemon):
    size = len(daemon.log_text())
    daemon.call("capsule.list")
    return "debug" not in daemon.log_text()[size:]


def test_wrong_file_on_reload(daemon):
    right = daemon.config.read_text()
    daemon.config.write_text(right + "nonsense = 1\n")
    with fails("internal") as error:
        daemon.call("daemon.reload")
    assert "--check-config" in error.value.message
    assert "nonsense" in daemon.log_text()
    assert daemon.call("capsule.list") == {"capsules": []}
    daemon.config.write_text(right)
    daemon.call("daemon.reload")


@pytest.mark.parametrize("spoil", [
    lambda f: f.chmod(0o644), lambda f: f.unlink(), lambda f: f.write_text("")])
def test_bad_key_file_on_reload(daemon, spoil):
    """The key in force stays: without one nothing could be destroyed."""
    before = auth(daemon)
    spoil(daemon.key_file)
    with fails("internal"):
        daemon.call("daemon.reload")
    assert auth(daemon) == before
    assert daemon.call("capsule.list") == {"capsules": []}


def test_what_needs_a_restart_is_said(daemon):
    daemon.config.write_text(daemon.config.read_text().replace(
        "[daemon]", "[daemon]\nsocket = /tmp/elsewhere.sock"))
    daemon.call("daemon.reload")
    assert "socket changed" in daemon.log_text()
    daemon.call("daemon.hello")


# ---- other sources of the key ----

def bare(cloud, make_daemon, **kwargs):
    profile = kwargs.pop("profile", "")
    return make_daemon(None, profile=(
        f"base_url = {cloud.ready['tls_url']}\n"
        f"ca_file = {cloud.ready['ca_file']}\n" + profile), **kwargs)


def test_key_command(cloud, make_daemon, folder):
    (folder / "k").write_text(cloud.key + "\n")
    daemon = bare(cloud, make_daemon,
                  profile=f"api_key_command = cat {folder}/k | tr -d x").start()
    assert auth(daemon)["source"] == "command"
    assert daemon.call("capsule.list") == {"capsules": []}
    before = auth(daemon)
    (folder / "k").unlink()
    daemon.call("daemon.reload")
    assert auth(daemon) == before


@pytest.mark.parametrize("command, words", [
    ("exit 3", "status 3"), ("kill -9 $$", "137"), ("true", "empty"),
    ("yes", "too long"), ("no-such-program", "status 127"),
    ("echo two words", "characters"),
])
def test_key_command_fails(cloud, make_daemon, command, words):
    daemon = bare(cloud, make_daemon,
                  profile=f"api_key_command = {command}").start()
    assert words in daemon.log_text()
    with fails("no_credential"):
        daemon.call("capsule.list")


def test_key_from_the_environment(cloud, make_daemon):
    daemon = bare(cloud, make_daemon, env={"WRENN_API_KEY": cloud.key}).start()
    assert auth(daemon)["source"] == "environment"
    assert daemon.call("capsule.list") == {"capsules": []}
    with open(f"/proc/{daemon.process.pid}/environ", "rb") as environ:
        assert cloud.key.encode() not in environ.read()


def test_base_url_from_the_environment(cloud, make_daemon):
    daemon = make_daemon(None, env={
        "WRENN_API_KEY": cloud.key, "WRENN_BASE_URL": cloud.ready["url"]}).start()
    assert daemon.call("auth.status")["base_url"] == cloud.ready["url"]
    assert daemon.call("capsule.list") == {"capsules": []}
    assert daemon.call("daemon.status")["upstream"]["http_version"] == "1.1"


SOURCES = ["set", "systemd", "file", "command", "environment"]


@pytest.mark.parametrize("first", range(len(SOURCES)))
def test_key_precedence(cloud, make_daemon, folder, first):
    """Of the sources from `first` on, that one wins."""
    keys = {s: "wrn_" + str(i) * 32 for i, s in enumerate(SOURCES)}
    have = SOURCES[first:]
    profile, env = "", {"WRENN_API_KEY": keys["environment"]}
    if "command" in have:
        profile += f"api_key_command = echo {keys['command']}\n"
    if "file" in have:
        (folder / "file").write_text(keys["file"])
        (folder / "file").chmod(0o600)
        profile += f"api_key_file = {folder}/file\n"
    if "systemd" in have:
        (folder / "api_key").write_text(keys["systemd"])
        (folder / "api_key").chmod(0o400)
        env["CREDENTIALS_DIRECTORY"] = str(folder)
    daemon = bare(cloud, make_daemon, profile=profile, env=env).start()
    if "set" in have:
        daemon.call("auth.set", {"api_key": keys["set"]})
    assert auth(daemon) == {
        "source": have[0],
        "fingerprint": hashlib.sha256(keys[have[0]].encode()).hexdigest()[:12]}


# ---- setting and forgetting ----

def test_auth_set_persists(cloud, make_daemon):
    daemon = bare(cloud, make_daemon).start()
    daemon.call("auth.set", {"api_key": cloud.key})
    kept = daemon.state / "api_key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert daemon.call("capsule.list") == {"capsules": []}
    daemon.kill()
    daemon.start()
    assert auth(daemon)["source"] == "set"
    assert daemon.call("capsule.list") == {"capsules": []}


def test_auth_set_without_persisting(cloud, make_daemon):
    daemon = bare(cloud, make_daemon).start()
    daemon.call("auth.set", {"api_key": cloud.key, "persist": False})
    assert daemon.call("capsule.list") == {"capsules": []}
    assert not (daemon.state / "api_key").exists()
    daemon.kill()
    daemon.start()
    assert auth(daemon) is None


@pytest.mark.parametrize("params", [
    {}, {"api_key": "wrn_x", "token": "eyJx"}, {"api_key": "x" * 36},
    {"token": "wrn_" + "x" * 32}, {"api_key": "wrn_ x"}, {"api_key": "wrn_\nx"},
    {"api_key": "wrn_" + "x" * 9000},
])
def test_auth_set_refuses(daemon, params):
    before = auth(daemon)
    with fails("invalid_params"):
        daemon.call("auth.set", params)
    assert auth(daemon) == before


def test_auth_set_token(cloud, make_daemon):
    login = cloud.call("POST", "/v1/auth/login", {
        "email": cloud.ready["email"], "password": cloud.ready["password"]}, key="")
    daemon = bare(cloud, make_daemon).start()
    told = daemon.call("auth.set", {"token": login.json["token"]})
    assert told["api_key"] is None
    assert told["token"]["source"] == "set" and told["token"]["expires_at"] > 0
    made = daemon.call("capsule.create")["id"]
    assert cloud.requests(method="POST", auth="jwt")
    daemon.call("capsule.destroy", {"capsule": made})


def test_logout_needs_force_while_capsules_live(cloud, make_daemon):
    daemon = bare(cloud, make_daemon).start()
    daemon.call("auth.set", {"api_key": cloud.key})
    made = daemon.call("capsule.create")["id"]
    with fails("conflict") as error:
        daemon.call("auth.logout")
    assert "destroy them first" in error.value.message
    assert auth(daemon)["source"] == "set"
    assert daemon.call("auth.logout", {"force": True})["api_key"] is None
    assert not (daemon.state / "api_key").exists()
    with fails("no_credential"):
        daemon.call("capsule.get", {"capsule": made})
    daemon.kill()
    daemon.start()
    assert auth(daemon) is None
    daemon.call("auth.set", {"api_key": cloud.key})
    daemon.call("capsule.destroy", {"capsule": made})
    assert made not in cloud.alive()


def test_logout_falls_back_to_the_file(daemon):
    daemon.call("auth.set", {"api_key": OTHER_KEY})
    assert auth(daemon)["source"] == "set"
    assert daemon.call("auth.logout")["api_key"]["source"] == "file"
    assert daemon.call("capsule.list") == {"capsules": []}


def test_another_teams_key_proves_nothing(cloud, daemon):
    """All that it gets is 404: the row stays until its own key is back."""
    made = daemon.call("capsule.create")["id"]
    cloud.admin("POST", "/keys", {"key": "wrn_" + "6" * 32, "new_team": True})
    daemon.call("auth.set", {"api_key": "wrn_" + "6" * 32})
    with fails("not_found") as error:
        daemon.call("capsule.get", {"capsule": made})
    assert "another credential" in error.value.message
    listed = daemon.call("capsule.list")["capsules"]
    assert [(c["id"], c["status"]) for c in listed] == [(made, "unlisted")]
    with fails("not_found"):
        daemon.call("capsule.destroy", {"capsule": made})
    assert made in cloud.alive()
    daemon.call("auth.logout", {"force": True})
    until(lambda: made not in cloud.alive())
    until(lambda: daemon.call("capsule.list") == {"capsules": []})
