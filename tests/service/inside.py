"""What runs in the machine: clients, a cloud and a probe with Debian's own Python, and nothing of the gateway's."""

from __future__ import annotations

MQTT = r"""
import socket, sys

def packet(kind, body):
    return bytes([kind, len(body)]) + body

def text(value):
    return len(value).to_bytes(2, "big") + value.encode()

line = socket.create_connection(("127.0.0.1", 1883), 10)
reader = line.makefile("rb")

def receive():
    kind, size = reader.read(2)
    return kind, reader.read(size)

line.sendall(packet(0x10, text("MQTT") + b"\x04\x02\x00\x3c" + text("probe")))
assert receive() == (0x20, b"\x00\x00"), "CONNACK"
if sys.argv[1] == "publish":
    line.sendall(packet(0x33, text("plant/x") + b"\x00\x07" + sys.argv[2].encode()))
    assert receive() == (0x40, b"\x00\x07"), "PUBACK"
    print("acknowledged")
else:
    line.sendall(packet(0x82, b"\x00\x08" + text("plant/x") + b"\x01"))
    assert receive() == (0x90, b"\x00\x08\x01"), "SUBACK"
    kind, body = receive()
    assert kind >> 4 == 3, kind
    print(body[11:].decode())
"""
"""publish TEXT, retained, with QoS 1; or receive what is retained."""

CLOUD = r"""
import socket
server = socket.create_server(("127.0.0.1", 1884))
line, _ = server.accept()
first = line.recv(4096)
open("/srv/connect.new", "wb").write(first)
import os
os.rename("/srv/connect.new", "/srv/connect")
server.close()
"""
"""Keeps the first packet that an uplink sends."""

PROBE = r"""
import ctypes, json, os, socket, stat, sys

def attempt(what):
    try:
        what()
    except OSError as error:
        return error.strerror
    return None

def create(folder):
    path = os.path.join(folder, ".probe")
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
    os.unlink(path)

written = []
for folder, below, files in os.walk("/"):
    below[:] = [name for name in below if os.path.join(folder, name) not in ("/proc", "/sys")]
    if attempt(lambda: create(folder)) is None:
        written.append(folder)
    for name in files:
        path = os.path.join(folder, name)
        if stat.S_ISREG(os.lstat(path).st_mode) and attempt(lambda: os.close(os.open(path, os.O_WRONLY))) is None:
            written.append(path)

libc = ctypes.CDLL(None, use_errno=True)

def mount():
    if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

kernel = [os.path.join(folder, name) for folder, _, files in os.walk("/proc/sys") for name in files]
kernel += ["/sys/power/state", "/sys/kernel/mm/transparent_hugepage/enabled", "/proc/sysrq-trigger"]
refused = {
    "listen on port 80": attempt(lambda: socket.create_server(("127.0.0.1", 80))),
    "raw socket": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)),
    "packet socket": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
    "mount": attempt(mount),
    "set the clock": attempt(lambda: __import__("time").clock_settime(0, 0)),
    "device file": attempt(lambda: os.mknod("/var/lib/gateway/.device", stat.S_IFBLK | 0o600, os.makedev(8, 0))),
    "become root": attempt(lambda: os.setuid(0)),
    "set-uid file": attempt(lambda: os.chmod(sys.argv[1], 0o4700)),
    "read the secrets": attempt(lambda: os.listdir("/etc/credstore")),
    "read root's files": attempt(lambda: os.listdir("/root")),
    "host name": attempt(lambda: socket.sethostname("other")),
}
with open(sys.argv[1] + ".new", "w") as file:
    settings = [path for path in kernel if attempt(lambda: os.close(os.open(path, os.O_WRONLY))) is None]
    json.dump({"written": written, "refused": refused, "kernel": settings, "uid": os.getuid()}, file)
os.rename(sys.argv[1] + ".new", sys.argv[1])
"""
"""Tries to write everywhere and to do what a service must not, and says what it could; run in place of the gateway."""
