"""Paths inside a capsule, walked so that they cannot lead out of it."""
import errno
import os
from collections import deque

LINKS_MAX = 40


class Place:
    """A folder's descriptor and a name in it; close() when done.

    The name is never a symbolic link that was to be followed, and "." for
    the root folder itself. `path` is the absolute path asked for.
    """

    def __init__(self, folder, name, path):
        self.folder = folder
        self.name = name
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        os.close(self.folder)

    def open(self, flags, mode=0o666):
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(self.name, flags, mode, dir_fd=self.folder)

    def stat(self):
        return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)


class Walk:
    """One walk from the root: the folders passed, and the parts to come."""

    def __init__(self, root_fd, path):
        self.root_fd = root_fd
        self.stack = [os.dup(root_fd)]
        self.todo = deque(split(path))
        self.links = 0

    def close(self):
        for fd in self.stack:
            os.close(fd)

    def up(self):
        if len(self.stack) > 1:
            os.close(self.stack.pop())

    def follow(self, target):
        """Puts what a link says before what is left to walk."""
        self.links += 1
        if self.links > LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.startswith(b"/"):
            while len(self.stack) > 1:
                self.up()
        self.todo.extendleft(reversed(split(target)))

    def enter(self, part, create):
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        here = self.stack[-1]
        try:
            fd = os.open(part, flags, dir_fd=here)
        except FileNotFoundError:
            if not create:
                raise
            os.mkdir(part, 0o755, dir_fd=here)
            fd = os.open(part, flags, dir_fd=here)
        self.stack.append(fd)


def split(path):
    return [part for part in path.split(b"/") if part not in (b"", b".")]


def link_target(part, folder):
    """Where the symbolic link `part` points, or None if it is none."""
    try:
        return os.readlink(part, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def find(root_fd, path, create=False, follow=True):
    """The Place of `path`, which need not exist; its parents must.

    `create` makes missing parents; without `follow` a link at the end of
    the path is meant itself. A relative path starts in /root.
    """
    text = path.encode("utf-8", "replace")
    if not text.startswith(b"/"):
        text = b"/root/" + text
    walk = Walk(root_fd, text)
    try:
        name = b"."
        while walk.todo:
            part = walk.todo.popleft()
            if part == b"..":
                walk.up()
                continue
            last = not walk.todo
            target = link_target(part, walk.stack[-1])
            if target is not None and (follow or not last):
                walk.follow(target)
            elif last:
                name = part
            else:
                walk.enter(part, create)
        shown = os.path.normpath(b"/" + text.lstrip(b"/"))
        shown = shown.decode("utf-8", "replace")
        return Place(os.dup(walk.stack[-1]), name, shown)
    finally:
        walk.close()
