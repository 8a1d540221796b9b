"""Files over a data socket."""
import contextlib
import socket


def download(client, capsule, path, **params):
    """(bytes that came, the answer); raises RpcError."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            number = client.send(
                "file.read", {"capsule": capsule, "path": path, **params},
                fds=[theirs.fileno()], names=["data"])
        ours.settimeout(60)
        data = bytearray()
        while chunk := ours.recv(1 << 20):
            data += chunk
    return bytes(data), client.wait(number)


def upload(client, capsule, path, data, **params):
    """The answer to a file.write whose size is told before."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            number = client.send(
                "file.write",
                {"capsule": capsule, "path": path, "size": len(data), **params},
                fds=[theirs.fileno()], names=["data"])
        ours.settimeout(60)
        with contextlib.suppress(BrokenPipeError):  # the answer says why
            ours.sendall(data)
        return client.wait(number)
