"""Endpoints without a method of their own: api.request and wrennctl api."""
import base64
import json
import urllib.parse

import pytest

from testenv.ctl import Ctl
from testenv.expect import fails
from testenv.web import Web

KEY = "wrn_" + "9" * 32


@pytest.fixture
def web():
    server = Web()
    yield server
    server.stop()


@pytest.fixture
def plain(web, make_daemon):
    """A daemon whose server is `web`, below a prefix."""
    return make_daemon(
        None, profile=f"base_url = {web.url}/pre/fix\n", env={"WRENN_API_KEY": KEY}).start()


@pytest.fixture
def api(plain):
    """api(method, path, **more): one request, its result."""
    with plain.client() as client:
        yield lambda method, path, **more: client.call(
            "api.request", {"method": method, "path": path, **more})


def log_in(cloud, daemon):
    daemon.call("auth.login", {
        "email": cloud.ready["email"], "password": cloud.ready["password"],
        "persist": False})


# ---- against the server ----

def test_me(cloud, daemon, ctl):
    """A key is not enough, and the server's own words say so."""
    done = ctl.run("api", "GET", "/v1/me")
    assert done.returncode == 5 and b"Bearer" in done.stderr, done
    log_in(cloud, daemon)
    me = json.loads(ctl.ok("api", "GET", "/v1/me"))
    assert me["email"] == cloud.ready["email"]
    assert ctl.json("api", "GET", "/v1/me") == {
        "status": 200, "content_type": "application/json; charset=utf-8", "body": me}
    # The token goes along although there is a key.
    assert [e["auth"] for e in cloud.requests(path="/v1/me")] == ["bad", "jwt", "jwt"]


def test_post(web, plain):
    body = {"name": "a \"team\""}
    web.answer = (200, "application/json", b'{"id":"team-1"}')
    for words in (["-d", json.dumps(body)], ["-d", "-"]):
        out = Ctl(plain).ok("api", *words, "POST", "/v1/teams",
                            stdin=json.dumps(body).encode())
        assert json.loads(out) == {"id": "team-1"}
        line, _, sent = web.seen.pop()
        assert line == "POST /pre/fix/v1/teams HTTP/1.1"
        assert json.loads(sent) == body


def test_errors(cloud, daemon, ctl):
    done = ctl.run("api", "GET", "/v1/no-such-thing")
    assert (done.returncode, done.stdout) == (3, b""), done
    with fails("not_found") as error:
        daemon.call("api.request", {"method": "GET", "path": "/v1/no-such-thing"})
    assert error.value.data["http_status"] == 404
    for status, name, code in ((403, "forbidden", 6), (409, "conflict", 4),
                               (500, "upstream_internal", 7)):
        cloud.fault({"status": status}, match={"path": "/health"}, count=-1)
        with fails(name):
            daemon.call("api.request", {"method": "GET", "path": "/health"})
        assert ctl.run("api", "GET", "/health").returncode == code
        cloud.clear_faults()
    # Sent, and nobody knows: only what is safe to repeat is repeated.
    cloud.fault({"lose_answer": True}, match={"path": "/v1/channels"})
    with fails("outcome_unknown"):
        daemon.call("api.request", {"method": "POST", "path": "/v1/channels"})
    assert len(cloud.requests(path="/v1/channels")) == 1


def test_one_that_needs_no_method_but_text(ctl):
    text = ctl.ok("api", "GET", "/openapi.yaml")
    assert text.startswith("openapi:") and text.count("\n") > 10


# ---- what is sent ----

@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_methods(web, api, method):
    assert api(method, "/v1/a.b/c~d/e@f:g_-0")["body"] == {}
    line, headers, body = web.seen.pop()
    assert line == f"{method} /pre/fix/v1/a.b/c~d/e@f:g_-0 HTTP/1.1"
    assert headers["X-API-Key"] == KEY and "Authorization" not in headers
    # What takes a body gets one; the others none.
    assert body == (b"" if method in ("GET", "DELETE") else b"{}")
    if method == "GET":
        with fails("invalid_params") as error:
            api(method, "/v1/x", body={})
        assert error.value.data["param"] == "body" and web.seen == []
        return
    api(method, "/v1/x", body={"a": [1, "é", None, {"b": 1.5}]})
    assert json.loads(web.seen.pop()[2]) == {"a": [1, "é", None, {"b": 1.5}]}


def test_query(web, api, plain):
    hard = {"a b": "1&2=3", "é": "%41+?#/", "empty": "", "quote'\"": "\r\nX: y"}
    api("GET", "/v1/x", query=hard)
    line = web.seen.pop()[0]
    target = line.split(" ")[1]
    assert line == f"GET {target} HTTP/1.1"
    path, _, query = target.partition("?")
    assert path == "/pre/fix/v1/x"
    assert urllib.parse.parse_qsl(query, keep_blank_values=True) == list(hard.items())
    assert query.startswith("a%20b=1%262%3D3&%C3%A9=%2541%2B%3F%23%2F&")
    Ctl(plain).ok("api", "GET", "/v1/users/search", "-q", "email=a+b@example.com",
                  "--query", "x==1")
    assert web.seen.pop()[0] == (
        "GET /pre/fix/v1/users/search?email=a%2Bb%40example.com&x=%3D1 HTTP/1.1")


def test_a_query_that_is_too_long_is_refused_whole(web, api):
    """At each remainder of three, which an escaped byte takes."""
    for path in ("/v1/x", "/v1/xx", "/v1/xxx"):
        with fails("invalid_params"):
            api("GET", path, query={name: "é" * 1024 for name in "abc"})
    with fails("invalid_params"):
        api("GET", "/v1/x", query={"a": "x" * 2049})
    assert web.seen == []
    api("GET", "/v1/x", query={"a": "x" * 2048})
    assert web.seen.pop()[0] == f"GET /pre/fix/v1/x?a={'x' * 2048} HTTP/1.1"


REFUSED = [
    "/v1/capsules", "/v1/capsules/", "/v1/capsules/cl-1", "/v1/CAPSULES", "/V1/Capsules/x",
    "//v1/capsules", "/v1//capsules", "/v1/./capsules", "/./v1/capsules", "/v1/x/../capsules",
    "/v1/capsules?x=1", "/v1/capsules#x", "/v1/%63apsules", "/v1/capsules%2f", "/v1%2Fcapsules",
    "/v1/capsules%00", "/v1/capsules;a=1", "/v1\\capsules", "/v1/capsules\r\nX: y",
    "/v1/capsules ", " /v1/capsules", "/v1/capsules\t", "/v1/cap\u200bsules", "/v1/c\u0430psules",
    "/v1/capsules/x/exec", "/v1/x/%2e%2e/capsules", "/v1/x/..", "/..", "/", "", "v1/me",
    "http://elsewhere.example/v1/me", "/v1/me/", "/v1/me?x", "@elsewhere.example/",
    "/v1/auth/login", "/v1/Auth/LOGIN", "/v1/auth/login/",
    "/v1/auth/switch-team", "/v1/auth/Switch-Team",
    "/v1/snapshots", "/v1/Snapshots/x", "/v1/hosts", "/v1/hosts/host-1/tags", "/v1/HOSTS", "/v1/api-keys", "/v1/Api-Keys/key-1",
]


def test_refused_paths(web, api, plain):
    for path in REFUSED:
        for method in ("GET", "POST", "DELETE"):
            with fails("invalid_params") as error:
                api(method, path)
            assert error.value.data["param"] == "path", path
        done = Ctl(plain).run("api", "GET", path)
        assert (done.returncode, done.stdout) == (2, b""), done
    assert web.seen == []


def test_what_only_begins_like_a_capsule(web, api):
    for path in ("/v1/capsules-x", "/v1/x/v1/capsules", "/v2/capsules", "/v1/...", "/v1/.a"):
        api("GET", path)
        assert web.seen.pop()[0] == f"GET /pre/fix{path} HTTP/1.1"


def test_refused_params(web, api, plain):
    for params in ({"method": "HEAD"}, {"method": "get"}, {"method": ""}, {"query": {"a": 1}},
                   {"query": []}, {"body": []}, {"body": "x"}, {"headers": {}}):
        with fails("invalid_params"):
            api(**{"method": "GET", "path": "/v1/x", **params})
    ctl = Ctl(plain)
    for words in (["GET"], ["GET", "/x", "y"], ["-d", "[1]", "POST", "/x"],
                  ["-d", "{", "POST", "/x"], ["-q", "=1", "GET", "/x"], ["-q", "a", "GET", "/x"]):
        assert ctl.run("api", *words).returncode == 2, words
    assert web.seen == []


# ---- what is answered ----

BODIES = [
    ("application/json", b'{"a":[1,2.50,"x"],"n":null}', "body", '{"a":[1,2.50,"x"],"n":null}\n'),
    ("application/json", b"null", "body", "null\n"),
    ("application/json", b'"text"', "body", '"text"\n'),
    ("text/plain", "two\nlinés\n".encode(), "text", "two\nlinés\n"),
    ("text/html", b"<html>{", "text", "<html>{"),
    ("application/json", b'{"a":1,"a":2}', "text", '{"a":1,"a":2}'),
    (None, b"x", "text", "x"),
]


@pytest.mark.parametrize("kind, body, field, printed", BODIES)
def test_bodies(web, api, plain, kind, body, field, printed):
    web.answer = (201, kind, body)
    answer = api("GET", "/v1/x")
    assert answer["status"] == 201 and answer["content_type"] == (kind or "")
    assert set(answer) == {"status", "content_type", field}
    if field == "text":
        assert answer["text"].encode() == body
    else:
        assert answer["body"] == json.loads(body)
    assert Ctl(plain).ok("api", "GET", "/v1/x") == printed


def test_bytes(web, api, plain):
    data = bytes(range(256)) * 40
    web.answer = (200, "image/png", data)
    answer = api("GET", "/v1/x")
    assert base64.b64decode(answer["data"], validate=True) == data
    assert not {"text", "body"} & set(answer)
    done = Ctl(plain).run("api", "GET", "/v1/x")
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")


def test_no_body(web, api, plain):
    web.answer = (204, None, b"")
    assert api("DELETE", "/v1/x") == {"status": 204, "content_type": ""}
    done = Ctl(plain).run("api", "DELETE", "/v1/x")
    assert (done.returncode, done.stdout) == (0, b"")


def test_too_much(web, api):
    web.answer = (200, "text/plain", b"x" * (9 << 20))
    with fails("too_large"):
        api("GET", "/v1/x")


def test_a_redirect_is_not_followed(web, api):
    web.answer = (302, None, b"")
    with fails("bad_answer"):
        api("GET", "/v1/x")
    assert len(web.seen) == 1


def test_it_is_for_administrators(client):
    methods = {m["name"]: m for m in client.call("rpc.discover")["methods"]}
    assert methods["api.request"]["x-access"] == "admin"
