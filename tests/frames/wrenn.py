"""As much of the Wrenn API as wrennd's small calls need; it keeps no state."""
import json
import re

STATUSES = ("running", "paused", "stopped")


def capsule(ident):
    return {
        "id": ident, "status": "running", "template": "minimal", "vcpus": 1,
        "memory_mb": 512, "timeout_sec": 300, "created_at": "2026-01-01T00:00:00Z",
        "last_updated": "2026-01-01T00:00:00Z", "guest_ip": "10.11.0.2",
        "host_ip": "10.12.0.1", "started_at": "2026-01-01T00:00:00Z",
        "last_active_at": "2026-01-01T00:00:00Z",
    }


def created(match, body, number):
    asked = json.loads(body)
    return 201, {**capsule(f"cl-{number:025}"), "timeout_sec": asked.get("timeout_sec", 0)}


def executed(match, body, number):
    asked = json.loads(body)
    return 200, {
        "sandbox_id": match[1], "cmd": asked["cmd"], "stdout": asked["cmd"] + "\n",
        "stderr": "", "exit_code": 0, "duration_ms": 1, "encoding": "utf-8",
    }


ROUTES = [
    ("GET", r"/v1/capsules", lambda m, b, n: (200, [])),
    ("POST", r"/v1/capsules", created),
    ("GET", r"/v1/capsules/([^/]+)", lambda m, b, n: (200, capsule(m[1]))),
    ("DELETE", r"/v1/capsules/([^/]+)", lambda m, b, n: (204, None)),
    ("POST", r"/v1/capsules/([^/]+)/ping", lambda m, b, n: (204, None)),
    ("POST", r"/v1/capsules/([^/]+)/exec", executed),
]


def answer(method, path, body, number):
    """(status, body) of a request; `number` sets creates apart."""
    for wanted, pattern, handler in ROUTES:
        match = re.fullmatch(pattern, path)
        if wanted == method and match:
            status, value = handler(match, body, number)
            return status, b"" if value is None else json.dumps(value).encode()
    return 404, b'{"error":{"code":"not_found","message":"no such route"}}'
