"""The life of capsules through the socket."""
import pytest

from testenv.client import RpcError


def test_create_get_list_destroy(cloud, client):
    made = client.call("capsule.create", {"name": "web", "labels": {"team": "a"}})
    assert made["status"] == "running"
    assert made["name"] == "web" and made["labels"] == {"team": "a"}
    assert made["lease"] == {"type": "none"} and made["tracked"] is True
    assert made["id"] in cloud.alive()
    assert client.call("capsule.get", {"capsule": "web"})["id"] == made["id"]
    assert client.call("capsule.get", {"capsule": made["id"][:8]})["id"] == made["id"]
    listed = client.call("capsule.list")["capsules"]
    assert [c["id"] for c in listed] == [made["id"]]
    assert client.call("capsule.destroy", {"capsule": "web"}) == {
        "id": made["id"], "state": "gone"}
    assert made["id"] not in cloud.alive()
    assert client.call("capsule.list")["capsules"] == []
    with pytest.raises(RpcError) as error:
        client.call("capsule.get", {"capsule": "web"})
    assert error.value.name == "not_found"
