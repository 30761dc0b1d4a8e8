"""A server of python-snap7: s7_server.py PORT. The same script runs on version 3 (pure Python) and 2 (the C library).

DB1 has 64 bytes, DB2 300, M 16; no DB3. Prints a line when it is ready.
"""

import ctypes
import struct
import sys
import time
from typing import Any

from snap7.server import Server
from snap7.type import SrvArea

DB1 = bytearray(64)
struct.pack_into(">hi", DB1, 0, -1234, 70_000)
struct.pack_into(">f", DB1, 8, 3.5)
DB1[12] = 0b10100101
DB1[20:24] = b"\x0a\x02Hi"
struct.pack_into(">d", DB1, 40, -2.25)


def area(content: bytes | bytearray) -> Any:
    return (ctypes.c_ubyte * len(content))(*content)


server = Server(log=False)
areas = [area(DB1), area(bytes(n % 251 for n in range(300))), area(bytes(range(16)))]
server.register_area(SrvArea.DB, 1, areas[0])
server.register_area(SrvArea.DB, 2, areas[1])
server.register_area(SrvArea.MK, 0, areas[2])
server.start_to("127.0.0.1", int(sys.argv[1]))
sys.stdout.write("ready\n")
sys.stdout.flush()
while True:
    if not server.pick_event():
        time.sleep(0.05)
