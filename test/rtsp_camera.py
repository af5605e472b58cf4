"""A network camera in a test: a small RTSP server that sends pictures as JPEG (RFC 2326 and RFC 2435)."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.typing import NDArray

PACKET = 1400  # bytes of a picture in one packet
JPEG, TABLES_INCLUDED, CHROMA_HALVED = 26, 255, 1
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track\r\n"


@contextmanager
def rtsp_camera(pictures: Iterable[NDArray[np.uint8]], period: float) -> Iterator[str]:
    """Sends pictures to whoever plays the stream; it ends with the last of them.

    Args:
        pictures: uint8 RGB, sides divisible by 16.
        period: seconds between two of them.

    Yields: its address.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_serve, args=(listener, pictures, period), daemon=True)
    thread.start()
    try:
        yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/camera"
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # closing alone would not wake who waits for a client
        listener.close()
        thread.join()


def _serve(listener: socket.socket, pictures: Iterable[NDArray[np.uint8]], period: float) -> None:
    try:
        connection, _ = listener.accept()
    except OSError:  # closed, and nobody came
        return
    with connection, connection.makefile("rwb") as stream:
        try:
            while _answer(stream) != "PLAY":
                pass
            sequence = itertools.count()
            for number, picture in enumerate(pictures):
                for packet in _packets(picture, round(number * period * 90_000), sequence):
                    stream.write(struct.pack("!cBH", b"$", 0, len(packet)) + packet)
                stream.flush()
                time.sleep(period)
        except OSError:  # whoever watched has gone
            pass


def _answer(stream) -> str:  # type: ignore[no-untyped-def]
    """Answers one request. Returns: its method."""
    lines = list(iter(lambda: stream.readline().decode().strip(), ""))
    if not lines:
        raise ConnectionError("the client has gone")
    method = lines[0].split()[0]
    sequence = next(line.split(":")[1] for line in lines if line.lower().startswith("cseq"))
    fields = {
        "OPTIONS": "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
        "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n",
        "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
    }.get(method, "Session: 1\r\n")
    body = SDP if method == "DESCRIBE" else ""
    stream.write(f"RTSP/1.0 200 OK\r\nCSeq:{sequence}\r\n{fields}\r\n{body}".encode())
    stream.flush()
    return method


def _packets(picture: NDArray[np.uint8], time_90khz: int, sequence: Iterator[int]) -> Iterator[bytes]:
    """The RTP packets of one picture."""
    tables, scan = _jpeg(picture)
    height, width = picture.shape[:2]
    for offset in range(0, len(scan), PACKET):
        part = scan[offset : offset + PACKET]
        last = offset + PACKET >= len(scan)
        rtp = struct.pack("!BBHII", 0x80, last << 7 | JPEG, next(sequence) & 0xFFFF, time_90khz, 1)
        head = struct.pack("!IBBBB", offset, CHROMA_HALVED, TABLES_INCLUDED, width // 8, height // 8)
        quantisation = struct.pack("!BBH", 0, 0, len(tables)) + tables if offset == 0 else b""
        yield rtp + head + quantisation + part


def _jpeg(picture: NDArray[np.uint8]) -> tuple[bytes, bytes]:
    """Quantisation tables and compressed data of a picture."""
    data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
    tables, place = b"", 2
    while True:
        marker, length = struct.unpack("!HH", data[place : place + 4])
        segment = data[place + 4 : place + 2 + length]
        place += 2 + length
        if marker == 0xFFDB:
            tables += b"".join(segment[i + 1 : i + 65] for i in range(0, len(segment), 65))
        if marker == 0xFFDA:  # the compressed data follow, up to the end marker
            return tables, data[place:-2]
