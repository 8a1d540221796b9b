"""HTTP/2 frame by frame: what the server may do wrong, and what it may do.

Whatever happens, a request that must not be repeated is carried out once at
most, the caller learns the right one of three outcomes, the other streams go
on, and nothing is left over.
"""
import asyncio
import dataclasses
import json
import random
import typing

import pytest
from hpack import NeverIndexedHeaderTuple

from frames import faults, frame
from frames.faults import (
    ANSWERED, ARRIVED, EXECUTED, HALF, HEADERS, WHOLE, at, cut, data, deaf, fields,
    goaway, harmless, held, late_reset, mute, repeat, reset, spoil, torn)
from frames.server import FrameServer
from testenv.client import RpcError, until
from testenv.daemon import Daemon
from testenv.expect import fails
from testenv.paths import SANITIZED

TARGET, OTHER, WARM = ("cl-" + c * 25 for c in "tow")
MIB = 1 << 20
REFUSED_STREAM = 7
CODES = (*range(14), 0x1234)


@dataclasses.dataclass
class Call:
    """A method as the tests call it, and its request upstream."""

    method: str
    params: dict
    http: str
    path: str
    idempotent: bool
    good: typing.Callable = lambda answer: True


EXEC = Call("exec.run", {"capsule": TARGET, "cmd": "token"}, "POST",
            f"/v1/capsules/{TARGET}/exec", False, lambda a: a["stdout"] == "token\n")
# More than a window of 64 KiB takes.
LARGE = dataclasses.replace(EXEC, params={**EXEC.params, "args": ["x" * 100000] * 3})
GET = Call("capsule.get", {"capsule": TARGET}, "GET", f"/v1/capsules/{TARGET}", True,
           lambda a: a["id"] == TARGET)
PING = Call("capsule.ping", {"capsule": TARGET}, "POST", f"/v1/capsules/{TARGET}/ping", True,
            lambda a: a == {})
CREATE = Call("capsule.create", {}, "POST", "/v1/capsules", False,
              lambda a: a["status"] == "running")
DESTROY = Call("capsule.destroy", {"capsule": TARGET}, "DELETE", f"/v1/capsules/{TARGET}", True)
EVERY = (EXEC, LARGE, GET, PING, CREATE, DESTROY)


@dataclasses.dataclass
class Seen:
    """What became of a call, here and at the server."""

    call: Call
    answer: typing.Any
    error: typing.Optional[str]
    requests: list

    @property
    def executed(self):
        return sum(r.executed for r in self.requests)

    @property
    def count(self):
        return len(self.requests)

    def succeeded(self, count):
        assert self.error is None and self.call.good(self.answer), self
        assert self.count == count and self.executed >= 1, self


def make(client, frames, call):
    """Makes a call; whatever happens, nothing is carried out twice."""
    answer = error = None
    before = len(frames.requests(path=call.path, method=call.http))
    try:
        answer = client.call(call.method, call.params)
    except RpcError as failed:
        error = failed.name
    seen = Seen(call, answer, error, frames.requests(
        path=call.path, method=call.http)[before:])
    assert call.idempotent or seen.executed <= 1, seen
    if error == "unreachable" and not call.idempotent:
        assert seen.executed == 0, seen
    return seen


# ---- calls that get nowhere, which end while the other tests run ----

async def trickle(stream):
    """A byte of the answer a second."""
    await stream.advance(HEADERS)
    stream.reply = b" " * 60
    while True:
        stream.data(b" ")
        await asyncio.sleep(1)


async def announce(stream):
    """A promise of an answer every two seconds."""
    await stream.advance(WHOLE)
    while True:
        stream.headers([(":status", "103")])
        await asyncio.sleep(2)


STUCK = {
    "window-closed": at(ARRIVED, deaf, then=ANSWERED),
    "no-answer": at(WHOLE, held),
    "no-body": at(HEADERS, held),
    "trickle": trickle,
    "announcements": announce,
}


@pytest.fixture(scope="module", autouse=True)
def stuck(tmp_path_factory):
    """Calls of a daemon of their own: (server, client, {name: id})."""
    server = FrameServer()
    daemon = Daemon(tmp_path_factory.mktemp("stuck"), server).start()
    numbers = {}
    client = daemon.client()
    for name, fault in STUCK.items():
        server.script(fault, path="/exec")
        numbers[name] = client.send("exec.run", {**LARGE.params, "timeout_sec": 1})
        until(lambda: len(server.requests(path="/exec")) == len(numbers))
    yield server, client, numbers
    client.close()
    daemon.remove()
    server.stop()


# ---- the outcomes ----

def answered(seen):
    seen.succeeded(1)


def resent(seen):
    """Not processed the first time, whichever method."""
    seen.succeeded(2)
    assert seen.call.idempotent or seen.executed == 1, seen


def lost(seen):
    """Sent, and what came of it is not known."""
    if seen.call.idempotent:
        seen.succeeded(2)
    else:
        assert (seen.error, seen.count) == ("outcome_unknown", 1), seen


def either(seen):
    """Any of the three, as long as it is true."""
    if seen.error is None:
        assert seen.call.good(seen.answer) and seen.executed >= 1, seen
    else:
        assert not seen.call.idempotent, seen
        assert seen.error in ("outcome_unknown", "unreachable"), seen


def error(name):
    def check(seen):
        assert (seen.error, seen.count) == (name, 1), seen

    return check


def test_stuck_calls_hold_up_nobody(stuck):
    server, client, _ = stuck
    answered(make(client, server, LARGE))
    answered(make(client, server, GET))
    assert len(server.connections) == 1


# ---- the others on the connection ----

STAY = "stay"  # they are answered on it
FALL = "fall"  # they are sent again on another
ANY = "any"


@dataclasses.dataclass
class Row:
    name: str
    fault: typing.Callable
    outcome: typing.Callable
    others: str = STAY
    calls: tuple = (EXEC, GET)
    memory: int = 8 * MIB


def rows(*made):
    return pytest.mark.parametrize("row", [pytest.param(r, id=r.name) for r in made])


@pytest.fixture
def wrennd(frames, make_daemon):
    return make_daemon(frames).start()


def check_row(frames, daemon, row):
    """The fault for each call of the row, while another request waits."""
    with daemon.client() as client:
        client.call("capsule.get", {"capsule": WARM})
        descriptors, memory = daemon.descriptors(), daemon.rss()
        frames.script(at(WHOLE, held, then=ANSWERED), path=OTHER, count=-1)
        other = client.send("capsule.get", {"capsule": OTHER})
        until(lambda: frames.requests(path=OTHER))
        for call in row.calls:
            frames.script(row.fault, path=call.path + "$", method=call.http)
            row.outcome(make(client, frames, call))
        frames.release()
        assert client.wait(other)["id"] == OTHER
        count = len(frames.requests(path=OTHER))
        assert row.others == ANY or (count == 1) == (row.others == STAY), count
        answered(make(client, frames, EXEC))
        until(lambda: daemon.descriptors() <= descriptors, deadline=5)
        if not SANITIZED:
            assert daemon.peak_rss() - memory <= row.memory
    assert not frames.violations()


def test_a_request(frames, wrennd):
    with wrennd.client() as client:
        for call in EVERY:
            answered(make(client, frames, call))
    authority = frames.ready["tls_url"].split("/")[2]
    for request in frames.requests():
        secret = [f for f in request.fields if f[0] == "x-api-key"]
        # Not to be kept in a compression table by anybody on the way.
        assert [type(f) for f in secret] == [NeverIndexedHeaderTuple]
        assert request.authority == authority
        assert request.fields.count((":scheme", "https")) == 1
    assert len(frames.connections) == 1 and not frames.violations()


KINDS = [
    Row("refused", at(WHOLE, reset(REFUSED_STREAM)), resent, calls=EVERY),
    Row("before-ours", at(WHOLE, goaway(lambda i: i - 2)), resent, calls=EVERY),
    Row("reset", at(EXECUTED, reset(2)), lost, calls=EVERY),
    Row("cut", at(EXECUTED, cut("fin")), lost, FALL, calls=EVERY[:3]),
    Row("cut-too", at(EXECUTED, cut("fin")), lost, FALL, calls=EVERY[3:]),
]


@rows(*KINDS)
def test_each_kind_of_call(frames, wrennd, row):
    check_row(frames, wrennd, row)


# ---- RST_STREAM ----

def reset_rows():
    for code in CODES:
        for stage in (EXECUTED, HEADERS, HALF):
            unprocessed = code == REFUSED_STREAM and stage == EXECUTED
            # What was refused was not executed.
            yield Row(f"{code}-{stage.name.lower()}",
                      at(WHOLE if unprocessed else stage, reset(code)),
                      resent if unprocessed else lost)


@rows(*reset_rows())
def test_reset(frames, wrennd, row):
    check_row(frames, wrennd, row)


@pytest.mark.parametrize("call", [EXEC, GET], ids=lambda c: c.method)
def test_refused_for_ever(frames, wrennd, call):
    frames.script(at(WHOLE, reset(REFUSED_STREAM)), path=call.path, count=-1)
    with wrennd.client() as client:
        seen = make(client, frames, call)
    assert seen.error == "unreachable" and seen.executed == 0 and 1 < seen.count <= 4, seen
    assert len(frames.connections) == 1 and not frames.violations()


# ---- GOAWAY ----

def before_ours(stream):
    return stream - 2


def ours(stream):
    return stream


def goaway_rows():
    for code in (0, 11, 1):  # NO_ERROR, ENHANCE_YOUR_CALM, PROTOCOL_ERROR
        yield Row(f"none-{code}", at(WHOLE, goaway(0, code)), resent, FALL)
        yield Row(f"none-closed-{code}", at(WHOLE, goaway(0, code), cut("tls")), resent, FALL)
        yield Row(f"before-ours-{code}", at(WHOLE, goaway(before_ours, code)), resent)
        yield Row(f"ours-{code}", at(WHOLE, goaway(ours, code), then=ANSWERED), answered)
        yield Row(f"ours-half-{code}", at(HALF, goaway(ours, code), then=ANSWERED), answered)
        yield Row(f"ours-cut-{code}", at(EXECUTED, goaway(ours, code), cut("fin")), lost, FALL)
        yield Row(f"all-{code}", at(WHOLE, goaway(frame.LAST_STREAM, code), then=ANSWERED),
                  answered)
        yield Row(f"all-cut-{code}", at(EXECUTED, goaway(frame.LAST_STREAM, code), cut("fin")),
                  lost, FALL)
    graceful = goaway(frame.LAST_STREAM)
    yield Row("graceful-ours", at(WHOLE, graceful, goaway(ours), then=ANSWERED), answered)
    yield Row("graceful-before-ours", at(WHOLE, graceful, goaway(before_ours)), resent)
    yield Row("twice", at(WHOLE, goaway(ours), goaway(ours), then=ANSWERED), answered)
    yield Row("lowered", at(WHOLE, goaway(ours), goaway(before_ours)), resent)
    # Against the rules: what was given up is not taken back.
    yield Row("raised", at(WHOLE, goaway(before_ours), goaway(ours)), resent, ANY)
    yield Row("with-text", at(WHOLE, harmless(frame.goaway(0, 2, b"\x1b[31m" * 1000))),
              resent, FALL)


@rows(*goaway_rows())
def test_goaway(frames, wrennd, row):
    check_row(frames, wrennd, row)


def test_after_goaway_calls_open_a_new_connection_at_once(frames, wrennd):
    frames.script(at(WHOLE, goaway(ours), held, then=ANSWERED), path=OTHER)
    with wrennd.client() as client:
        other = client.send("capsule.get", {"capsule": OTHER})
        until(lambda: frames.requests(path=OTHER))
        for _ in range(3):
            answered(make(client, frames, EXEC))
        frames.release()
        assert client.wait(other)["id"] == OTHER
    assert {r.connection for r in frames.requests(path="/exec")} == {2}
    assert {r.connection for r in frames.requests(path=OTHER)} == {1}
    until(lambda: frames.connections[0].ended)
    assert not frames.violations()


def test_goaway_every_three_requests(frames, wrennd):
    """No call fails, and none is carried out twice."""
    async def tired(stream):
        if stream.id >= 5:
            stream.connection.goaway(5)
        await stream.advance(ANSWERED)

    frames.script(tired, count=-1)
    with wrennd.client() as client:
        for i in range(0, 100, 2):
            finish(client, start(client, 2, i))
    assert len(frames.requests(executed=True)) == 100
    assert len(frames.connections) >= 33
    assert not frames.violations()


def test_goaway_while_idle(frames, wrennd):
    with wrennd.client() as client:
        answered(make(client, frames, EXEC))
        frames.do(frames.connections[0].goaway, 1)
        until(lambda: frames.connections[0].ended)
        answered(make(client, frames, EXEC))
    assert wrennd.call("daemon.status")["upstream"]["retries"] == 0
    assert not frames.violations()


def test_goaway_as_calls_come(frames, wrennd):
    """Whichever is first, each is carried out exactly once."""
    def leave():
        connection = frames.connections[frames.ledger[-1].connection - 1]
        connection.goaway(max(connection.streams))

    with wrennd.client() as client:
        finish(client, start(client, 4))
        for i in range(4, 120, 4):
            started = start(client, 4, i)
            frames.do(leave)
            finish(client, started)
    assert len(frames.requests(executed=True)) == 120
    assert not frames.violations()


# ---- ends of the connection ----

def cut_rows():
    for how in ("fin", "tls", "rst"):
        yield Row(f"{how}-in-request", at(ARRIVED, deaf, await_window_used, cut(how)),
                  lost, FALL, calls=(LARGE,))
        for stage in (WHOLE, EXECUTED, HEADERS, HALF):
            yield Row(f"{how}-{stage.name.lower()}", at(stage, cut(how)), lost, FALL)
    for how in ("fin", "tls"):
        # An RST may overtake the answer.
        yield Row(f"{how}-answered", at(ANSWERED, cut(how)), answered, FALL)
    yield Row("in-frame", at(HALF, harmless(frame.frame(frame.DATA, 1, 0, b"", 9)[:7]),
                             cut("fin")), lost, FALL)
    yield Row("in-tls-record", at(EXECUTED, lambda s: torn(
        frame.headers(s.id, [(":status", "204")], frame.END_STREAM))(s)), lost, FALL)


async def await_window_used(stream):
    """Until as much of the body has come as there was room for."""
    await stream.until(lambda: len(stream.body) >= 65535)


@rows(*cut_rows())
def test_cut(frames, wrennd, row):
    check_row(frames, wrennd, row)


def test_cut_before_the_body(frames, wrennd):
    """The headers have come, and no window lets the body out: nothing that
    could be carried out was sent."""
    frames.settings = {frame.INITIAL_WINDOW_SIZE: 0}
    with wrennd.client() as client:
        client.call("capsule.get", {"capsule": WARM})
        until(lambda: frames.connections[0].settings_acks)
        frames.settings = {}
        frames.script(at(ARRIVED, cut("fin")), path="/exec")
        resent(make(client, frames, EXEC))
    assert not frames.violations()


@pytest.mark.parametrize("how", ["fin", "tls", "rst"])
def test_cut_while_idle(frames, wrennd, how):
    with wrennd.client() as client:
        answered(make(client, frames, EXEC))
        descriptors = wrennd.descriptors()
        frames.do(frames.connections[0].wire.cut, how)
        until(lambda: wrennd.descriptors() < descriptors, deadline=5)
        answered(make(client, frames, EXEC))
        assert wrennd.descriptors() == descriptors
    assert wrennd.call("daemon.status")["upstream"]["retries"] == 0


def test_cut_as_a_call_comes(frames, wrennd):
    """The race of a pooled connection: whoever wins, the truth is told."""
    with wrennd.client() as client:
        answered(make(client, frames, EXEC))
        for how in ("fin", "tls", "rst") * 3:
            frames.do(frames.connections[-1].wire.cut, how)
            either(make(client, frames, EXEC))
        answered(make(client, frames, GET))


# ---- beginnings of the connection ----

# What is found dead, and when, where nothing comes.
QUICK_PINGS = "ping_after = 300ms\nping_timeout = 300ms\n"

NOT_SENT = {
    "accept-fin": faults.cut_at_accept("fin"),
    "accept-rst": faults.cut_at_accept("rst"),
    "in-handshake": faults.cut_in_handshake,
    "torn-handshake": faults.torn_handshake,
    "no-tls": faults.no_tls,
    "goaway-at-once": faults.goaway_at_once(0, 0),
    "calm-at-once": faults.goaway_at_once(0, 11),
}
# The request may have gone out together with the end of the handshake.
MAYBE_SENT = {
    "nothing-fin": faults.greeting(b"", "fin"),
    "nothing-tls": faults.greeting(b"", "tls"),
    "nothing-rst": faults.greeting(b"", "rst"),
    "settings-fin": faults.greeting(frame.settings(), "fin"),
    "http-1": faults.greeting(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "garbage": faults.greeting(b"\xde\xad\xbe\xef" * 1000),
    "no-settings-first": faults.greeting(frame.frame(frame.PING, payload=b"8" * 8)),
    "settings-bad-size": faults.greeting(frame.frame(frame.SETTINGS, payload=b"12345")),
    "huge-frame": faults.greeting(b"\xff\xff\xff" * 1000),
}


@pytest.mark.parametrize("call", [EXEC, GET], ids=lambda c: c.method)
@pytest.mark.parametrize("name", [*NOT_SENT, *MAYBE_SENT])
def test_beginning(frames, wrennd, name, call):
    frames.on_connect(NOT_SENT.get(name) or MAYBE_SENT[name])
    with wrennd.client() as client:
        seen = make(client, frames, call)
        if name in NOT_SENT or call.idempotent:
            assert seen.error is None and seen.executed == 1, seen
        else:
            either(seen)
        answered(make(client, frames, call))
    until(lambda: all(c.ended for c in frames.connections[:-1]))
    assert not frames.violations()


@pytest.mark.parametrize("name", [*NOT_SENT, *MAYBE_SENT])
def test_beginning_for_ever(frames, wrennd, name):
    """It is given up, and the server not asked more often than that takes."""
    call = EXEC if name in NOT_SENT else GET
    with wrennd.client() as client:
        client.call("daemon.status")
        descriptors = wrennd.descriptors()
        frames.on_connect(NOT_SENT.get(name) or MAYBE_SENT[name], count=-1)
        seen = make(client, frames, call)
        assert seen.executed == 0, seen
        assert seen.error == "unreachable", seen
        # Each attempt may bring one for those to come, too.
        assert len(frames.connections) <= 8
        until(lambda: wrennd.descriptors() <= descriptors, deadline=5)


@pytest.mark.parametrize("fault", [faults.silent_handshake, faults.greeting(b"")],
                         ids=["handshake", "settings"])
def test_silent_beginning(frames, make_daemon, fault):
    """Nothing ever comes: no longer than connect_timeout and the pings take."""
    daemon = make_daemon(frames, profile="connect_timeout = 300ms\n" + QUICK_PINGS).start()
    frames.on_connect(fault)
    with daemon.client() as client:
        either(make(client, frames, EXEC))
        answered(make(client, frames, EXEC))


# ---- answers that are none ----

OK = (":status", "200")
JSON = ("content-type", "application/json")


def malformed(*pairs):
    """Headers that a body follows."""
    return at(EXECUTED, fields(*pairs), data(b"{}", end=True))


def lying(length):
    return at(EXECUTED, lambda s: s.fields.remove(("content-length", str(len(s.reply)))),
              lambda s: s.fields.append(("content-length", length(len(s.reply)))),
              then=ANSWERED)


ANSWERS = [
    Row("longer-than-said", lying(lambda n: str(n - 1)), lost),
    Row("shorter-than-said", lying(lambda n: str(n + 1)), lost),
    Row("length-of-nothing", lying(lambda n: "0"), lost),
    Row("length-no-number", lying(lambda n: f"{n}x"), lost),
    Row("length-negative", lying(lambda n: "-1"), lost),
    Row("length-huge", lying(lambda n: "9" * 30), lost),
    Row("two-lengths", malformed(OK, ("content-length", "2"), ("content-length", "3")), lost),
    Row("length-and-no-body", at(EXECUTED, fields(OK, ("content-length", "2"), end=True)), lost),
    Row("upper-case", malformed(OK, ("X-Upper", "1")), lost),
    Row("no-status", malformed(JSON), lost),
    Row("status-word", malformed((":status", "abc")), lost),
    Row("status-empty", malformed((":status", "")), lost),
    Row("status-short", malformed((":status", "20")), lost),
    Row("status-long", malformed((":status", "2000")), lost),
    Row("two-status", malformed(OK, (":status", "204")), lost),
    Row("status-last", malformed(JSON, OK), lost),
    Row("pseudo-of-requests", malformed(OK, (":path", "/")), lost),
    Row("pseudo-unknown", malformed(OK, (":magic", "1")), lost),
    Row("connection", malformed(OK, ("connection", "close")), lost),
    Row("keep-alive", malformed(OK, ("keep-alive", "timeout=5")), lost),
    Row("transfer-encoding", malformed(OK, ("transfer-encoding", "chunked")), lost),
    Row("upgrade", malformed(OK, ("upgrade", "h2c")), lost),
    Row("name-empty", malformed(OK, ("", "1")), lost),
    Row("name-with-space", malformed(OK, ("x y", "1")), lost),
    Row("value-with-newline", malformed(OK, ("x", "1\r\nset-cookie: 2")), lost),
    Row("value-with-nul", malformed(OK, ("x", "1\0")), lost),
    Row("status-101", malformed((":status", "101")), lost),
    Row("early-hints-that-end", at(EXECUTED, spoil(
        lambda i: frame.headers(i, [(":status", "103")], frame.END_STREAM))), lost, ANY),
    Row("only-trailers", at(EXECUTED, fields(("x-end", "1"), end=True)), lost),
    Row("trailers-with-status", at(HALF, fields(OK, end=True)), lost),
    Row("trailers-without-end", at(HALF, spoil(
        lambda i: frame.headers(i, [("x-end", "1")]))), lost, ANY),
    Row("no-content-with-body", at(EXECUTED, fields((":status", "204")),
                                   data(b"{}", end=True)), lost, calls=(PING, EXEC)),
    Row("body-before-headers", at(EXECUTED, spoil(
        lambda i: frame.frame(frame.DATA, 0, i, b"{}")), then=ANSWERED), lost, ANY),
]


@rows(*ANSWERS)
def test_answer(frames, wrennd, row):
    check_row(frames, wrennd, row)


# ---- what is allowed, and seldom seen ----

def early(status, *pairs):
    return fields((":status", str(status)), *pairs)


def refusal(stream):
    body = b'{"error":{"code":"forbidden","message":"no"}}'
    stream.headers([(":status", "403"), JSON, ("content-length", str(len(body)))])
    stream.data(body, end=True)


def many_fields(size):
    """Headers of so many bytes as an answer's own."""
    return lambda s: s.fields.extend((f"x-{i}", "y" * 1000) for i in range(size // 1000))


async def byte_by_byte(stream):
    for i in range(len(stream.reply)):
        stream.data(stream.reply[i:i + 1], end=i + 1 == len(stream.reply))


def settings(values):
    return lambda s: s.connection.change_settings(values)


ALLOWED = [
    Row("hints", at(EXECUTED, early(103, ("link", "</x>")), early(100), early(103),
                    then=ANSWERED), answered),
    Row("trailers", at(HALF, lambda s: s.data(s.reply[len(s.reply) // 2:]),
                       fields(("x-end", "1"), end=True)), answered),
    Row("end-apart", at(HALF, lambda s: s.data(s.reply[len(s.reply) // 2:]),
                        data(b"", end=True)), answered),
    Row("no-length", at(EXECUTED, lambda s: s.fields.pop(), then=ANSWERED), answered),
    Row("byte-by-byte", at(HEADERS, byte_by_byte), answered),
    Row("empty-data", at(HEADERS, data(b""), data(b""), then=ANSWERED), answered),
    Row("large-headers", at(EXECUTED, many_fields(60000), then=ANSWERED), answered),
    Row("padding", at(HEADERS, lambda s: s.tell(
        s.connection.h2.send_data, s.reply, True, pad_length=255)), answered),
    Row("reset-behind", at(ANSWERED, late_reset(0)), answered),
    Row("reset-behind-8", at(ANSWERED, late_reset(8)), answered),
    Row("unknown-frame", at(EXECUTED, harmless(
        lambda i: frame.frame(0xfa, 0xff, i, b"?" * 100) + frame.frame(0xfb, 0xff, 0, b"")),
        then=ANSWERED), answered),
    Row("unknown-flags", at(EXECUTED, harmless(
        frame.frame(frame.PING, 0xf6, 0, b"8" * 8)), then=ANSWERED), answered),
    Row("unknown-setting", at(EXECUTED, harmless(frame.settings((0xfafa, 7))),
                              then=ANSWERED), answered),
    Row("altsvc", at(EXECUTED, harmless(
        lambda i: frame.frame(0xa, 0, i, b"\0\0h3=\":1\"")), then=ANSWERED), answered),
    Row("priority", at(EXECUTED, harmless(
        lambda i: frame.frame(frame.PRIORITY, 0, i, b"\0\0\0\0\x10")), then=ANSWERED), answered),
    Row("ping", at(EXECUTED, harmless(frame.frame(frame.PING, payload=b"8" * 8)),
                   then=ANSWERED), answered),
    Row("table-size-0", at(EXECUTED, settings({frame.HEADER_TABLE_SIZE: 0}),
                           then=ANSWERED), answered),
    Row("table-size-huge", at(EXECUTED, settings({frame.HEADER_TABLE_SIZE: 2**32 - 1}),
                              then=ANSWERED), answered),
    Row("frame-size-huge", at(EXECUTED, settings({frame.MAX_FRAME_SIZE: 2**24 - 1}),
                              then=ANSWERED), answered),
    Row("window-changes", at(ARRIVED, *(settings({frame.INITIAL_WINDOW_SIZE: n})
                                        for n in (0, 100000, 1, 65535)), then=ANSWERED),
        answered, calls=(LARGE, EXEC, GET)),
    Row("refused-before-the-body", at(ARRIVED, deaf, refusal, reset(0)),
        error("forbidden"), calls=(LARGE,)),
    Row("refused-during-the-body", at(ARRIVED, deaf, await_window_used, refusal, reset(0)),
        error("forbidden"), calls=(LARGE,)),
    Row("refused-and-cut", at(ARRIVED, deaf, await_window_used, refusal, cut("fin")),
        error("forbidden"), FALL, calls=(LARGE,)),
    Row("answered-before-the-body", at(ARRIVED, deaf, await_window_used, refusal),
        error("forbidden"), calls=(LARGE,)),
    Row("no-content", at(WHOLE, then=ANSWERED), answered, calls=(PING,)),
]


@rows(*ALLOWED)
def test_allowed(frames, wrennd, row):
    check_row(frames, wrennd, row)


# ---- what breaks a connection ----

def breaks(name, data, outcome=lost, others=FALL):
    """Frames against the rules, and behind them a good answer."""
    return Row(name, at(EXECUTED, spoil(data), then=ANSWERED), outcome, others)


def on(stream, kind, payload=b"", flags=0):
    return frame.frame(kind, flags, stream, payload)


OKAY = frame.block([OK])
BROKEN = [
    breaks("garbage", b"\xde\xad\xbe\xef" * 1000),
    breaks("data-on-0", on(0, frame.DATA, b"x")),
    breaks("headers-on-0", on(0, frame.HEADERS, OKAY, frame.END_HEADERS)),
    breaks("headers-on-even", on(2, frame.HEADERS, OKAY, frame.END_HEADERS)),
    breaks("headers-on-idle", on(1001, frame.HEADERS, OKAY, frame.END_HEADERS)),
    breaks("data-on-even", on(2, frame.DATA, b"x")),
    breaks("data-on-idle", on(1001, frame.DATA, b"x")),
    breaks("reset-on-0", frame.rst(0, 8)),
    breaks("reset-on-idle", frame.rst(1001, 8)),
    breaks("reset-bad-size", lambda i: on(i, frame.RST_STREAM, b"123")),
    breaks("continuation-alone", lambda i: on(i, frame.CONTINUATION, OKAY, frame.END_HEADERS)),
    breaks("headers-interrupted", lambda i: on(i, frame.HEADERS, OKAY)
           + on(0, frame.PING, b"8" * 8)),
    breaks("too-large", lambda i: on(i, frame.DATA, bytes(frame.MAX_FRAME + 1))),
    breaks("padding-too-long", lambda i: on(i, frame.HEADERS, b"\xff" + OKAY,
                                            frame.PADDED | frame.END_HEADERS)),
    breaks("push-promise", lambda i: on(i, frame.PUSH_PROMISE, b"\0\0\0\x02" + frame.block(
        [(":method", "GET"), (":scheme", "https"), (":authority", "x"), (":path", "/")]),
        frame.END_HEADERS)),
    breaks("settings-on-stream", lambda i: on(i, frame.SETTINGS)),
    breaks("settings-bad-size", on(0, frame.SETTINGS, b"12345")),
    breaks("settings-ack-with-payload", on(0, frame.SETTINGS, b"123456", frame.ACK)),
    breaks("settings-window-too-large",
           frame.settings((frame.INITIAL_WINDOW_SIZE, 2**31))),
    breaks("settings-frame-too-small", frame.settings((frame.MAX_FRAME_SIZE, 100))),
    breaks("settings-push-2", frame.settings((2, 2))),
    breaks("settings-push-1", frame.settings((2, 1))),
    breaks("ping-on-stream", lambda i: on(i, frame.PING, b"8" * 8)),
    breaks("ping-bad-size", on(0, frame.PING, b"123")),
    breaks("goaway-on-stream", lambda i: on(i, frame.GOAWAY, bytes(8))),
    breaks("goaway-bad-size", on(0, frame.GOAWAY, b"123")),
    breaks("window-0", frame.window_update(0, 0)),
    breaks("window-overflow", frame.window_update(0, 2**31 - 1)),
    breaks("window-bad-size", on(0, frame.WINDOW_UPDATE, b"123")),
    breaks("stream-window-0", lambda i: frame.window_update(i, 0), others=ANY),
    breaks("stream-window-overflow", lambda i: frame.window_update(i, 2**31 - 1), others=ANY),
    breaks("window-on-idle", frame.window_update(1001, 1)),
    breaks("priority-on-0", on(0, frame.PRIORITY, b"\0\0\0\0\x10"), either, ANY),
    breaks("priority-on-itself", lambda i: on(i, frame.PRIORITY, i.to_bytes(4, "big") + b"\x10"),
           either, ANY),
    breaks("hpack-index", lambda i: on(i, frame.HEADERS, b"\xff\xff\x03", frame.END_HEADERS)),
    breaks("hpack-index-0", lambda i: on(i, frame.HEADERS, b"\x80", frame.END_HEADERS)),
    breaks("hpack-torn", lambda i: on(i, frame.HEADERS, b"\x88\0\x7f", frame.END_HEADERS)),
    breaks("hpack-integer", lambda i: on(i, frame.HEADERS, b"\xff" * 20, frame.END_HEADERS)),
    breaks("hpack-huffman", lambda i: on(i, frame.HEADERS, b"\x88\0\x81x\x84" + b"\xff" * 4,
                                         frame.END_HEADERS)),
    breaks("hpack-table-size", lambda i: on(i, frame.HEADERS, b"\x3f\xe1\xff\x7f\x88",
                                            frame.END_HEADERS)),
    # More than the client's windows allow.
    Row("body-past-the-window", at(HEADERS, repeat(
        lambda i: on(i, frame.DATA, bytes(frame.MAX_FRAME)), 10000)), lost, ANY,
        memory=32 * MIB),
]


@rows(*BROKEN)
def test_broken(frames, wrennd, row):
    check_row(frames, wrennd, row)


def noise(seed):
    """Frames at random, but for those that tell of a request's outcome."""
    chance = random.Random(seed)
    kinds = [k for k in range(12) if k not in (frame.RST_STREAM, frame.GOAWAY)]

    def make_noise(stream):
        return b"".join(frame.frame(
            chance.choice(kinds), chance.choice((0, 1, 4, 5, 8, 0x20, 0xff)),
            chance.choice((0, stream, stream, stream + 1)),
            chance.randbytes(chance.choice((0, 1, 4, 5, 6, 8, 100)))) for _ in range(5))

    return make_noise


@rows(*(breaks(f"noise-{seed}", noise(seed), lambda seen: None, ANY) for seed in range(15)))
def test_noise(frames, wrennd, row):
    check_row(frames, wrennd, row)


# ---- too much of anything ----

def flood(name, data, stage=EXECUTED, count=20000, before=(), then=ANSWERED, outcome=either,
          others=ANY):
    return Row(name, at(stage, *before, repeat(data, count), then=then), outcome, others)


def unread(stream):
    """What the client has to say to it is not taken in any more."""
    stream.connection.wire.stop_reading()


BOMB = [("x", "y" * 4000)] * 5000
HINT = [(":status", "103"), ("link", "</x>" * 10)]
PINGS = on(0, frame.PING, b"8" * 8)
FLOODS = [
    flood("settings", frame.settings((3, 100)), outcome=lost, others=FALL),
    flood("settings-acks", on(0, frame.SETTINGS, b"", frame.ACK)),
    flood("pings", PINGS, outcome=lost, others=FALL),
    flood("pings-a-few", PINGS, count=1000, outcome=answered, others=STAY),
    flood("pings-unread", PINGS, count=2000000, before=[unread], then=None),
    flood("settings-unread", frame.settings((3, 100)), count=2000000, before=[unread], then=None),
    flood("ping-acks", on(0, frame.PING, b"8" * 8, frame.ACK)),
    flood("resets", lambda i: frame.rst(i, 8), then=None),
    flood("priorities", lambda i: on(i, frame.PRIORITY, b"\0\0\0\0\x10")),
    flood("windows", lambda i: frame.window_update(i, 1)),
    flood("goaways", frame.goaway(frame.LAST_STREAM, 0)),
    flood("unknown-frames", on(0, 0xfa, b"?" * 100), outcome=lost, others=FALL),
    flood("empty-data", lambda i: on(i, frame.DATA), HEADERS),
    flood("hints", lambda i: frame.headers(i, HINT), outcome=lost, others=STAY),
    flood("trailers", lambda i: frame.headers(i, [("x", "y")]), HALF),
    flood("continuations", lambda i: on(i, frame.CONTINUATION, frame.literal("x", "y" * 1000)),
          before=[spoil(lambda i: on(i, frame.HEADERS, OKAY))], then=None, outcome=lost),
    flood("empty-continuations", lambda i: on(i, frame.CONTINUATION),
          before=[spoil(lambda i: on(i, frame.HEADERS, OKAY))], then=None, outcome=lost),
    Row("header-bomb", at(EXECUTED, many_fields(4000000), then=ANSWERED), lost, ANY),
    # A field of 4 kB that is in the table, 5,000 times: one byte each.
    Row("hpack-bomb", at(EXECUTED, lambda s: s.fields.extend(BOMB), then=HEADERS),
        error("too_large")),
    Row("trailer-bomb", at(HALF, fields(*BOMB, end=True)), error("too_large")),
    Row("endless-body", at(EXECUTED, lambda s: s.fields.pop(), fields(OK),
                           faults.endless_body()), error("too_large"), memory=48 * MIB),
]


@rows(*FLOODS)
def test_flood(frames, wrennd, row):
    check_row(frames, wrennd, row)
    if row.name == "endless-body":
        assert frames.requests(path="/exec")[0].reset is not None


# ---- how many streams, how large windows ----

def holds(frames, count=-1):
    frames.script(at(WHOLE, held, then=ANSWERED), path="/exec", count=count)


def start(client, count, first=0):
    """So many commands; their ids and what each must print."""
    return [(client.send("exec.run", {"capsule": TARGET, "cmd": f"t{i}"}), f"t{i}\n")
            for i in range(first, first + count)]


def finish(client, started):
    for number, text in started:
        assert client.wait(number)["stdout"] == text


def one_connection(make_daemon, frames, profile=""):
    return make_daemon(frames, profile="max_connections = 1\n" + profile).start()


def test_limit_of_one_from_the_start(frames, make_daemon):
    frames.settings = {frame.MAX_CONCURRENT_STREAMS: 1}
    daemon = one_connection(make_daemon, frames)
    with daemon.client() as client:
        finish(client, start(client, 30))
    assert len(frames.requests(executed=True)) == 30
    assert len(frames.connections) == 1 and not frames.violations()


def test_more_connections_where_one_is_full(frames, make_daemon):
    """As many as are allowed, and not one more; the rest waits its turn."""
    frames.settings = {frame.MAX_CONCURRENT_STREAMS: 2}
    daemon = make_daemon(frames, profile="max_connections = 3").start()
    frames.script(at(WHOLE, held, then=ANSWERED), method="GET", count=-1)
    names = [f"cl-{i:025}" for i in range(9)]
    numbers = []
    with daemon.client() as client:
        for name in names:
            numbers.append(client.send("capsule.get", {"capsule": name}))
            if len(numbers) <= 6:
                # Until its limit is known, a connection takes all there are.
                until(lambda: len(frames.requests()) == len(numbers)
                      and all(c.settings_acks for c in frames.connections))
        client.call("daemon.status")
        frames.release()
        assert [client.wait(n)["id"] for n in numbers] == names
    assert len(frames.connections) == 3 and len(frames.requests()) == 9
    assert not frames.violations()


def test_what_is_too_much_is_refused(frames, make_daemon):
    """A server may hold to its limit before the client can know of it."""
    frames.settings = {frame.MAX_CONCURRENT_STREAMS: 2}
    daemon = make_daemon(frames, profile="max_connections = 2").start()

    async def strict(stream):
        if stream.connection.h2.open_inbound_streams > 2:
            stream.reset(REFUSED_STREAM)
        else:
            await stream.advance(ANSWERED)

    frames.script(strict, count=-1)
    with daemon.client() as client:
        finish(client, start(client, 30))
    assert len(frames.requests(executed=True)) == 30
    assert not frames.violations()


@pytest.mark.parametrize("steps", [(1,), (0, 1), (0, 3, 1), (0, 100)],
                         ids=lambda s: "-".join(map(str, s)))
def test_limit_lowered_under_way(frames, make_daemon, steps):
    """All are answered; h2 counts what is opened after the client agreed."""
    daemon = one_connection(make_daemon, frames)
    holds(frames, count=10)
    with daemon.client() as client:
        started = start(client, 10)
        until(lambda: len(frames.requests(path="/exec")) == 10)
        connection = frames.connections[0]
        for limit in steps:
            acks = connection.settings_acks
            frames.do(connection.change_settings, {frame.MAX_CONCURRENT_STREAMS: limit})
            until(lambda: connection.settings_acks > acks)
            started += start(client, 10, len(started))
            client.call("daemon.status")
            if limit == 0:
                assert len(frames.requests(path="/exec")) == 10
        frames.release()
        finish(client, started)
    assert len(frames.requests(executed=True)) == len(started)
    assert len(frames.connections) == 1 and not frames.violations()


def test_a_window_that_never_opens(frames, wrennd):
    """Such a call can be cancelled, and holds up no other."""
    frames.script(at(ARRIVED, deaf, then=ANSWERED), path="/exec")
    with wrennd.client() as client:
        number = client.send("exec.run", LARGE.params)
        until(lambda: frames.requests(path="/exec"))
        for _ in range(3):
            answered(make(client, frames, LARGE))
            answered(make(client, frames, GET))
        client.call("call.cancel", {"call": number})
        with fails("cancelled"):
            client.wait(number)
        stuck = frames.requests(path="/exec")[0]
        until(lambda: stuck.reset == 8)
        answered(make(client, frames, LARGE))
    assert len(frames.connections) == 1 and not frames.violations()


@pytest.mark.parametrize("how", ["cancel", "hang-up"])
def test_a_call_given_up_is_reset(frames, wrennd, how):
    holds(frames)
    with wrennd.client() as client, wrennd.client() as other:
        other.call("capsule.get", {"capsule": WARM})
        number = client.send("exec.run", EXEC.params)
        until(lambda: frames.requests(path="/exec"))
        if how == "cancel":
            client.call("call.cancel", {"call": number})
        else:
            client.close()
        until(lambda: frames.requests(path="/exec")[0].reset == 8, deadline=5)
        answered(make(other, frames, GET))
    assert len(frames.connections) == 1 and not frames.violations()


async def large_answer(stream):
    await stream.advance(EXECUTED)
    asked = json.loads(stream.reply)
    reply = json.dumps({**asked, "stdout": "y" * 8 * MIB}).encode()
    stream.headers([OK, JSON])
    await stream.stream_data(reply[i:i + 10000] for i in range(0, len(reply), 10000))
    stream.data(b"", end=True)


def test_what_is_given_up_leaves_no_window_closed(frames, wrennd):
    """24 MiB come for calls that are cancelled, into a window of 16 for all;
    then there is still room for an answer."""
    sent = []

    def fill_window(stream):
        for _ in range(MIB // frame.MAX_FRAME):
            stream.data(bytes(frame.MAX_FRAME))
        sent.append(stream)

    with wrennd.client() as client:
        client.call("capsule.get", {"capsule": WARM})
        wire = frames.connections[0].wire
        for turn in range(1, 4):
            frames.script(at(EXECUTED, fields(OK), held, fill_window), path="/exec", count=8)
            numbers = [client.send("exec.run", EXEC.params) for _ in range(8)]
            until(lambda: len(frames.requests(path="/exec", executed=True)) == 8 * turn)
            # What the client says meanwhile is heard too late.
            frames.do(wire.stop_reading)
            for number in numbers:
                client.call("call.cancel", {"call": number})
                with fails("cancelled"):
                    client.wait(number)
            frames.release()
            until(lambda: len(sent) == 8 * turn)
            frames.do(frames.gate.clear)
            frames.do(wire.go_on_reading)
            until(lambda: all(r.reset == 8 for r in frames.requests(path="/exec")))
        frames.script(large_answer, path="/exec")
        answer = client.call("exec.run", EXEC.params)
    assert answer["stdout"] == "y" * 8 * MIB
    assert len(frames.connections) == 1 and not frames.violations()


# ---- a peer that has died ----

@pytest.fixture
def watchful(frames, make_daemon):
    return make_daemon(frames, profile=QUICK_PINGS).start()


DEAD = [
    Row("at-request", at(WHOLE, mute), lost, FALL),
    Row("at-answer", at(HEADERS, mute), lost, FALL),
]


@rows(*DEAD)
def test_dead_peer(frames, watchful, row):
    """The connection stands, but nothing comes any more, not even to a PING."""
    check_row(frames, watchful, row)


def test_dead_peer_while_idle(frames, watchful):
    with watchful.client() as client:
        answered(make(client, frames, EXEC))
        frames.do(frames.connections[0].mute)
        until(lambda: frames.connections[0].ended)
        answered(make(client, frames, EXEC))
    assert not frames.violations()


def test_a_slow_answer_is_not_a_dead_peer(frames, watchful):
    holds(frames)
    with watchful.client() as client:
        started = start(client, 1)
        until(lambda: frames.requests(path="/exec"))
        until(lambda: frames.connections[0].pings >= 5)
        frames.release()
        finish(client, started)
    assert len(frames.connections) == 1 and not frames.violations()


# ---- the last of all ----

def test_stuck_calls_end(stuck):
    """By their own deadline."""
    server, client, numbers = stuck
    client.sock.settimeout(60)
    for number in numbers.values():
        with fails("outcome_unknown"):
            client.wait(number)
    until(lambda: all(r.reset == 8 for r in server.requests(path="/exec", answered=False)))
    answered(make(client, server, EXEC))
    assert not server.violations()
