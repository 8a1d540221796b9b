"""JSON-RPC 2.0 on the socket: every kind of exchange, ids, order, strictness."""
import json
import random
import re
import socket
import subprocess

import pytest

import json_vectors
from testenv.client import until
from testenv.paths import WRENND

HELLO = b'{"jsonrpc":"2.0","id":"sync","method":"daemon.hello"}'


def exchange(client, line):
    """What one line is answered: the raw lines before a hello's answer.

    Only for requests that are answered at once.
    """
    client.send_bytes(line + b"\n" + HELLO + b"\n")
    answers = []
    while True:
        answer = client.read_line()
        assert answer, f"the connection was closed by {line!r}"
        if b'"id":"sync"' in answer and json.loads(answer)["result"]["protocol"] == 1:
            return answers
        answers.append(answer)


def summary(message):
    """(id, code) of an answer, after checking that its form is exact."""
    assert message["jsonrpc"] == "2.0"
    if "result" in message:
        assert set(message) == {"jsonrpc", "id", "result"}
        return message["id"], "ok"
    assert set(message) == {"jsonrpc", "id", "error"}
    error = message["error"]
    assert set(error) == {"code", "message", "data"} and error["message"]
    assert error["data"]["name"] and error["data"]["retryable"] is False
    return message["id"], error["code"]


def summaries(answers):
    """Of single answers a pair, of a batch's answer a list of them."""
    parsed = [json.loads(answer) for answer in answers]
    return [[summary(one) for one in message] if isinstance(message, list)
            else summary(message) for message in parsed]


# ---- the exchanges that the specification shows, with our methods ----

EXCHANGES = {
    "parameters by position are not taken":
        ('{"jsonrpc":"2.0","method":"daemon.hello","params":["sh","1"],"id":1}',
         [(1, -32602)]),
    "no parameters by position are not taken either":
        ('{"jsonrpc":"2.0","method":"daemon.hello","params":[],"id":2}',
         [(2, -32602)]),
    "parameters by name":
        ('{"jsonrpc":"2.0","method":"daemon.hello","params":{"client":"sh","version":"1"},"id":3}',
         [(3, "ok")]),
    "parameters by name in another order":
        ('{"id":4,"params":{"version":"1","client":"sh"},"method":"daemon.hello","jsonrpc":"2.0"}',
         [(4, "ok")]),
    "notification":
        ('{"jsonrpc":"2.0","method":"daemon.hello","params":{"client":"sh"}}', []),
    "notification of a method that is not there":
        ('{"jsonrpc":"2.0","method":"foobar"}', []),
    "notification with wrong parameters":
        ('{"jsonrpc":"2.0","method":"daemon.hello","params":[1,2,3,4,5]}', []),
    "method that is not there":
        ('{"jsonrpc":"2.0","method":"foobar","id":"1"}', [("1", -32601)]),
    "invalid JSON":
        ('{"jsonrpc":"2.0","method":"foobar,"params":"bar","baz]', [(None, -32700)]),
    "invalid request":
        ('{"jsonrpc":"2.0","method":1,"params":"bar"}', [(None, -32600)]),
    "batch of invalid JSON":
        ('[{"jsonrpc":"2.0","method":"daemon.hello","id":"1"},{"jsonrpc":"2.0","method"]',
         [(None, -32700)]),
    "empty batch": ("[]", [(None, -32600)]),
    "batch of one invalid request": ("[1]", [[(None, -32600)]]),
    "batch of invalid requests": ("[1,2,3]", [[(None, -32600)] * 3]),
    "mixed batch":
        ('[{"jsonrpc":"2.0","method":"daemon.status","id":"1"},'
         '{"jsonrpc":"2.0","method":"daemon.hello","params":{"client":"sh"}},'
         '{"jsonrpc":"2.0","method":"auth.status","params":{},"id":"2"},'
         '{"foo":"boo"},'
         '{"jsonrpc":"2.0","method":"foo.get","params":{"name":"myself"},"id":"5"},'
         '{"jsonrpc":"2.0","method":"call.cancel","id":"9"}]',
         [[("1", "ok"), ("2", "ok"), (None, -32600), ("5", -32601), ("9", -32602)]]),
    "batch of notifications":
        ('[{"jsonrpc":"2.0","method":"daemon.hello"},'
         '{"jsonrpc":"2.0","method":"daemon.status"}]', []),
    "batch of notifications that fail":
        ('[{"jsonrpc":"2.0","method":"foobar"},'
         '{"jsonrpc":"2.0","method":"daemon.hello","params":[]}]', []),
    "version missing":
        ('{"method":"daemon.hello","id":6}', [(6, -32600)]),
    "version 1.0":
        ('{"jsonrpc":"1.0","method":"daemon.hello","id":7}', [(7, -32600)]),
    "version a number":
        ('{"jsonrpc":2.0,"method":"daemon.hello","id":8}', [(8, -32600)]),
    "unknown member":
        ('{"jsonrpc":"2.0","method":"daemon.hello","id":9,"more":1}', [(9, -32600)]),
    "parameters that are a string":
        ('{"jsonrpc":"2.0","method":"daemon.hello","params":"x","id":10}', [(10, -32600)]),
    "parameters that are null":
        ('{"jsonrpc":"2.0","method":"daemon.hello","params":null,"id":11}', [(11, -32600)]),
    "method in other letters":
        ('{"jsonrpc":"2.0","method":"Daemon.hello","id":12}', [(12, -32601)]),
    "method with a NUL behind it":
        ('{"jsonrpc":"2.0","method":"daemon.hello\\u0000","id":13}', [(13, -32600)]),
    "member name with a NUL behind it":
        ('{"jsonrpc":"2.0","method\\u0000":"daemon.hello","id":14}', [(None, -32600)]),
    "method twice":
        ('{"jsonrpc":"2.0","method":"daemon.hello","id":15,"method":"daemon.status"}',
         [(None, -32700)]),
    "an answer nobody asked for":
        ('{"jsonrpc":"2.0","result":1,"id":16}', [(16, -32600)]),
    "an error nobody asked for":
        ('{"jsonrpc":"2.0","error":{"code":1,"message":"x"},"id":17}', [(17, -32600)]),
    "blank line": ("", [(None, -32700)]),
    "carriage return before the newline":
        ('{"jsonrpc":"2.0","method":"daemon.hello","id":18}\r', [(18, "ok")]),
    "blanks around it":
        (' \t{ "jsonrpc" : "2.0" , "method" : "daemon.hello" , "id" : 19 } ', [(19, "ok")]),
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_exchange(client, name):
    line, expected = EXCHANGES[name]
    assert summaries(exchange(client, line.encode())) == expected


def test_hello_says_what_it_is(client):
    version = subprocess.run([WRENND, "--version"], stdout=subprocess.PIPE,
                             check=True).stdout.decode()
    answer = client.call("daemon.hello", {"client": "tests", "version": "1"})
    assert set(answer) == {"version", "protocol", "uid", "access", "features"}
    assert answer["version"] in version.split()
    assert answer["access"] == "admin" and {"fds", "batch"} <= set(answer["features"])


def test_answers_are_one_line_each(client):
    client.send_bytes(HELLO + b"\n")
    line = client.read_line()
    assert b"\r" not in line and not line.startswith(b" ") and line.endswith(b"}")
    assert client.buffer == b""


# ---- ids ----

IDS = (
    "0", "-0", "1.0", "1e3", "1E+3", "-12.50", "9007199254740993",
    "123456789012345678901234567890", "0.1000", "null", '""', '"1"', '"a\\u0041"',
    '"\\u0000"', '"\\ud83d\\ude80"', '"a/b\\/c"', '"caf\u00e9"', '"\\"\\\\"',
    '"' + "x" * 126 + '"', "1" * 128,
)


@pytest.mark.parametrize("written", IDS)
def test_id_is_echoed_as_it_was_written(client, written):
    for method in ("daemon.hello", "no.such.method"):
        line = f'{{"jsonrpc":"2.0","id": {written} ,"method":"{method}"}}'.encode()
        answers = exchange(client, line)
        assert len(answers) == 1
        assert answers[0].startswith(b'{"jsonrpc":"2.0","id":' + written.encode() + b',"')


@pytest.mark.parametrize("written", ('"' + "x" * 127 + '"', "1" * 129, "[]", "{}",
                                     "true", "false", '["a"]'))
def test_unfit_id(client, written):
    line = f'{{"jsonrpc":"2.0","id":{written},"method":"daemon.hello"}}'.encode()
    assert summaries(exchange(client, line)) == [(None, -32600)]


def test_ids_in_a_batch_are_echoed_too(client):
    batch = ",".join(f'{{"jsonrpc":"2.0","id":{written},"method":"daemon.hello"}}'
                     for written in IDS)
    answer, = exchange(client, f"[{batch}]".encode())
    for written in IDS:
        assert b'"id":' + written.encode() + b',"result"' in answer


# ---- order ----

GATE = 'while [ ! -e "$HOME/gate" ]; do sleep 0.02; done; echo open'


def test_slow_calls_hold_up_no_others(client, capsule):
    waits = client.send("capsule.wait", {"capsule": capsule, "status": "paused"})
    slow = client.send("exec.run", {"capsule": capsule, "cmd": "sh", "args": ["-c", GATE]})
    assert client.call("daemon.status")["calls"]["in_flight"] == 3
    assert client.call("exec.run", {"capsule": capsule, "cmd": "true"})["exit_code"] == 0
    assert not client.waiting, "a slow call ended before its time"
    client.call("file.write", {"capsule": capsule, "path": "/root/gate", "text": ""})
    assert client.wait(slow)["stdout"] == "open\n"
    client.call("capsule.pause", {"capsule": capsule})
    assert client.wait(waits)["status"] == "paused"


def test_batch_answers_when_its_slowest_is_done(client, capsule):
    run = {"capsule": capsule, "cmd": "sh", "args": ["-c", GATE]}
    client.send_bytes(json.dumps([
        {"jsonrpc": "2.0", "id": "slow", "method": "exec.run", "params": run},
        {"jsonrpc": "2.0", "id": "quick", "method": "daemon.hello"},
    ]).encode() + b"\n")
    client.call("file.write", {"capsule": capsule, "path": "/root/gate", "text": ""})
    answers = {one["id"]: one["result"] for one in client.read()}
    assert set(answers) == {"slow", "quick"}
    assert answers["slow"]["stdout"] == "open\n"


def test_hundred_answers_are_not_mixed_up(daemon, client, capsule):
    """Two clients with the same ids, and of each call its own answer."""
    with daemon.client() as other:
        sent = {}
        for number in range(50):
            for who in (client, other):
                token = f"{number}-{id(who)}"
                params = {"capsule": capsule, "cmd": "echo", "args": [token]}
                sent[who, who.send("exec.run", params)] = token
        for (who, number), token in sent.items():
            assert who.wait(number)["stdout"] == token + "\n"
        assert not client.waiting and not other.waiting


def test_hundred_lines_in_one_write(client):
    client.send_bytes(b"".join(
        f'{{"jsonrpc":"2.0","id":{n},"method":"daemon.hello"}}\n'.encode()
        for n in range(100)))
    assert [client.read()["id"] for _ in range(100)] == list(range(100))


# ---- ends ----

def test_half_closed_client_gets_its_answers(daemon, client, capsule):
    with daemon.client() as half:
        slow = half.send("exec.run", {"capsule": capsule, "cmd": "sh", "args": ["-c", GATE]})
        quick = half.send("daemon.hello")
        half.sock.shutdown(socket.SHUT_WR)
        assert half.wait(quick)["protocol"] == 1
        client.call("file.write", {"capsule": capsule, "path": "/root/gate", "text": ""})
        assert half.wait(slow)["stdout"] == "open\n"
        assert half.read_line() == b""


def test_half_closed_client_without_requests_is_let_go(daemon):
    with daemon.client() as half:
        half.sock.shutdown(socket.SHUT_WR)
        assert half.read_line() == b""


def test_half_a_line_before_the_end_is_no_request(daemon):
    with daemon.client() as half:
        half.send_bytes(HELLO + b"\n" + HELLO)
        half.sock.shutdown(socket.SHUT_WR)
        assert half.read()["id"] == "sync"
        assert half.read_line() == b""


def test_client_that_dies_takes_its_command_along(cloud, daemon, client, capsule):
    client.call("daemon.hello")
    before = daemon.descriptors()
    marker = "31536001"
    with daemon.client() as doomed:
        doomed.send("exec.run", {"capsule": capsule, "cmd": "sleep", "args": [marker],
                                 "timeout_sec": 3600})
        listing = {"capsule": capsule, "cmd": "sh", "args": [
            "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"]}
        until(lambda: f"sleep {marker}" in client.call("exec.run", listing)["stdout"])
    until(lambda: f"sleep {marker}" not in client.call("exec.run", listing)["stdout"])
    until(lambda: daemon.call("daemon.status")["calls"]["in_flight"] == 1)
    until(lambda: daemon.descriptors() <= before)


def test_clients_that_die_with_answers_unread(daemon, client):
    client.call("daemon.hello")
    before = daemon.descriptors()
    for _ in range(50):
        with daemon.client() as doomed:
            doomed.send_bytes((HELLO + b"\n") * 40 + b'{"half')
    until(lambda: client.call("daemon.status")["clients"] == 1)
    assert daemon.descriptors() <= before


# ---- the corpus of JSON texts ----

VECTORS = json_vectors.load()


def fault_of(answers):
    """The offset that the one answer, a parse error, names."""
    answer, = answers
    answer = json.loads(answer)
    assert summary(answer) == (None, -32700)
    return int(answer["error"]["message"].rsplit(" ", 1)[1])


def as_line(text):
    """What a text that is JSON but no request is answered."""
    value = json.loads(text)
    if isinstance(value, list) and value:
        return [[(None, -32600)] * len(value)]
    return [(None, -32600)]


def as_params(text):
    value = json.loads(text)
    if value == {}:
        return [("p", "ok")]
    return [("p", -32602 if isinstance(value, (dict, list)) else -32600)]


def test_corpus_as_lines(client):
    for vector in VECTORS:
        answers = exchange(client, vector.text)
        if vector.fault is None:
            assert summaries(answers) == as_line(vector.text), vector
        else:
            assert fault_of(answers) == vector.fault, vector


def test_corpus_as_parameters(client):
    head = b'{"jsonrpc":"2.0","id":"p","method":"daemon.status","params":'
    for vector in VECTORS:
        answers = exchange(client, head + vector.text + b"}")
        if vector.fault is None:
            assert summaries(answers) == as_params(vector.text), vector
        else:
            assert fault_of(answers) >= len(head), vector


# ---- mutations ----

class Judge:
    """Says how a line has to be answered, by the rules of the protocol."""

    def __init__(self, discovered):
        self.methods = {m["name"]: m for m in discovered["methods"]}

    @staticmethod
    def _object(pairs):
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            raise ValueError("a name twice")
        return dict(pairs)

    @staticmethod
    def _no(word):
        raise ValueError(word)

    @classmethod
    def parse(cls, line):
        """The value, or ValueError, by RFC 8259 and our limits."""
        value = json.loads(line.decode("utf-8"), object_pairs_hook=cls._object,
                           parse_constant=cls._no)
        # A half surrogate cannot be encoded again.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value

    def line(self, line):
        try:
            value = self.parse(line)
        except ValueError:
            return [(None, -32700)]
        if not isinstance(value, list):
            answer = self.message(value)
            return [answer] if answer else []
        if not 1 <= len(value) <= 64:
            return [(None, -32600)]
        answers = [a for a in map(self.message, value) if a]
        return [answers] if answers else []

    def message(self, value):
        if not isinstance(value, dict):
            return None, -32600
        number = value.get("id")
        if isinstance(number, (bool, list, dict)):
            return None, -32600
        params = value.get("params", {})
        method = value.get("method")
        if (value.get("jsonrpc") != "2.0" or not isinstance(method, str)
                or "\0" in method or not isinstance(params, (dict, list))
                or set(value) - {"jsonrpc", "id", "method", "params"}):
            return number, -32600
        if "id" not in value:
            return None
        if method not in self.methods:
            return number, -32601
        return number, "ok" if self.fits(self.methods[method], params) else -32602

    def fits(self, method, params):
        if not isinstance(params, dict):
            return False
        known = {p["name"]: p for p in method["params"]}
        return (all(name in known and self.valid(known[name]["schema"], value)
                    for name, value in params.items())
                and all(name in params for name, p in known.items() if p["required"]))

    @staticmethod
    def valid(schema, value):
        if schema["type"] == "string":
            return (isinstance(value, str) and "\0" not in value
                    and schema["minLength"] <= len(value.encode()) <= schema["maxLength"])
        assert schema["type"] == ["string", "number"], "the lines have no other"
        return isinstance(value, (str, int, float)) and not isinstance(value, bool)


LINES = (
    b'{"jsonrpc":"2.0","id":7,"method":"daemon.hello","params":{"client":"a","version":"1.0"}}',
    b'{"jsonrpc":"2.0","id":"a\\u0041","method":"daemon.hello","params":{"client":"\xc3\xa9\\n"}}',
    b'{"jsonrpc":"2.0","id":-1.5e2,"method":"call.cancel","params":{"call":1.5}}',
    b'{"jsonrpc":"2.0","id":null,"method":"call.cancel","params":{"call":12}}',
    b'{"jsonrpc":"2.0","id":3,"method":"call.end","params":{"call":"\\ud83d\\ude80"}}',
    b'{"jsonrpc":"2.0","method":"daemon.hello","params":{"client":"n"}}',
    b'{"jsonrpc":"2.0","id":4,"method":"no.such","params":[1,{"a":null},[false,0.5]]}',
    b'[{"jsonrpc":"2.0","id":1,"method":"daemon.hello"},{"jsonrpc":"2.0","method":"call.end"},'
    b'{"jsonrpc":"2.0","id":"b","method":"call.cancel","params":{"call":1}}]',
    b'[1,{"jsonrpc":"2.0","id":"","method":"daemon.hello","params":{}}]',
)
PIECES = (b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0000", b"\\ud800", b"null",
          b"true", b"0", b"-", b".", b"e9", b" ", b"\t", b"\r", b"\0", b"\x1f", b"\xc3",
          b"\xed\xa0\x80", b"\xff", b'"id"', b'"":1,', b"[]", b"{}", b"NaN", b"//", b"'")


def mutate(rng, line):
    line = bytearray(line)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 5))):
        at = rng.randrange(len(line) + 1)
        what = rng.randrange(5)
        if what == 0:
            line[at:at + 1] = bytes([rng.randrange(256)])
        elif what == 1:
            line[at:at] = rng.choice(PIECES)
        elif what == 2:
            del line[at:at + rng.randrange(1, 6)]
        elif what == 3:
            line[at:at + rng.randrange(3)] = line[rng.randrange(len(line) + 1):][:6]
        else:
            line[at:at + 1] = rng.choice(PIECES)
    return bytes(line).replace(b"\n", b"\r")


def name_with_nul(line):
    """Such a line is refused whole: see the exchange of that name."""
    return b"\\u0000" in line


def test_ten_thousand_mutations(client):
    judge = Judge(client.call("rpc.discover"))
    rng = random.Random(20240607)
    verdicts = set()
    for number in range(10000):
        line = mutate(rng, rng.choice(LINES))
        expected = judge.line(line)
        got = summaries(exchange(client, line))
        if name_with_nul(line) and got == [(None, -32600)] and expected != [(None, -32700)]:
            continue
        assert got == expected, (number, line)
        verdicts.add(str([code for answer in got if isinstance(answer, tuple)
                          for code in answer[1:]]))
    assert verdicts == {"[]", "['ok']", "[-32700]", "[-32600]", "[-32601]", "[-32602]"}
    assert client.call("daemon.hello")["protocol"] == 1


# ---- parameters, by the document that describes them ----

def test_discover_is_what_the_program_prints(client):
    printed = subprocess.run([WRENND, "--dump-methods"], stdout=subprocess.PIPE, check=True)
    assert client.call("rpc.discover") == json.loads(printed.stdout)


@pytest.fixture
def document(client):
    methods = client.call("rpc.discover")["methods"]
    assert len(methods) >= 25
    return methods


GOOD = {"string": "/x", "integer": 1, "boolean": True, "array": [], "object": {}}


def fitting(pattern):
    """The longest text of a pattern: an ID, or a name."""
    prefix, _, rest = pattern[1:].partition("[")
    text = prefix + ("0" * 25 if rest.endswith("{25}$") else "a" * 64)
    assert re.fullmatch(pattern, text)
    return text


def good_params(method):
    """The required ones, with a capsule that does not exist."""
    def good(schema):
        if "enum" in schema:
            return schema["enum"][0]
        if "pattern" in schema:
            return fitting(schema["pattern"])
        return 1 if isinstance(schema["type"], list) else GOOD[schema["type"]]

    return {p["name"]: good(p["schema"]) for p in method["params"] if p["required"]}


def fits_a_line(value):
    """Some limits are those of the line itself."""
    return len(json.dumps(value)) < (1 << 20) - 1000


def wrong_values(schema):
    """Values just outside the schema, and of every other type."""
    kind = schema["type"]
    kinds = kind if isinstance(kind, list) else [kind]
    values = {"string": "x", "integer": 1, "number": 0.5, "boolean": False, "array": [],
              "object": {}, "null": None}
    if "number" in kinds:
        del values["integer"]
    wrong = [v for k, v in values.items() if k not in kinds]
    if kind == "integer":
        wrong += [schema["minimum"] - 1, schema["maximum"] + 1, "1", 1e30, -1e30,
                  (1 << 64) + 1, -(1 << 64)]
    if "minLength" in schema:
        wrong += ["x" * (schema["maxLength"] + 1), "a\0b"]
        wrong += [""] if schema["minLength"] > 0 else []
    if "pattern" in schema:
        good = fitting(schema["pattern"])
        wrong += ["", good + "a", good[:-1] + "/", good[:-1] + "\n", good + "\n", "../" + good,
                  good[:-1] + "%", good[:-1] + "?", "a\0b"]
    if schema.get("format") == "date":
        wrong += ["", "2026-02-29", "2026-13-01", "2026-1-01", "2026-01-01 ", "a\0b"]
    if "enum" in schema:
        wrong += ["", "x", "|".join(schema["enum"]), schema["enum"][0][:-1]]
    if kind == "array":
        longest = schema["items"]["maxLength"]
        wrong += [["a", 1], [None], ["a\0"], ["x" * (longest + 1)], ["a"] * 4097]
    if kind == "object" and "additionalProperties" in schema:
        longest = schema["additionalProperties"]["maxLength"]
        wrong += [{"a": 1}, {"a": None}, {"a": ["b"]}, {"a": "\0"}, {"a": "x" * (longest + 1)},
                  {f"v{n}": "" for n in range(1025)}]
    return [value for value in wrong if fits_a_line(value)]


def border_values(schema):
    """The last values inside the schema."""
    if schema["type"] == "integer":
        return [schema["minimum"], schema["maximum"]]
    if "minLength" in schema:
        return [v for v in ("x" * schema["minLength"], "x" * schema["maxLength"])
                if fits_a_line(v)]
    if "enum" in schema:
        return schema["enum"]
    if "pattern" in schema:
        return [fitting(schema["pattern"])]
    if schema["type"] == "array":
        return [["x" * schema["items"]["maxLength"]], ["a"] * 4096]
    if "additionalProperties" in schema:
        return [{"a": "x" * schema["additionalProperties"]["maxLength"]},
                {f"v{n}": "" for n in range(1024)}]
    return []


def refused_param(client, method, params):
    """The parameter that the one answer names, after checking its form."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer, = exchange(client, json.dumps(request).encode())
    answer = json.loads(answer)
    assert summary(answer) == (1, -32602), (method, str(params)[:200], answer)
    assert answer["error"]["data"]["name"] == "invalid_params"
    return answer["error"]["data"]["param"]


def test_unknown_parameter_of_every_method(client, document):
    for method in document:
        params = {**good_params(method), "no_such": 1}
        assert refused_param(client, method["name"], params) == "no_such"
        assert refused_param(client, method["name"], {**params, "no_such": None}) == "no_such"


def test_missing_parameter_of_every_method(client, document):
    for method in document:
        whole = good_params(method)
        for name in whole:
            params = {k: v for k, v in whole.items() if k != name}
            assert refused_param(client, method["name"], params) == name


def test_wrong_parameter_of_every_method(cloud, client, document):
    tried = 0
    for method in document:
        for param in method["params"]:
            for value in wrong_values(param["schema"]):
                params = {**good_params(method), param["name"]: value}
                assert refused_param(client, method["name"], params) == param["name"], value
                tried += 1
    assert tried > 500
    assert cloud.ledger() == [], "a refused call was sent on"


def test_borders_of_parameters_are_taken(cloud, client, document):
    """With a capsule that does not exist, which is found out later."""
    tried = 0
    for method in document:
        if "capsule" not in good_params(method):
            continue
        for param in method["params"]:
            for value in border_values(param["schema"]):
                params = {**good_params(method), param["name"]: value}
                request = client.send(method["name"], params)
                answer = client.read()
                assert answer["id"] == request
                error = answer["error"]
                assert error["data"].get("param") != param["name"] or (
                    "must be absolute" in error["message"]), (method["name"], answer)
                tried += 1
    assert tried > 40
