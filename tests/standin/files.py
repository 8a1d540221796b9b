"""Files of a capsule: write, read, list, mkdir, remove."""
import errno
import grp
import os
import pwd
import shutil
import stat
from functools import lru_cache

from aiohttp import web

from . import fields, jail
from .errors import agent_error, conflict, invalid, not_found, too_large
from .multipart import Multipart
from .outlet import Outlet
from .route import Route

PLAIN_MAX = 100 << 20
PATH_MAX = 65536
CHUNK = 262144
ENTRIES_MAX = 200000


def from_os(error, path):
    """The ApiError for what the file system said."""
    reason = os.strerror(error.errno).lower()
    text = f"{path}: {reason}"
    if error.errno == errno.ENOENT:
        return not_found(text)
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.ELOOP,
                       errno.ENAMETOOLONG, errno.ENXIO):
        return invalid(text)
    return agent_error(text)


def locate(guest, path, **how):
    """jail.find() for a caller's path; raises ApiErrors."""
    try:
        return jail.find(guest.root_fd, path, **how)
    except OSError as error:
        raise from_os(error, path) from None
    except ValueError:
        raise invalid("path contains a NUL byte") from None


async def open_call(request):
    """(guest, body, path) of a call whose body is JSON with a `path`."""
    registry = request.app["state"].registry
    capsule = registry.find_running(request)
    body = await fields.read_object(request)
    path = fields.text(body, "path")
    return await registry.guest_of(capsule), body, path


async def receive(parts, fd, limit):
    """Writes the current part to `fd` as it comes."""
    size = 0
    async for chunk in parts.chunks():
        size += len(chunk)
        if limit is not None and size > limit:
            raise too_large("file exceeds 100 MB limit")
        view = memoryview(chunk)
        while view:
            view = view[os.write(fd, view):]


async def store(request, limit):
    registry = request.app["state"].registry
    capsule = registry.find_running(request)
    if limit is not None and (request.content_length or 0) > limit + PATH_MAX:
        raise too_large("file exceeds 100 MB limit")
    guest = await registry.guest_of(capsule)
    parts = Multipart(request)
    if await parts.next_part() != "path":
        raise invalid("path field is required before the file")
    path = await parts.value(PATH_MAX)
    if not path:
        raise invalid("path field is required before the file")
    if await parts.next_part() != "file":
        raise invalid("file field is required")
    with locate(guest, path, create=True) as place:
        try:
            fd = place.open(os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError as error:
            raise from_os(error, path) from None
    try:
        await receive(parts, fd, limit)
    except OSError as error:
        raise from_os(error, path) from None
    finally:
        os.close(fd)
    # The rest is read too: an unread body would cost the connection.
    while await parts.next_part() is not None:
        async for _ in parts.chunks():
            pass
    return web.Response(status=204)


async def write(request):
    return await store(request, PLAIN_MAX)


async def stream_write(request):
    return await store(request, None)


async def open_file(request):
    guest, _, path = await open_call(request)
    with locate(guest, path) as place:
        try:
            fd = place.open(os.O_RDONLY)
        except OSError as error:
            raise from_os(error, path) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise invalid(f"{path}: not a regular file")
    return fd


async def send(request, fd, response):
    """Sends what is left of `fd`; closes it."""
    outlet = Outlet(request, response)
    try:
        await outlet.start()
        while data := os.read(fd, CHUNK):
            await outlet.write(data)
        await outlet.finish()
    finally:
        os.close(fd)
    return response


async def read(request):
    """The whole file at once, with its length."""
    fd = await open_file(request)
    with os.fdopen(fd, "rb") as source:
        data = source.read()
    return web.Response(body=data, content_type="application/octet-stream")


async def stream_read(request):
    """Chunked, without a length: a cut is seen by its unclean end alone."""
    fd = await open_file(request)
    response = web.StreamResponse()
    response.content_type = "application/octet-stream"
    response.enable_chunked_encoding()
    return await send(request, fd, response)


@lru_cache(maxsize=256)
def owner_name(uid):
    # In a user namespace the server's own user is the capsule's root.
    if uid == os.geteuid():
        return "root"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@lru_cache(maxsize=256)
def group_name(gid):
    if gid == os.getegid():
        return "root"
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def entry(name, path, info, target):
    kinds = {stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
    fields_ = {
        "name": name,
        "path": path,
        "type": kinds.get(stat.S_IFMT(info.st_mode), "file"),
        "size": info.st_size,
        "mode": stat.S_IMODE(info.st_mode),
        "permissions": stat.filemode(info.st_mode),
        "owner": owner_name(info.st_uid),
        "group": group_name(info.st_gid),
        "modified_at": int(info.st_mtime),
    }
    if target is not None:
        fields_["symlink_target"] = target
    return fields_


def describe(folder, raw, parent):
    """The entry of the name `raw` in an open folder shown as `parent`."""
    info = os.stat(raw, dir_fd=folder, follow_symlinks=False)
    target = None
    if stat.S_ISLNK(info.st_mode):
        target = os.readlink(raw, dir_fd=folder).decode("utf-8", "replace")
    name = raw.decode("utf-8", "replace")
    return entry(name, os.path.join(parent, name), info, target)


def list_folder(fd, shown, depth, found):
    """Appends the entries below an open folder, sorted, parents first."""
    for name in sorted(os.listdir(fd)):
        raw = os.fsencode(name)
        try:
            row = describe(fd, raw, shown)
        except FileNotFoundError:
            continue  # gone since it was listed
        found.append(row)
        if len(found) > ENTRIES_MAX:
            raise agent_error(f"{shown}: too many entries")
        if row["type"] == "directory" and depth > 1:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            try:
                below = os.open(raw, flags | os.O_CLOEXEC, dir_fd=fd)
            except OSError:
                continue  # gone, or closed to us
            try:
                list_folder(below, row["path"], depth - 1, found)
            finally:
                os.close(below)


async def list_all(request):
    guest, body, path = await open_call(request)
    depth = fields.integer(body, "depth", 1) or 1
    found = []
    with locate(guest, path) as place:
        try:
            fd = place.open(os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise from_os(error, path) from None
        try:
            list_folder(fd, place.path, depth, found)
        finally:
            os.close(fd)
    return web.json_response({"entries": found})


async def mkdir(request):
    guest, _, path = await open_call(request)
    with locate(guest, path, create=True) as place:
        try:
            os.mkdir(place.name, 0o755, dir_fd=place.folder)
        except FileExistsError:
            raise conflict(f"{path}: already exists") from None
        except OSError as error:
            raise from_os(error, path) from None
        row = describe(place.folder, place.name, os.path.dirname(place.path))
    return web.json_response({"entry": row})


def remove_place(place):
    info = place.stat()
    if stat.S_ISDIR(info.st_mode):
        shutil.rmtree(place.name, dir_fd=place.folder)
    else:
        os.unlink(place.name, dir_fd=place.folder)


async def remove(request):
    """Recursive. What is not there counts as removed, as upstream."""
    guest, _, path = await open_call(request)
    try:
        with jail.find(guest.root_fd, path, follow=False) as place:
            remove_place(place)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise from_os(error, path) from None
    except ValueError:
        raise invalid("path contains a NUL byte") from None
    return web.Response(status=204)


ROUTES = [
    Route("POST", "/v1/capsules/{id}/files/write", write),
    Route("POST", "/v1/capsules/{id}/files/read", read),
    Route("POST", "/v1/capsules/{id}/files/stream/write", stream_write),
    Route("POST", "/v1/capsules/{id}/files/stream/read", stream_read),
    Route("POST", "/v1/capsules/{id}/files/list", list_all),
    Route("POST", "/v1/capsules/{id}/files/mkdir", mkdir),
    Route("POST", "/v1/capsules/{id}/files/remove", remove),
]
