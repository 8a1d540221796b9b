"""The file calls, in both directions and at all sizes."""
import hashlib
import http.client
import os

import pytest

from .harness import BOUNDARY, eventually, form

BIG = 300 << 20
BLOCK = 1 << 20
MEMORY_GROWTH_MAX = 48 << 10  # KiB


def files(capsule, call):
    return f"/v1/capsules/{capsule}/files/{call}"


def write(server, capsule, path, data, call="write"):
    return server.upload(files(capsule, call),
                         [("path", path.encode()), ("file", data)])


def read(server, capsule, path, call="read"):
    return server.call("POST", files(capsule, call), {"path": path})


def listing(server, capsule, path, **more):
    return server.call("POST", files(capsule, "list"),
                       {"path": path, **more})


def shell(server, capsule, line):
    answer = server.call("POST", f"/v1/capsules/{capsule}/exec",
                         {"cmd": "sh", "args": ["-c", line]})
    assert answer.json["exit_code"] == 0, answer.json
    return answer.json["stdout"]


@pytest.mark.parametrize("out", ["read", "stream/read"])
@pytest.mark.parametrize("into", ["write", "stream/write"])
@pytest.mark.parametrize("data", [
    b"", b"\r\n", b"--", b"plain\n", bytes(range(256)) * 4096,
    b"\r\n--" + BOUNDARY.encode()[:-1] + b"!", b"\r\n--\r\n--" * 9000,
])
def test_what_is_written_is_read(server, capsule, into, out, data):
    assert write(server, capsule, "/root/f", data, into).status == 204
    answer = read(server, capsule, "/root/f", out)
    assert (answer.status, answer.body) == (200, data)
    assert answer.headers["Content-Type"] == "application/octet-stream"


def test_commands_see_the_same_files(server, capsule):
    write(server, capsule, "/root/in/a/deep/place", b"words")
    assert shell(server, capsule, "cat ~/in/a/deep/place") == "words"
    shell(server, capsule, "printf back > ~/out")
    assert read(server, capsule, "/root/out").body == b"back"


def test_a_stream_has_no_length_and_a_read_has(server, capsule):
    write(server, capsule, "/tmp/f", b"x" * 1000)
    plain = read(server, capsule, "/tmp/f")
    assert plain.headers["Content-Length"] == "1000"
    stream = read(server, capsule, "/tmp/f", "stream/read")
    assert stream.headers["Content-Length"] is None
    assert stream.headers["Transfer-Encoding"] == "chunked"


def test_writing_replaces_and_follows_links(server, capsule):
    write(server, capsule, "/root/f", b"long text")
    shell(server, capsule, "ln -s f ~/link; ln -s nowhere ~/dangling")
    write(server, capsule, "/root/link", b"x")
    assert read(server, capsule, "/root/f").body == b"x"
    write(server, capsule, "/root/dangling", b"y")
    assert read(server, capsule, "/root/nowhere").body == b"y"


@pytest.mark.parametrize("call", ["write", "stream/write"])
@pytest.mark.parametrize("parts", [
    [("file", b"x"), ("path", b"/root/late")], [("file", b"x")],
    [("path", b"/root/late")], [("path", b""), ("file", b"x")], [],
    [("other", b"x"), ("path", b"/root/late"), ("file", b"x")],
])
def test_the_path_comes_before_the_file(server, capsule, call, parts):
    answer = server.upload(files(capsule, call), parts)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert read(server, capsule, "/root/late").status == 404


@pytest.mark.parametrize("content_type", [
    "application/json", "multipart/form-data", ""])
def test_uploads_must_be_multipart(server, capsule, content_type):
    answer = server.call("POST", files(capsule, "write"), b"x",
                         {"Content-Type": content_type})
    assert (answer.status, answer.code) == (400, "invalid_request")


def test_a_body_without_its_last_boundary_is_refused(server, capsule):
    body = form([("path", b"/root/f"), ("file", b"x" * 1000)])
    answer = server.call(
        "POST", files(capsule, "write"), body[:-40],
        {"Content-Type": "multipart/form-data; boundary=" + BOUNDARY})
    assert (answer.status, answer.code) == (400, "invalid_request")


def test_an_upload_that_breaks_off_leaves_what_came(server, capsule):
    body = form([("path", b"/root/part"), ("file", b"x" * 400000)])
    connection = server.connect()
    connection.putrequest("POST", server.url.path + files(
        capsule, "stream/write"))
    connection.putheader("X-API-Key", server.key)
    connection.putheader("Content-Type",
                         "multipart/form-data; boundary=" + BOUNDARY)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    connection.send(body[:200000])
    eventually(lambda: read(server, capsule, "/root/part").status == 200)
    connection.close()
    row = eventually(lambda: [
        row for row in server.ledger()
        if row["path"].endswith("stream/write") and row["seconds"]])[0]
    assert (row["executed"], row["status"]) == (True, None)
    assert 0 < len(read(server, capsule, "/root/part").body) < 400000


def send_big(server, path, size, chunked):
    """A streamed upload of `size` bytes; returns (status, SHA-256)."""
    head = form([("path", b"/root/big"), ("file", b"")])
    head, tail = head[:head.rindex(b"\r\n--")], head[head.rindex(b"\r\n--"):]
    block = os.urandom(BLOCK)
    digest = hashlib.sha256()

    def body():
        yield head
        for _ in range(size // BLOCK):
            digest.update(block)
            yield block
        yield tail

    headers = {"Content-Type": "multipart/form-data; boundary=" + BOUNDARY}
    if not chunked:
        headers["Content-Length"] = str(len(head) + size + len(tail))
    connection, response = server.open(
        "POST", server.url.path + path, body(), headers)
    response.read()
    connection.close()
    return response.status, digest.hexdigest()


def receive_big(server, path):
    connection, response = server.open(
        "POST", server.url.path + path, {"path": "/root/big"})
    digest = hashlib.sha256()
    while block := response.read(BLOCK):
        digest.update(block)
    connection.close()
    return digest.hexdigest()


def peak_memory(pid):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    raise AssertionError("no VmHWM line")


def test_streams_of_300_mb_in_constant_memory(server, capsule):
    pid = server.ready["pid"]
    before = peak_memory(pid)
    status, sent = send_big(
        server, files(capsule, "stream/write"), BIG, chunked=True)
    assert status == 204
    assert receive_big(server, files(capsule, "stream/read")) == sent
    assert peak_memory(pid) - before < MEMORY_GROWTH_MAX


@pytest.mark.parametrize("chunked", [False, True])
def test_the_plain_upload_ends_at_100_mb(server, capsule, chunked):
    path = files(capsule, "write")
    try:
        status, _ = send_big(server, path, 101 << 20, chunked)
    except (BrokenPipeError, ConnectionResetError):
        status = eventually(lambda: server.ledger()[-1]["status"])
    assert status == 413


def test_413_has_its_code(server, capsule):
    connection = server.connect()
    connection.putrequest("POST", server.url.path + files(capsule, "write"))
    connection.putheader("X-API-Key", server.key)
    connection.putheader("Content-Length", str(200 << 20))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    assert b'"too_large"' in response.read()
    connection.close()


def test_100_mb_just_fit(server, capsule):
    status, _ = send_big(server, files(capsule, "write"), 100 << 20, False)
    assert status == 204


@pytest.mark.parametrize("call, body, status, code", [
    ("read", {"path": "/none"}, 404, "not_found"),
    ("stream/read", {"path": "/none/at/all"}, 404, "not_found"),
    ("read", {"path": "/tmp"}, 400, "invalid_request"),
    ("read", {}, 400, "invalid_request"),
    ("read", {"path": ""}, 400, "invalid_request"),
    ("read", {"path": "/a\0b"}, 400, "invalid_request"),
    ("remove", {"path": "/a\0b"}, 400, "invalid_request"),
    ("list", {"path": "/none"}, 404, "not_found"),
    ("list", {"path": "/root/plain"}, 400, "invalid_request"),
    ("list", {"path": "/", "depth": "x"}, 400, "invalid_request"),
    ("mkdir", {"path": "/root/plain"}, 409, "conflict"),
    ("mkdir", {"path": "/tmp"}, 409, "conflict"),
    ("mkdir", {"path": "/root/plain/below"}, 400, "invalid_request"),
])
def test_refusals(server, capsule, call, body, status, code):
    write(server, capsule, "/root/plain", b"x")
    answer = server.call("POST", files(capsule, call), body)
    assert (answer.status, answer.code) == (status, code)


def test_list_entries(server, capsule):
    write(server, capsule, "/root/d/file", b"12345")
    shell(server, capsule, "cd d; chmod 640 file; ln -s file link; mkdir sub;"
          " touch sub/inner; touch -d @1000000000 file")
    entries = listing(server, capsule, "/root/d").json["entries"]
    assert [e["name"] for e in entries] == ["file", "link", "sub"]
    file, link, sub = entries
    assert file == {
        "name": "file", "path": "/root/d/file", "type": "file", "size": 5,
        "mode": 0o640, "permissions": "-rw-r-----", "owner": "root",
        "group": "root", "modified_at": 1000000000}
    assert (link["type"], link["symlink_target"]) == ("symlink", "file")
    assert (sub["type"], sub["permissions"][0]) == ("directory", "d")
    assert "symlink_target" not in sub
    deep = listing(server, capsule, "/root/d", depth=2).json["entries"]
    assert [e["path"] for e in deep][-1] == "/root/d/sub/inner"
    assert len(deep) == 4


def test_mkdir_and_remove(server, capsule):
    answer = server.call("POST", files(capsule, "mkdir"),
                         {"path": "/root/a/b/c"})
    assert answer.status == 200
    assert (answer.json["entry"]["path"], answer.json["entry"]["type"]) == (
        "/root/a/b/c", "directory")
    write(server, capsule, "/root/a/b/c/f", b"x")
    shell(server, capsule, "ln -s a ~/link")
    for path in ("/root/link", "/root/a", "/root/a"):
        assert server.call("POST", files(capsule, "remove"),
                           {"path": path}).status == 204
        if path == "/root/link":
            assert read(server, capsule, "/root/a/b/c/f").body == b"x"
    assert listing(server, capsule, "/root").json["entries"] == []


@pytest.mark.parametrize("path", [
    "/../../../../../../etc/standin-canary", "/root/up/etc/standin-canary",
    "/root/abs/standin-canary", "/root/loop/x"])
def test_nothing_leads_out_of_a_capsule(server, capsule, path):
    shell(server, capsule, "ln -s ../../../../../.. up; ln -s loop loop;"
          " ln -s /tmp/outside abs")
    write(server, capsule, path, b"escaped")
    assert not os.path.exists("/etc/standin-canary")
    assert not os.path.exists("/tmp/outside")
    inside = "/tmp/outside/standin-canary"
    if path.startswith("/root/abs"):
        assert read(server, capsule, inside).body == b"escaped"


def test_the_root_is_its_own_parent(server, capsule):
    assert write(server, capsule, "/../../root/../../root/f",
                 b"x").status == 204
    assert read(server, capsule, "/root/f").body == b"x"
    shell(server, capsule, "ln -s ../../../../../../root up")
    assert read(server, capsule, "/root/up/f").body == b"x"


def test_capsules_do_not_share_files(server, capsule):
    other = server.create()
    write(server, capsule, "/root/mine", b"x")
    assert read(server, other, "/root/mine").status == 404
    server.call("DELETE", "/v1/capsules/" + other)


def test_files_go_with_their_capsule(server):
    capsule = server.create()
    write(server, capsule, "/root/f", b"x")
    shell(server, capsule, "mkdir shut; touch shut/f; chmod 0 shut")
    root = server.capsule(capsule)["root"]
    assert os.path.isdir(root)
    server.call("DELETE", "/v1/capsules/" + capsule)
    assert not os.path.exists(root)


def test_a_cut_stream_ends_uncleanly(server, capsule):
    write(server, capsule, "/root/f", b"x" * 100000)
    server.fault({"cut_after": 50000})
    with pytest.raises(http.client.IncompleteRead):
        read(server, capsule, "/root/f", "stream/read")
