"""Starts the real script for the tests and talks to it, plainly."""
import http.client
import json
import os
import select
import subprocess
import sys
import time
import urllib.parse

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "standin")
BOUNDARY = "a-boundary-of-the-tests"
START_TIMEOUT = 20


class Answer:
    """A response read whole."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The `code` of an error's body."""
        return self.json["error"]["code"]

    @property
    def message(self):
        return self.json["error"]["message"]


class Standin:
    """One running stand-in; stop() it. The ready line is in `ready`."""

    def __init__(self, *options, wrapper=(), **popen_options):
        """`wrapper` is a command put in front of the script's."""
        self.process = subprocess.Popen(
            [*wrapper, sys.executable, SCRIPT, *options],
            stdout=subprocess.PIPE,
            env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"),
            **popen_options,
        )
        if not select.select([self.process.stdout], [], [], START_TIMEOUT)[0]:
            self.process.kill()
            raise TimeoutError("the stand-in did not get ready")
        line = self.process.stdout.readline()
        assert line, "the stand-in ended instead of getting ready"
        self.ready = json.loads(line)
        self.url = urllib.parse.urlsplit(self.ready["url"])
        self.key = self.ready["api_key"]

    def connect(self):
        return http.client.HTTPConnection(
            self.url.hostname, self.url.port, timeout=20
        )

    def open(self, method, path, body=None, headers=None, key=None):
        """Sends a request; returns (connection, response)."""
        headers = dict(headers or {})
        if key != "":
            headers["X-API-Key"] = key or self.key
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        connection = self.connect()
        connection.request(method, path, body, headers)
        return connection, connection.getresponse()

    def send(self, method, path, body=None, headers=None):
        """Sends a request and leaves its answer to come."""
        headers = {"X-API-Key": self.key, **(headers or {})}
        connection = self.connect()
        connection.request(
            method, self.url.path + path, json.dumps(body), headers
        )
        return connection

    def call(self, method, path, body=None, headers=None, key=None):
        """A call of the API; `key=""` sends none."""
        connection, response = self.open(
            method, self.url.path + path, body, headers, key
        )
        try:
            return Answer(response)
        finally:
            connection.close()

    def admin(self, method, path, body=None):
        connection, response = self.open(
            method, "/_standin" + path, body, key=""
        )
        try:
            answer = Answer(response)
        finally:
            connection.close()
        assert answer.status < 300, answer.body
        return answer.json if answer.body else None

    def fault(self, action, **rule):
        return self.admin("POST", "/faults", {"action": action, **rule})

    def create(self, **body):
        answer = self.call("POST", "/v1/capsules", body)
        assert answer.status == 201, answer.body
        return answer.json["id"]

    def upload(self, path, fields, headers=None):
        """A multipart call with (name, bytes) fields in that order."""
        return self.call("POST", path, form(fields), {
            "Content-Type": "multipart/form-data; boundary=" + BOUNDARY,
            **(headers or {}),
        })

    def capsule(self, capsule_id):
        """What the admin endpoint knows of one capsule."""
        rows = self.admin("GET", "/capsules")
        return next(row for row in rows if row["id"] == capsule_id)

    def ledger(self):
        return self.admin("GET", "/ledger")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()


def form(fields):
    """A multipart/form-data body."""
    body = b""
    for name, data in fields:
        body += f"--{BOUNDARY}\r\n".encode()
        body += f'Content-Disposition: form-data; name="{name}"'.encode()
        if name == "file":
            body += b'; filename="x"\r\nContent-Type: text/plain'
        body += b"\r\n\r\n" + data + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def eventually(condition, timeout=8):
    """The condition's first true value; fails if there is none in time."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "did not come about in time"
        time.sleep(0.01)


def alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] != b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def state_letter(pid):
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].split()[0].decode()
