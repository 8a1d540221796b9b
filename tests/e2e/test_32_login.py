"""Credentials from people: login and logout, tokens that end, files that change."""
import json
import os
import signal
import stat
import subprocess

import pytest
from test_70_secrets import leaks

from testenv import paths
from testenv.client import RpcError, until
from testenv.cloud import Cloud
from testenv.ctl import Ctl
from testenv.expect import fails
from testenv.terminal import Terminal

EMAIL, PASSWORD = "ann@example.com", "correct horse battery staple"
CTRL_C = b"\x03"


@pytest.fixture(scope="module")
def account():
    """A stand-in whose user's password is known; see bank."""
    cloud = Cloud("--user", f"{EMAIL}:{PASSWORD}")
    yield cloud
    cloud.stop()


@pytest.fixture
def bank(account):
    """The same for one test."""
    account.clear_faults()
    account.admin("DELETE", "/ledger")
    account.admin("POST", "/settings", {"jwt_ttl": 21600})
    return account


@pytest.fixture
def bare(bank, make_daemon):
    """A daemon that knows the server and no credential."""
    return make_daemon(None, profile=server(bank)).start()


def server(cloud):
    return (f"base_url = {cloud.ready['tls_url']}\n"
            f"ca_file = {cloud.ready['ca_file']}\n")


def log_in(client, **more):
    return client.call("auth.login", {"email": EMAIL, "password": PASSWORD, **more})


def terminal(daemon, *arguments, **streams):
    ctl = Ctl(daemon)
    return Terminal([paths.WRENNCTL, *arguments], env=ctl.env, **streams)


def sent(cloud):
    """What the server was asked for."""
    return [(e["method"], e["path"], e["auth"]) for e in cloud.requests()]


# ---- at the terminal ----

def test_login(bank, bare):
    with terminal(bare, "login") as tty:
        tty.wait_for(b"E-mail address: ")
        assert tty.echoes()
        tty.type(EMAIL.encode() + b"\n")
        tty.wait_for(b"Password: ")
        until(lambda: not tty.echoes())
        tty.type(PASSWORD.encode() + b"\n")
        assert tty.finish() == 0
        assert tty.settings() == tty.before
    assert EMAIL.encode() in tty.shown
    assert b"logged in at https://" in tty.shown
    assert PASSWORD.encode() not in tty.shown
    token = bare.call("auth.status")["token"]
    assert token["source"] == "set" and token["expires_at"] > 1e9
    # A token alone is enough for capsules.
    made = json.loads(Ctl(bare).ok("-o", "json", "create"))["id"]
    assert made in bank.alive()
    assert sent(bank)[0] == ("POST", "/v1/auth/login", "none")
    assert {auth for _, _, auth in sent(bank)[1:]} == {"jwt"}


def test_questions_go_to_the_terminal_alone(bank, bare):
    """Piped output holds the answer and nothing else."""
    with terminal(bare, "-o", "json", "login", "--email", EMAIL,
                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                  stderr=subprocess.PIPE) as tty:
        tty.wait_for(b"Password: ")
        until(lambda: not tty.echoes())
        tty.type(PASSWORD.encode() + b"\n")
        out, err = tty.process.communicate(timeout=60)
    assert tty.process.returncode == 0 and err == b""
    assert json.loads(out)["token"]["source"] == "set"
    assert b"E-mail" not in tty.shown


def test_ctrl_c_at_the_password(bank, bare):
    """At once, without Enter; and the terminal is as it was."""
    with terminal(bare, "login", "--email", EMAIL) as tty:
        tty.wait_for(b"Password: ")
        until(lambda: not tty.echoes())
        tty.type(b"half" + CTRL_C)
        assert tty.finish() == -signal.SIGINT
        assert tty.settings() == tty.before and tty.echoes()
    assert b"half" not in tty.shown
    assert sent(bank) == []


def test_end_of_input_at_the_password(bank, bare):
    with terminal(bare, "login", "--email", EMAIL) as tty:
        tty.wait_for(b"Password: ")
        until(lambda: not tty.echoes())
        tty.type(b"\x04")
        assert tty.finish() == 1
        assert tty.settings() == tty.before
    assert b"no answer" in tty.shown


def test_without_a_terminal(bare):
    done = subprocess.run(
        [paths.WRENNCTL, "login", "--email", EMAIL], env=Ctl(bare).env, timeout=60,
        capture_output=True, stdin=subprocess.DEVNULL, start_new_session=True, check=False)
    assert done.returncode == 2 and done.stdout == b""
    assert b"no terminal" in done.stderr


# ---- refused ----

def test_wrong_password(bank, bare):
    with terminal(bare, "login", "--email", EMAIL) as tty:
        tty.wait_for(b"Password: ")
        until(lambda: not tty.echoes())
        tty.type(b"wrong pass\n")
        assert tty.finish() == 5
    assert b"the e-mail address or the password is not right" in tty.shown
    assert b"wrong pass" not in tty.shown
    assert bare.call("auth.status")["token"] is None
    assert "wrong pass" not in bare.log_text()


def test_a_refused_login_changes_nothing(bank, bare):
    with bare.client() as client:
        log_in(client)
        held = client.call("auth.status")
        for wrong in ({"password": "no"}, {"email": "bob@example.com"}):
            with fails("unauthorized"):
                log_in(client, **wrong)
        bank.admin("POST", "/users", {
            "email": "new@example.com", "password": "p", "state": "not_activated"})
        with fails("forbidden") as error:
            log_in(client, email="new@example.com", password="p")
        assert error.value.data["upstream_code"] == "account_not_activated"
        for action in ({"status": 200, "body": "{}", "content_type": "application/json"},
                       {"status": 200, "body": '{"token":7}',
                        "content_type": "application/json"}):
            bank.fault(action, match={"path": "login$"})
            with fails("bad_answer"):
                log_in(client)
        for params in ({"email": ""}, {"password": ""}, {"password": "x" * 1025}):
            with fails("invalid_params"):
                log_in(client, **params)
        assert client.call("auth.status") == held


def test_a_login_can_be_cancelled(bank, bare):
    bank.fault({"hang": True}, match={"path": "login$"})
    with bare.client() as client:
        number = client.send("auth.login", {"email": EMAIL, "password": PASSWORD})
        until(lambda: bank.requests(path="/v1/auth/login"))
        client.call("call.cancel", {"call": number})
        with fails("cancelled"):
            client.wait(number)
        assert client.call("auth.status")["token"] is None


# ---- from a pipe ----

def test_with_token(bank, bare):
    ctl = Ctl(bare)
    done = ctl.run("login", "--with-token", stdin=f"  \n{bank.key}\n\n".encode().lstrip())
    assert (done.returncode, done.stdout) == (0, b""), done
    assert b"logged in at" in done.stderr
    assert ctl.json("whoami")["api_key"]["source"] == "set"
    assert ctl.ok("ls") is not None
    with bare.client() as client:
        token = bank.call("POST", "/v1/auth/login", {
            "email": EMAIL, "password": PASSWORD}, key="").json["token"]
        client.call("auth.logout")
    status = json.loads(ctl.ok("-o", "json", "login", "--with-token", stdin=token.encode()))
    assert status["token"]["source"] == "set" and status["api_key"] is None


@pytest.mark.parametrize("given, status, words", [
    (b"", 2, "neither an API key nor a token"), (b" \n\n", 2, "neither"),
    (b"hello", 2, "an API key starts with wrn_"),
    (b"wrn_one\nwrn_two\n", 2, "characters that no key has"),
    (b"wrn_" + b"x" * 10000, 2, ""), (b"wrn_\xff", 2, ""),
])
def test_no_token(bare, given, status, words):
    done = Ctl(bare).run("login", "--with-token", stdin=given)
    assert done.returncode == status and words in done.stderr.decode(), done
    assert bare.call("auth.status")["api_key"] is None


def test_no_persist(bank, bare):
    ctl = Ctl(bare)
    ctl.ok("login", "--with-token", "--no-persist", stdin=bank.key.encode())
    with bare.client() as client:
        log_in(client, persist=False)
    ctl.ok("ls")
    assert not list(bare.state.glob("api_key*")) + list(bare.state.glob("token*"))
    bare.stop()
    bare.start()
    done = ctl.run("ls")
    assert done.returncode == 5 and b"wrennctl login" in done.stderr, done


def test_kept_over_a_restart(bank, bare):
    with bare.client() as client:
        held = log_in(client)
    file = bare.state / "token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    bare.kill()
    bare.start()
    assert bare.call("auth.status") == held
    bare.call("capsule.list")
    assert sent(bank)[-1] == ("GET", "/v1/capsules", "jwt")
    assert Ctl(bare).ok("logout") == ""
    assert not file.exists()
    bare.stop()
    bare.start()
    assert bare.call("auth.status")["token"] is None


# ---- logout ----

def test_logout(bank, bare):
    ctl = Ctl(bare)
    ctl.ok("login", "--with-token", stdin=bank.key.encode())
    made = ctl.json("create")["id"]
    done = ctl.run("logout")
    assert done.returncode == 4 and b"(1)" in done.stderr, done
    assert ctl.json("get", made)["status"] == "running"
    assert ctl.ok("logout", "--force") == ""
    assert ctl.json("whoami")["api_key"] is None
    assert ctl.run("get", made).returncode == 5
    assert made in bank.alive()
    # With the key it is there again.
    ctl.ok("login", "--with-token", stdin=bank.key.encode())
    ctl.ok("rm", made)
    assert made not in bank.alive()
    assert ctl.run("logout").returncode == 0


def test_no_logout_while_one_is_created(bank, bare):
    bare.call("auth.set", {"api_key": bank.key})
    bank.fault({"delay": 600}, match={"method": "POST", "path": "/v1/capsules$"})
    with bare.client() as client:
        client.send("capsule.create")
        until(lambda: bare.call("daemon.status")["capsules"]["creating"] == 1)
        with fails("conflict"):
            client.call("auth.logout")
    bare.kill()  # it would wait for the create


def test_logout_tells_what_is_left(daemon):
    """The key of the configuration is not forgotten, and that is said."""
    done = Ctl(daemon).run("logout")
    assert done.returncode == 0 and b"from its configuration" in done.stderr, done
    assert daemon.call("auth.status")["api_key"]["source"] == "file"


# ---- tokens end ----

def test_an_ended_token_is_explained(bank, bare):
    """Before anything is sent: nothing is left behind that may have happened."""
    bank.admin("POST", "/settings", {"jwt_ttl": 2})
    ctl = Ctl(bare)
    with bare.client() as client:
        end = log_in(client)["token"]["expires_at"]
        client.call("capsule.list")

        def refused():
            done = ctl.run("create")
            # One that was sent at the last moment has the server's words.
            return done if b"has expired" in done.stderr else None

        done = until(refused)
        assert done.returncode == 5
        assert b"wrennctl login" in done.stderr
        before = len(sent(bank))
        for method, params in (("capsule.list", {}), ("capsule.create", {}),
                               ("api.request", {"method": "GET", "path": "/v1/me"})):
            with fails("unauthorized") as error:
                client.call(method, params)
            assert "wrennctl login" in error.value.message
        assert len(sent(bank)) == before
        status = client.call("daemon.status")
        assert status["capsules"]["uncertain"] == status["capsules"]["creating"] == 0
        assert status["upstream"]["state"] == "up"
        bank.admin("POST", "/settings", {"jwt_ttl": 21600})
        assert log_in(client)["token"]["expires_at"] > end
        client.call("capsule.list")


def test_an_ended_token_beside_a_key(bank, bare):
    """What the key is good for goes on."""
    bank.admin("POST", "/settings", {"jwt_ttl": 1})
    me = {"method": "GET", "path": "/v1/me"}
    with bare.client() as client:
        client.call("auth.set", {"api_key": bank.key})
        log_in(client)

        def ended():
            client.call("capsule.list")
            try:
                client.call("api.request", me)
            except RpcError as error:
                return error
            return None

        until(lambda: "wrennctl login" in getattr(ended(), "message", ""))
        client.call("capsule.list")
    assert sent(bank)[-1] == ("GET", "/v1/capsules", "api_key")


def test_tokens_that_say_nothing_of_their_end(bank, bare):
    """Only the server can tell: they are sent."""
    bodies = ["", ".", "..", ".x.", ".!!!.", ".e30.", ".bnVsbA.", ".W10.",
              ".eyJleHAiOiJ4In0.", ".eyJleHAiOi0xfQ.", ".eyJleHAiOjB9."]
    with bare.client() as client:
        for body in bodies:
            client.call("auth.set", {"token": "eyJ" + body, "persist": False})
            with fails("unauthorized") as error:
                client.call("capsule.list")
            assert error.value.data.get("http_status") == 401, body
    assert len(sent(bank)) == len(bodies)


# ---- secrets ----

def test_the_password_and_the_token_are_nowhere(bank, bare):
    """Not in the log, the events, the answers, the files but its own."""
    seen = b""
    with bare.client() as client, bare.client() as watcher:
        watcher.send("daemon.events", {"since": 0})
        log_in(client)
        token = (bare.state / "token").read_text().strip()
        for action in ({"status": 500, "message": PASSWORD}, {"lose_answer": True}):
            bank.fault(action, match={"path": "login$"}, count=9)
            number = client.send("auth.login", {"email": EMAIL, "password": PASSWORD})
            answer = client.read_line()
            assert json.loads(answer)["id"] == number
            if "message" not in action:
                seen += answer
            bank.clear_faults()
        client.send("auth.status")
        seen += client.read_line()
        client.send("daemon.metrics")
        seen += client.read_line()
        last = client.call("auth.set", {"token": token})
        assert last["token"]["source"] == "set"
        while b'"auth.set"' not in (line := watcher.read_line()):
            seen += line
    secrets = ("xxxx" + PASSWORD, token, token.rpartition(".")[2])
    assert b"auth.login" in seen and not leaks(seen, *secrets)
    assert not leaks(bare.log.read_bytes(), *secrets)
    for name in ("cmdline", "environ"):
        with open(f"/proc/{bare.process.pid}/{name}", "rb") as file:
            assert not leaks(file.read(), *secrets)
    for path in bare.state.iterdir():
        if path.is_file() and path.name != "token":
            assert not leaks(path.read_bytes(), *secrets), path


# ---- files that change ----

def put(file, text, mode=0o600):
    """As a careful program replaces it."""
    new = file.with_name(file.name + ".new")
    new.write_text(text)
    new.chmod(mode)
    os.rename(new, file)


@pytest.fixture
def other_team(cloud):
    """A good key of another team."""
    key = "wrn_" + "7" * 32
    cloud.admin("POST", "/keys", {"key": key, "new_team": True})
    yield key
    cloud.admin("DELETE", f"/keys/{key}")


def fingerprint(daemon):
    return daemon.call("auth.status")["api_key"]["fingerprint"]


def test_a_changed_key_file_is_read(cloud, daemon, other_team):
    made = daemon.call("capsule.create")["id"]
    first = fingerprint(daemon)
    put(daemon.key_file, other_team)
    until(lambda: fingerprint(daemon) != first)
    with fails("not_found"):
        daemon.call("capsule.get", {"capsule": made})
    # In place too, and back again: what was made with a key is there with it.
    daemon.key_file.write_text(cloud.key)
    until(lambda: fingerprint(daemon) == first)
    assert daemon.call("capsule.get", {"capsule": made})["status"] == "running"
    daemon.call("capsule.destroy", {"capsule": made})
    assert "a key file changed" in daemon.log_text()


@pytest.mark.parametrize("fault, words", [
    ("mode", "others can read it"), ("gone", "No such file"), ("empty", ""),
    ("folder", "not a regular file"),
])
def test_a_bad_key_file_leaves_the_old_key(cloud, daemon, other_team, fault, words):
    first = fingerprint(daemon)
    size = len(daemon.log_text())
    if fault == "mode":
        put(daemon.key_file, other_team, 0o644)
    elif fault == "empty":
        put(daemon.key_file, "")
    else:
        daemon.key_file.unlink()
        if fault == "folder":
            daemon.key_file.mkdir()
    until(lambda: f"{daemon.key_file}: " in daemon.log_text()[size:])
    assert words in daemon.log_text()[size:]
    assert fingerprint(daemon) == first
    daemon.call("capsule.list")
    if fault == "folder":
        daemon.key_file.rmdir()
    # Put right, it is taken.
    put(daemon.key_file, other_team)
    until(lambda: fingerprint(daemon) != first)
    daemon.call("capsule.list")


def test_one_bad_file_of_two(cloud, make_daemon, other_team):
    """Neither credential changes by half: connections and records follow both."""
    daemon = make_daemon()
    token_file = daemon.folder / "token"
    put(token_file, "eyJ.first")
    daemon.config.write_text(daemon.config.read_text() + f"token_file = {token_file}\n")
    daemon.start()
    made = daemon.call("capsule.create")["id"]
    held = daemon.call("auth.status")
    token_file.chmod(0o644)
    put(daemon.key_file, other_team)
    until(lambda: "others can read it" in daemon.log_text())
    assert daemon.call("auth.status") == held
    daemon.call("capsule.destroy", {"capsule": made})
    put(token_file, "eyJ.second")
    until(lambda: daemon.call("auth.status")["token"]["fingerprint"]
          != held["token"]["fingerprint"])
    assert fingerprint(daemon) != held["api_key"]["fingerprint"]
    assert daemon.call("capsule.list")["capsules"] == []
