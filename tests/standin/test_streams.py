"""The WebSockets of commands, at the plain listener and behind the edge."""
import asyncio
import json
import time

import aiohttp
import pytest

from .conftest import KEYS
from .harness import Standin, alive, eventually
from .test_api import UNKNOWN, token_of
from .wsprobe import CLOSE, CONTINUATION, PING, PONG, TEXT, Link

TIMEOUT = 30
WAIT_FOR = "until test -e {}; do sleep 0.01; done; "


def exec_path(capsule):
    return f"/v1/capsules/{capsule}/exec/stream"


def process_path(capsule, selector):
    return f"/v1/capsules/{capsule}/processes/{selector}/stream"


def talk(link, steps, key=None):
    """Runs steps(connect) with a client of aiohttp; connect(path, headers)
    is a WebSocket to be entered."""
    async def run():
        headers = {} if key == "" else {"X-API-Key": key or link.server.key}
        async with aiohttp.ClientSession(headers=headers) as session:
            def connect(path, **options):
                return session.ws_connect(link.url + path, ssl=link.context,
                                          max_msg_size=0, **options)

            return await asyncio.wait_for(steps(connect), TIMEOUT)

    return asyncio.run(run())


async def rest(ws):
    """All events to the end of the connection, which has no close frame."""
    events = [json.loads(message.data) async for message in ws]
    assert ws.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE
    return events


def say(link, path, *messages, key=None, headers=None):
    """Sends these at once; all events of the answer."""
    async def steps(connect):
        async with connect(path, headers=headers) as ws:
            for message in messages:
                if isinstance(message, bytes):
                    await ws.send_bytes(message)
                elif isinstance(message, str):
                    await ws.send_str(message)
                else:
                    await ws.send_json(message)
            return await rest(ws)

    return talk(link, steps, key)


def start(cmd, *args):
    return {"type": "start", "cmd": cmd, "args": args}


def shell(line):
    return start("sh", "-c", line)


def run(link, capsule, line):
    return say(link, exec_path(capsule), shell(line))


def joined(events, name):
    return "".join(e["data"] for e in events if e["type"] == name)


def error(text):
    return [{"type": "error", "data": text}]


def background(server, capsule, line, tag):
    answer = server.call("POST", f"/v1/capsules/{capsule}/exec", {
        "cmd": "sh", "args": ["-c", line], "background": True, "tag": tag})
    assert answer.status == 202
    return answer.json["pid"]


def touch(server, capsule, name):
    assert server.upload(f"/v1/capsules/{capsule}/files/write", [
        ("path", f"/root/{name}".encode()), ("file", b"")]).status == 204


def is_file(server, capsule, name):
    return server.call("POST", f"/v1/capsules/{capsule}/files/read",
                       {"path": "/root/" + name}).status == 200


def processes(server, capsule):
    path = f"/v1/capsules/{capsule}/processes"
    return server.call("GET", path).json["processes"]


def ended(server, n=-1):
    """The `end` in the ledger of the last stream, once it has one."""
    def row():
        rows = [row for row in server.ledger() if row["stream"]]
        return rows[n] if rows[n]["seconds"] is not None else None

    return eventually(row)["stream"]["end"]


def test_events_in_order(link, capsule):
    events = run(link, capsule, "echo out; echo err >&2; exit 7")
    assert events[0] == {"type": "start", "pid": events[0]["pid"]}
    assert sorted(e["type"] for e in events[1:3]) == ["stderr", "stdout"]
    assert joined(events, "stdout") == "out\n"
    assert joined(events, "stderr") == "err\n"
    assert events[3:] == [{"type": "exit", "exit_code": 7}]


def test_what_the_ledger_says(server, link, capsule):
    events = run(link, capsule, "echo out")
    assert ended(server) == "exit"
    row = server.ledger()[-1]
    assert (row["status"], row["executed"], row["auth"], row["capsule"]) == (
        101, True, "api_key", capsule)
    assert row["via"] == ("edge" if link.tls else "plain")
    stream = row["stream"]
    size = stream.pop("bytes")
    assert size == sum(
        2 + len(json.dumps(e, separators=(",", ":"))) + 1 for e in events)
    assert stream == {"pid": events[0]["pid"], "messages": 3, "missed": 0,
                      "end": "exit"}


def test_arguments_are_no_shell_words(link, capsule):
    events = say(link, exec_path(capsule),
                 start("printf", "%s|", "$HOME", "a b", "*", "é", "<&>"))
    assert joined(events, "stdout") == "$HOME|a b|*|é|<&>|"


@pytest.mark.parametrize("cmd, code", [
    ("nosuch", 127), ("/nosuch", 127), ("/etc/passwd", 126)])
def test_a_program_that_cannot_start_is_an_exit_code(
        plain, capsule, cmd, code):
    events = say(plain, exec_path(capsule), start(cmd))
    assert events[0]["type"] == "start"
    text = joined(events, "stderr")
    assert "nice: " in text and cmd in text
    assert events[-1] == {"type": "exit", "exit_code": code}


def test_arguments_that_no_program_can_have_end_it_silently(
        server, plain, capsule):
    assert say(plain, exec_path(capsule), start("echo", "a\0b")) == []
    assert ended(server) == "gone"
    assert server.ledger()[-1]["executed"] is False


def test_killed_by_a_signal_is_minus_one(plain, capsule):
    assert run(plain, capsule, "kill -9 $$")[-1] == {
        "type": "exit", "exit_code": -1}


@pytest.mark.parametrize("octal, text", [
    (r"a\377b", "a\ufffdb"), (r"\342\202", "\ufffd\ufffd"),
    (r"\355\240\200", "\ufffd\ufffd\ufffd"), (r"\0\t\033", "\0\t\x1b"),
    (r"\342\200\250", "\u2028")])
def test_each_bad_byte_is_a_replacement(plain, capsule, octal, text):
    events = run(plain, capsule, f"printf '{octal}'")
    assert joined(events, "stdout") == text


def test_a_character_split_over_chunks_is_damaged(server, link, capsule):
    async def steps(connect):
        async with connect(exec_path(capsule)) as ws:
            await ws.send_json(shell(
                r"printf 'a\303';" + WAIT_FOR.format("go") + r"printf '\251'"))
            first = [await ws.receive_json() for _ in range(2)]
            touch(server, capsule, "go")
            return first + await rest(ws)

    data = [e["data"] for e in talk(link, steps) if e["type"] == "stdout"]
    assert data == ["a\ufffd", "\ufffd"]


def test_large_output_is_whole(link, capsule):
    line = "head -c 8000000 /dev/zero | tr '\\0' x; echo end >&2"
    events = run(link, capsule, line)
    assert joined(events, "stdout") == "x" * 8000000
    assert max(len(e.get("data", "")) for e in events) <= 32768
    assert joined(events, "stderr") == "end\n"
    assert events[-1] == {"type": "exit", "exit_code": 0}


def test_stop_ends_the_stream_and_not_the_process(server, link, capsule):
    async def steps(connect):
        async with connect(exec_path(capsule)) as ws:
            await ws.send_json(start("sleep", "60"))
            pid = (await ws.receive_json())["pid"]
            await ws.send_str("not for you")
            await ws.send_json({"type": "stop"})
            return pid, await rest(ws)

    pid, events = talk(link, steps)
    assert events == [] and ended(server) == "stop"
    assert processes(server, capsule) == [
        {"pid": pid, "cmd": "sleep", "args": ["60"]}]
    assert all(alive(p) for p in server.capsule(capsule)["pids"])
    path = f"/v1/capsules/{capsule}/processes/{pid}"
    assert server.call("DELETE", path).status == 204
    eventually(lambda: not processes(server, capsule))


def test_a_process_outlives_its_client(server, link, capsule):
    async def steps(connect):
        ws = await connect(exec_path(capsule))
        await ws.send_json(start("sleep", "60"))
        return await ws.receive_json()

    pid = talk(link, steps)["pid"]
    assert ended(server) == "client"
    assert processes(server, capsule)[0]["pid"] == pid


def test_a_clients_close_is_answered(link, capsule):
    async def steps(connect):
        async with connect(exec_path(capsule)) as ws:
            await ws.send_json(start("sleep", "60"))
            await ws.receive_json()
            await ws.close(code=3001)
            return ws.close_code

    assert talk(link, steps) == 3001


@pytest.mark.parametrize("message", [
    "{", "[]", "", {"type": "start", "cmd": 1},
    {"type": "start", "cmd": "echo", "args": "x"}])
def test_a_start_that_cannot_be_read(server, link, capsule, message):
    events = say(link, exec_path(capsule), message)
    assert events[0]["data"].startswith("failed to read start message: ")
    assert len(events) == 1 and ended(server) == "error"
    assert server.ledger()[-1]["executed"] is False


@pytest.mark.parametrize("message", [
    {"type": "stop"}, {"cmd": "echo"}, {"type": "start"},
    {"type": "start", "cmd": ""}])
def test_a_first_message_that_is_no_start(plain, capsule, message):
    assert say(plain, exec_path(capsule), message) == error(
        "first message must be type 'start' with a 'cmd' field")


def test_a_start_as_bytes(plain, capsule):
    message = json.dumps(start("echo", "hi")).encode()
    events = say(plain, exec_path(capsule), message)
    assert joined(events, "stdout") == "hi\n"


def test_errors_come_behind_the_upgrade(server, link, capsule):
    assert say(link, exec_path(UNKNOWN)) == error("sandbox not found")
    assert say(link, exec_path(capsule), key=KEYS[1]) == error(
        "sandbox not found")
    assert say(link, process_path(UNKNOWN, 1)) == error("sandbox not found")
    server.call("POST", f"/v1/capsules/{capsule}/pause")
    message = "sandbox is not running (status: paused)"
    assert say(link, exec_path(capsule)) == error(message)
    assert say(link, process_path(capsule, 1)) == error(message)
    assert [(row["status"], row["executed"]) for row in server.ledger()
            if row["stream"]] == [(101, False)] * 5


def test_errors_that_come_before_the_upgrade(server, link, capsule, probe):
    assert probe(link, exec_path("cl-x")).status == 400
    row = server.ledger()[-1]
    assert (row["status"], row["executed"]) == (400, False)
    answer = server.call("GET", exec_path(capsule))
    assert answer.status == 400
    row = server.ledger()[-1]
    assert (row["status"], row["executed"], row["stream"]) == (
        400, False, None)


def test_bad_credentials(server, link, capsule):
    key = "wrn_" + "z" * 32
    for bad in (key, ""):
        assert say(link, exec_path(capsule), start("true"), key=bad) == error(
            "authentication failed")
    assert [row["auth"] for row in server.ledger()[-2:]] == ["bad", "bad"]
    assert say(link, exec_path(capsule), {"type": "auth", "token": "x.y.z"},
               key="") == error("authentication failed")


def test_a_token_as_header_or_as_first_message(server, link, capsule):
    token = token_of(server)
    events = say(link, exec_path(capsule), start("true"), key="",
                 headers={"Authorization": "Bearer " + token})
    assert events[-1]["exit_code"] == 0
    events = say(link, exec_path(capsule), {"type": "auth", "token": token},
                 start("true"), key="")
    assert events[-1]["exit_code"] == 0
    ended(server)
    row = server.ledger()[-1]
    assert (row["auth"], row["team"]) == ("jwt", server.ready["teams"][0])


def test_connecting_to_a_process(server, link, capsule):
    line = ("echo early; touch told;" + WAIT_FOR.format("go")
            + "echo late; exit 5")
    pid = background(server, capsule, line, "web")
    eventually(lambda: is_file(server, capsule, "told"))

    async def steps(connect):
        async with connect(process_path(capsule, pid)) as one, connect(
                process_path(capsule, "web")) as two:
            for ws in (one, two):
                assert await ws.receive_json() == {"type": "start", "pid": pid}
            await one.send_json({"type": "stop"})
            touch(server, capsule, "go")
            return [await rest(ws) for ws in (one, two)]

    events = talk(link, steps)
    assert events == [[{"type": "stdout", "data": "late\n"},
                       {"type": "exit", "exit_code": 5}]] * 2
    assert ended(server, -1) == ended(server, -2) == "exit"


def test_a_streamed_command_is_a_process_to_connect_to(
        server, plain, capsule):
    async def steps(connect):
        async with connect(exec_path(capsule)) as first:
            await first.send_json(shell(WAIT_FOR.format("go") + "echo hi"))
            pid = (await first.receive_json())["pid"]
            async with connect(process_path(capsule, pid)) as second:
                await second.receive_json()
                touch(server, capsule, "go")
                return await rest(first), await rest(second)

    first, second = talk(plain, steps)
    assert first == second and joined(first, "stdout") == "hi\n"


@pytest.mark.parametrize("selector", ["99999", "nosuch", "77", "4294967297"])
def test_an_unknown_process_is_a_silent_end(
        server, link, capsule, selector):
    background(server, capsule, "sleep 60", "77")
    assert say(link, process_path(capsule, selector)) == []
    assert ended(server) == "gone"
    row = server.ledger()[-1]
    assert (row["status"], row["executed"]) == (101, False)
    answer = server.call(
        "DELETE", f"/v1/capsules/{capsule}/processes/{selector}")
    kind = "pid" if selector in ("99999", "77") else "tag"
    assert (answer.status, answer.message) == (
        404, "not_found: kill process: not_found: process with "
        f"{kind} {selector} not found")


def test_exit_waits_for_whoever_holds_the_output(
        server, link, capsule, probe):
    ws = probe(link, exec_path(capsule))
    ws.shell("(" + WAIT_FOR.format("go") + "echo late) & exit 3")
    pid = ws.event()["pid"]
    eventually(lambda: not processes(server, capsule))
    assert say(link, process_path(capsule, pid)) == []
    touch(server, capsule, "go")
    assert ws.event() == {"type": "stdout", "data": "late\n"}
    assert ws.event() == {"type": "exit", "exit_code": 3}


@pytest.mark.parametrize("how", ["pause", "destroy", "missing"])
def test_a_capsule_that_ceases_to_run_ends_its_streams(
        server, link, capsule, how):
    pid = background(server, capsule, "sleep 60", "web")

    async def steps(connect):
        async with connect(exec_path(capsule)) as one, connect(
                process_path(capsule, pid)) as two:
            await one.send_json(start("sleep", "60"))
            for ws in (one, two):
                await ws.receive_json()
            if how == "pause":
                server.call("POST", f"/v1/capsules/{capsule}/pause")
            elif how == "destroy":
                server.call("DELETE", f"/v1/capsules/{capsule}")
            else:
                server.admin("POST", "/capsules/" + capsule,
                             {"status": "missing"})
            return [await rest(ws) for ws in (one, two)]

    assert talk(link, steps) == [[], []]
    assert ended(server, 0) == ended(server, 1) == "gone"


def test_a_process_goes_on_after_a_pause(server, plain, capsule):
    async def steps(connect):
        async with connect(exec_path(capsule)) as ws:
            await ws.send_json(shell(WAIT_FOR.format("go") + "echo on"))
            pid = (await ws.receive_json())["pid"]
            server.call("POST", f"/v1/capsules/{capsule}/pause")
            assert await rest(ws) == []
        server.call("POST", f"/v1/capsules/{capsule}/resume")
        async with connect(process_path(capsule, pid)) as ws:
            await ws.receive_json()
            touch(server, capsule, "go")
            return await rest(ws)

    assert joined(talk(plain, steps), "stdout") == "on\n"


def test_a_pause_before_the_start_is_told(server, plain, capsule, probe):
    ws = probe(plain, exec_path(capsule))
    server.call("POST", f"/v1/capsules/{capsule}/pause")
    ws.shell("true")
    assert ws.event() == error("sandbox is not running (status: paused)")[0]


def test_the_start_is_activity_and_the_upgrade_is_not(
        server, plain, capsule, probe):
    def idle():
        return time.time() - server.capsule(capsule)["last_active"]

    server.admin("POST", "/capsules/" + capsule, {"idle_for": 1000})
    ws = probe(plain, exec_path(capsule))
    eventually(lambda: server.ledger()[-1]["status"] == 101)
    assert idle() > 500
    ws.start("sleep", "60")
    pid = ws.event()["pid"]
    assert idle() < 500
    server.admin("POST", "/capsules/" + capsule, {"idle_for": 1000})
    probe(plain, process_path(capsule, pid)).event()
    assert idle() < 500


def test_a_stream_does_not_keep_its_capsule_awake(
        server, plain, capsule, probe):
    ws = probe(plain, exec_path(capsule))
    ws.start("sleep", "60")
    ws.event()
    server.admin("POST", "/capsules/" + capsule,
                 {"timeout_sec": 1000, "idle_for": 2000})
    with pytest.raises(EOFError):
        ws.frame()
    assert server.capsule(capsule)["status"] == "paused"


def test_the_end_of_the_standin_is_theirs(tmp_path, probe):
    with open(tmp_path / "stderr", "w") as stderr:
        own = Standin(stderr=stderr)
    try:
        capsule = own.create()
        streams = [probe(Link(own, False), exec_path(capsule))
                   for _ in range(2)]
        streams[0].start("cat", "/dev/zero")
        streams[0].event()
        pids = own.capsule(capsule)["pids"]
    finally:
        own.stop()
    assert own.process.returncode == 0
    with pytest.raises(EOFError):
        streams[1].frame()
    assert not any(alive(pid) for pid in pids)
    assert (tmp_path / "stderr").read_text() == ""


@pytest.mark.parametrize("size, sizes", [
    (100, [100]), (4082, [4082]), (4083, [4082, 1]), (8192, [4082, 4082, 28]),
    (8193, [8193, 0]), (30000, [30000, 0])])
def test_long_messages_come_in_pieces(link, capsule, probe, size, sizes):
    ws = probe(link, exec_path(capsule))
    assert ws.status == 101 and ws.accepted
    around = len('{"type":"stdout","data":""}\n')
    # One write, and so one chunk.
    ws.shell(f"head -c {size - around} /dev/zero | tr '\\0' x >f;"
             "exec dd if=f bs=32768 status=none")
    ws.event()
    frames = ws.message()
    assert [len(payload) for _, _, payload in frames] == sizes
    assert [opcode for _, opcode, _ in frames] == [TEXT] + (
        [CONTINUATION] * (len(sizes) - 1))
    assert ws.event()["type"] == "exit"
    with pytest.raises(EOFError):
        ws.frame()


def test_the_spelling_is_that_of_go(plain, capsule, probe):
    ws = probe(plain, exec_path(capsule))
    ws.shell(r"printf '<&>\377é\n'")
    assert ws.frame()[2].startswith(b'{"type":"start","pid":')
    assert ws.frame()[2] == (
        '{"type":"stdout","data":"\\u003c\\u0026\\u003e\\ufffdé\\n"}\n'
    ).encode()
    assert ws.frame()[2] == b'{"type":"exit","exit_code":0}\n'


def test_pings_are_answered_and_none_are_sent(link, capsule, probe):
    ws = probe(link, exec_path(capsule))
    for payload in (b"", b"before the start"):
        ws.send(PING, payload)
        assert ws.frame() == (True, PONG, payload)
    ws.start("sleep", "60")
    ws.event()
    ws.send(PING, b"behind it")
    assert ws.frame() == (True, PONG, b"behind it")
    ws.send(CLOSE)
    assert ws.frame() == (True, CLOSE, b"")
    with pytest.raises(EOFError):
        ws.frame()


def test_who_lags_misses_chunks_and_keeps_nobody_waiting(
        server, link, capsule, probe):
    ws = probe(link, exec_path(capsule), receive_buffer=4096)
    # Small writes, so that what is kept for the reader is small too.
    ws.start("dd", "if=/dev/zero", "bs=64", "status=none")

    def missed():
        return server.ledger()[-1]["stream"]["missed"]

    eventually(missed, timeout=20)
    before = missed()
    eventually(lambda: missed() > before)
    pid = ws.event()["pid"]
    assert set(ws.event()["data"]) == {"\0"}
    server.call("DELETE", f"/v1/capsules/{capsule}/processes/{pid}")
    eventually(lambda: not processes(server, capsule))
    ws.close()
    assert ended(server) == "client"
