"""Figures: capsule.metrics, capsule.stats and capsule.usage."""
import datetime

import pytest

from testenv.classes import tells_classes_apart
from testenv.expect import fails


def test_metrics(cloud, client, capsule):
    client.call("exec.run", {"capsule": capsule, "cmd": "true"})
    figures = client.call("capsule.metrics", {"capsule": capsule[:12], "range": "5m"})
    assert (figures["sandbox_id"], figures["range"]) == (capsule, "5m")
    point = figures["points"][-1]
    assert set(point) == {"timestamp_unix", "cpu_pct", "mem_bytes", "disk_bytes"}
    assert point["mem_bytes"] > 0
    assert client.call("capsule.metrics", {"capsule": capsule})["range"] == "10m"
    asked = [e["query"] for e in cloud.requests(path=f"/v1/capsules/{capsule}/metrics")]
    assert asked == ["range=5m", ""]


def test_looking_wakes_nothing(cloud, client, capsule):
    cloud.set_capsule(capsule, status="paused")
    client.call("capsule.metrics", {"capsule": capsule})
    assert cloud.capsules()[capsule]["status"] == "paused"


def test_stats_and_usage(client, capsule):
    stats = client.call("capsule.stats", {"range": "24h"})
    assert stats["range"] == "24h" and stats["current"]["running_count"] >= 1
    assert stats["peaks"]["vcpus"] >= stats["current"]["vcpus_reserved"]
    assert client.call("capsule.stats")["range"] == "1h"
    usage = client.call("capsule.usage", {"from": "2026-01-30", "to": "2026-02-02"})
    assert [p["date"] for p in usage["points"]] == [
        "2026-01-30", "2026-01-31", "2026-02-01", "2026-02-02"]
    assert len(client.call("capsule.usage")["points"]) == 30


@pytest.mark.parametrize("method, params, param", [
    ("capsule.metrics", {"range": "3h"}, "range"),
    ("capsule.metrics", {"range": "30d"}, "range"),
    ("capsule.stats", {"range": "10m"}, "range"),
    ("capsule.stats", {"range": "1h&x=y"}, "range"),
    ("capsule.usage", {"from": "2026-02-29"}, "from"),
    ("capsule.usage", {"to": "2026-1-1"}, "to"),
    ("capsule.usage", {"to": "2026-01-01&a=b"}, "to"),
    ("capsule.usage", {"from": "2026-01-02", "to": "2026-01-01"}, "from"),
])
def test_nothing_odd_is_sent(cloud, client, method, params, param):
    if method == "capsule.metrics":
        params = {"capsule": "x", **params}
    with fails("invalid_params") as error:
        client.call(method, params)
    assert error.value.data["param"] == param
    assert cloud.ledger() == []


def test_what_the_server_refuses(client):
    with fails("validation") as error:
        client.call("capsule.usage", {"from": "2025-01-01", "to": "2025-12-31"})
    assert "92" in error.value.message


@pytest.mark.parametrize("method, path", [
    ("capsule.metrics", "/metrics$"), ("capsule.stats", "/stats$"), ("capsule.usage", "/usage$")])
def test_error_classes(cloud, client, capsule, method, path):
    params = {"capsule": capsule} if method == "capsule.metrics" else {}
    tells_classes_apart(cloud, client, method, params, path)
    for odd in ({"status": 200, "body": "[]"}, {"bad_json": True},
                {"status": 200, "body": "null"}, {"status": 204}):
        cloud.fault({"content_type": "application/json", **odd}, match={"path": path})
        with fails("bad_answer"):
            client.call(method, params)


def test_unknown_capsules(cloud, client):
    with fails("not_found"):
        client.call("capsule.metrics", {"capsule": "nothing"})
    assert cloud.ledger() == []
    with fails("not_found") as error:
        client.call("capsule.metrics", {"capsule": "cl-" + "0" * 25})
    assert error.value.data["http_status"] == 404


# ---- wrennctl ----

def test_wrennctl_metrics(ctl, client, capsule):
    client.call("exec.run", {"capsule": capsule, "cmd": "true"})
    head, *rows = ctl.ok("metrics", capsule, "--range", "1h").splitlines()
    assert head.split() == ["TIME", "CPU%", "MEMORY", "DISK"]
    assert len(rows) == 1 and "iB" in rows[0]
    assert ctl.json("metrics", capsule)["sandbox_id"] == capsule
    assert ctl.ok("metrics").endswith("# EOF\n")
    for words in (["--range", "1h"], ["a", "b"], ["--range", "1x", capsule]):
        assert ctl.run("metrics", *words).returncode == 2, words
    done = ctl.run("metrics", "nothing")
    assert (done.returncode, done.stdout) == (3, b"")


def test_wrennctl_metrics_are_somebodys(ctl, capsule):
    """Whose figures they are must be certain, unlike with wrennd's own."""
    env = {"WRENN_API_KEY": "wrn_" + "0" * 32}
    assert ctl.run("metrics", env=env).returncode == 0
    done = ctl.run("metrics", capsule, env=env)
    assert done.returncode != 0 and b"WRENN_API_KEY" in done.stderr


def test_wrennctl_stats_and_usage(ctl, capsule):
    lines = ctl.ok("stats").splitlines()
    assert lines[0].split() == ["NOW", "PEAK"]
    assert [line.split()[0] for line in lines[1:]] == ["capsules", "vcpus", "memory"]
    assert int(lines[1].split()[1]) >= 1
    assert len(ctl.json("stats", "--range", "30d")["series"]["labels"]) > 1
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    lines = ctl.ok("usage").splitlines()
    assert lines[0].split() == ["DAY", "CPU-MINUTES", "RAM-MB-MINUTES"]
    assert len(lines) == 31 and lines[-1].split()[0] >= today
    one = ctl.json("usage", "--from", "2026-01-01", "--to", "2026-01-01")["points"]
    assert [p["date"] for p in one] == ["2026-01-01"]
    assert ctl.run("usage", "--from", "yesterday").returncode == 2
