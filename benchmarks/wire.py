"""What a connection costs on the wire: a model in numbers, and a real TLS connection that is counted by the kernel.

The model, for IPv4 without link layer, TLS 1.3, MQTT 5:

    MQTT     the packets as the gateway writes them; PUBACK is 4 bytes
    TLS      22 bytes for each record (header 5, content type 1, tag 16); one write is one record, at most 16 KiB
    TCP/IP   52 bytes for each segment (IP 20, TCP 20, timestamps 12), 1448 bytes of data in a segment
    answer   the broker answers all PUBLISHes of one write in one write, which carries the TCP acknowledgement, and
             acknowledges every second further segment alone; ours for that answer is a bare segment

Packets that are written in the same moment share a write, as they do in the gateway. Handshakes, keep-alive and repeats
are left out: they are the same however the rows are sent.
"""

from __future__ import annotations

import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trustme

from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import PubAck, Publish

RECORD: Final = 22
LARGEST_RECORD: Final = 16_384
SEGMENT: Final = 52
DATA_OF_SEGMENT: Final = 1448
PUBACK: Final = 4

PAUSE: Final = 0.06
"""Seconds between two writes: longer than the kernel holds back an acknowledgement (40 ms), as at a real site."""


def modelled(writes: Sequence[Sequence[bytes]]) -> int:
    """Bytes on the wire, both ways, for PUBLISH packets in writes."""
    total = 0
    for frames in writes:
        up = _records(sum(map(len, frames)))
        down = _records(PUBACK * len(frames))
        segments = -(-up // DATA_OF_SEGMENT)
        answers = -(-down // DATA_OF_SEGMENT)
        bare = (segments - 1) // 2 + -(-answers // 2)
        total += up + down + SEGMENT * (segments + answers + bare)
    return total


def _records(size: int) -> int:
    return size + RECORD * -(-size // LARGEST_RECORD)


def counted(writes: Sequence[Sequence[bytes]]) -> int:
    """Bytes on the wire, both ways, for the same over a TLS connection on loopback, as the kernel has counted them."""
    with _broker() as (address, context):
        plain = socket.create_connection(address)
        with context.wrap_socket(plain, server_hostname="localhost") as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # What comes with the handshake and its first packets is not counted.
            _exchange(line, [encode(Publish("t", b"", 1, False, False, 1), 5)])
            time.sleep(PAUSE)
            before = _wire_bytes(line)
            for frames in writes:
                _exchange(line, frames)
                time.sleep(PAUSE)
            return _wire_bytes(line) - before


def _exchange(line: ssl.SSLSocket, frames: Sequence[bytes]) -> None:
    line.sendall(b"".join(frames))
    expected = PUBACK * len(frames)
    while expected > 0:
        expected -= len(line.recv(expected))


def _wire_bytes(line: ssl.SSLSocket) -> int:
    """Bytes and headers of all segments of both directions: tcp_info of Linux."""
    info = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    acked, received = struct.unpack_from("QQ", info, 120)
    segments_out, segments_in = struct.unpack_from("II", info, 136)
    return int(acked + received + SEGMENT * (segments_out + segments_in))


@contextmanager
def _broker() -> Iterator[tuple[tuple[str, int], ssl.SSLContext]]:
    """A server that answers every PUBLISH; its address, and the context that trusts it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ca.pem"
        authority.cert_pem.write_to_path(str(path))
        trusting = ssl.create_default_context(cafile=str(path))
    with socket.create_server(("127.0.0.1", 0)) as server:
        # Loopback takes 64 KiB in a segment, the line of a site does not. Taken over by what is accepted.
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, DATA_OF_SEGMENT + 12)
        thread = threading.Thread(target=_serve, args=(server, context))
        thread.start()
        yield server.getsockname(), trusting
        thread.join()


def _serve(server: socket.socket, context: ssl.SSLContext) -> None:
    accepted, _ = server.accept()
    with context.wrap_socket(accepted, server_side=True) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        decoder = Decoder(5)
        while data := line.recv(1 << 16):
            decoder.feed(data)
            answers = b""
            while (packet := decoder.next()) is not None:
                assert isinstance(packet, Publish)
                answers += encode(PubAck(packet.packet_id, 0), 5)
            if answers:
                line.sendall(answers)
