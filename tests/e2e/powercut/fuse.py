"""Mounts a ``Memory``: the kernel's FUSE protocol (include/uapi/linux/fuse.h, version 7.31) and no library.

Needs root and /dev/fuse. One thread answers; a process that mounts must not use the mount itself, or it could wait
for its own answer. There is no write-back cache: every write(2) is seen at once, in order.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import threading
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Final

from e2e.powercut.memory import ROOT, Memory, Node

MAX_WRITE: Final = 128 << 10
BLOCK: Final = 4096
SIZE_WITHOUT_QUOTA: Final = 1 << 30


class Code(IntEnum):
    """Requests of the kernel that are answered or need no answer; every other one gets ENOSYS."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    RENAME2 = 45


_HEADER: Final = struct.Struct("<IIQQIIIHH")
_BIG_WRITES: Final = 1 << 5
_SET_MODE, _SET_UID, _SET_GID, _SET_SIZE = 1, 2, 4, 8


class NotHere(Exception):
    """FUSE cannot be used on this machine, and why."""


class Mount:
    """``memory`` at ``point``, until ``close``. Raises NotHere."""

    def __init__(self, memory: Memory, point: Path) -> None:
        self._memory = memory
        self._point = point
        try:
            self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise NotHere(f"/dev/fuse: {error.strerror}") from None
        libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if libc.mount(b"memory", os.fsencode(point), b"fuse", 0, options):
            os.close(self._device)
            raise NotHere(f"mount: {os.strerror(ctypes.get_errno())}")
        self._unmount: Callable[[], int] = lambda: int(libc.umount2(os.fsencode(point), 2))  # MNT_DETACH
        self._thread = threading.Thread(target=self._serve, name="fuse", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take the mount away; what is open in it gets errors."""
        self._unmount()
        self._thread.join(10)
        os.close(self._device)

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._device, MAX_WRITE + 8192)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return  # ENODEV: unmounted
            _length, code, unique, node, *_ = _HEADER.unpack_from(request)
            if code in (Code.FORGET, Code.BATCH_FORGET, Code.INTERRUPT):
                continue
            number = 0
            answer = b""
            try:
                answer = self._answer(code, node, request[_HEADER.size :])
            except OSError as error:
                number = error.errno or errno.EIO
            reply = struct.pack("<IiQ", 16 + len(answer), -number, unique) + answer
            try:
                os.write(self._device, reply)
            except OSError as error:
                if error.errno != errno.ENOENT:  # whoever asked was killed
                    return
            if code == Code.DESTROY:
                return

    def _answer(self, code: int, node: int, body: bytes) -> bytes:
        memory = self._memory
        match code:
            case Code.INIT:
                return struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, _BIG_WRITES, 16, 12, MAX_WRITE, 1, 0, 0, 0)
            case Code.LOOKUP:
                return self._entry(memory.find(node, _names(body)[0]))
            case Code.GETATTR:
                return struct.pack("<QII", 0, 0, 0) + _attributes(node, memory.nodes[node])
            case Code.SETATTR:
                return self._change(node, body)
            case Code.MKNOD:
                (mode,) = struct.unpack_from("<I", body)
                return self._entry(memory.make(node, _names(body[16:])[0], mode))
            case Code.MKDIR:
                (mode,) = struct.unpack_from("<I", body)
                return self._entry(memory.make(node, _names(body[8:])[0], stat.S_IFDIR | mode))
            case Code.UNLINK | Code.RMDIR:
                memory.unlink(node, _names(body)[0])
            case Code.RENAME:
                memory.rename(node, _names(body[8:])[0], struct.unpack_from("<Q", body)[0], _names(body[8:])[1])
            case Code.RENAME2:
                to, flags = struct.unpack_from("<QI", body)
                if flags:
                    raise OSError(errno.EINVAL, "rename with flags")
                memory.rename(node, _names(body[16:])[0], to, _names(body[16:])[1])
            case Code.OPEN | Code.OPENDIR:
                return struct.pack("<QII", 0, 0, 0)
            case Code.CREATE:
                (_flags, mode) = struct.unpack_from("<II", body)
                made = memory.make(node, _names(body[16:])[0], stat.S_IFREG | mode & 0o7777)
                return self._entry(made) + struct.pack("<QII", 0, 0, 0)
            case Code.READ:
                _handle, offset, size = struct.unpack_from("<QQI", body)
                return memory.read(node, offset, size)
            case Code.WRITE:
                _handle, offset, size = struct.unpack_from("<QQI", body)
                memory.write(node, offset, body[40 : 40 + size])
                return struct.pack("<II", size, 0)
            case Code.STATFS:
                return self._space()
            case Code.FSYNC | Code.FSYNCDIR:
                memory.sync(node)
            case Code.READDIR:
                return self._listing(node, body)
            case Code.FALLOCATE:
                _handle, offset, length, mode = struct.unpack_from("<QQQI", body)
                if mode:
                    raise OSError(errno.EOPNOTSUPP, "fallocate")
                if offset + length > len(memory.nodes[node].content):
                    memory.truncate(node, offset + length)
            case Code.RELEASE | Code.FLUSH | Code.RELEASEDIR | Code.DESTROY:
                pass
            case _:
                raise OSError(errno.ENOSYS, str(code))
        return b""

    def _change(self, node: int, body: bytes) -> bytes:
        valid, _, _, size = struct.unpack_from("<IIQQ", body)
        mode, _, uid, gid = struct.unpack_from("<IIII", body, 68)
        found = self._memory.nodes[node]
        if valid & _SET_SIZE:
            self._memory.truncate(node, size)
        if valid & _SET_MODE:
            found.mode = stat.S_IFMT(found.mode) | stat.S_IMODE(mode)
        if valid & _SET_UID:
            found.uid = uid
        if valid & _SET_GID:
            found.gid = gid
        return struct.pack("<QII", 0, 0, 0) + _attributes(node, found)

    def _entry(self, node: int) -> bytes:
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + _attributes(node, self._memory.nodes[node])

    def _space(self) -> bytes:
        total = self._memory.quota or SIZE_WITHOUT_QUOTA
        free = max(0, total - self._memory.used) // BLOCK
        return struct.pack("<QQQQQIIII24x", total // BLOCK, free, free, 1000, 1000, BLOCK, 255, BLOCK, 0)

    def _listing(self, node: int, body: bytes) -> bytes:
        _handle, offset, size = struct.unpack_from("<QQI", body)
        out = b""
        names = [(".", node), ("..", ROOT), *self._memory.nodes[node].names.items()]
        for place, (name, child) in list(enumerate(names, 1))[offset:]:
            kind = stat.S_IFMT(self._memory.nodes[child].mode) >> 12
            raw = name.encode()
            entry = struct.pack("<QQII", child, place, len(raw), kind) + raw
            entry = entry.ljust(-(-len(entry) // 8) * 8, b"\0")
            if len(out) + len(entry) > size:
                break
            out += entry
        return out


def _names(body: bytes) -> list[str]:
    return [part.decode() for part in body.split(b"\0")]


def _attributes(number: int, node: Node) -> bytes:
    size = len(node.content)
    links = 2 if stat.S_ISDIR(node.mode) else 1
    return struct.pack(
        "<QQQQQQIIIIIIIIII",
        number, size, -(-size // 512), 0, 0, 0, 0, 0, 0, node.mode, links, node.uid, node.gid, 0, BLOCK, 0,
    )  # fmt: skip
