# SPDX-License-Identifier: LGPL-2.1-or-later
"""A WebSocket client (RFC 6455), as small as the tests need it."""
import base64
import hashlib
import os
import struct

from engine import build, open_answer, target

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocket:
    def __init__(self, path, server=None, seconds=30, headers=(), together=b"", **query):
        """HEADERS take the place of the opening's own; TOGETHER is sent in one write with it."""
        key = base64.b64encode(os.urandom(16)).decode()
        given = {header.split(":")[0].lower() for header in headers}
        own = [header for header in ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}",
                                     "Origin: http://localhost") if header.split(":")[0].lower() not in given]
        request = build("GET", target(path, query), b"", [*own, *(header for header in headers if not header.endswith(": "))])
        self.socket, self.answer, self.buffer = open_answer(request + together, server, seconds)
        self.accepts = self.answer.headers.get("sec-websocket-accept") == base64.b64encode(
            hashlib.sha1((key + SUFFIX).encode()).digest()).decode()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.socket.close()

    @staticmethod
    def frame(opcode, data, final=True, masked=True, reserved=0):
        mask = os.urandom(4)
        head = bytes([opcode | (0x80 if final else 0) | reserved << 4])
        bit = 0x80 if masked else 0
        if len(data) < 126:
            head += bytes([len(data) | bit])
        elif len(data) < 65536:
            head += struct.pack(">BH", 126 | bit, len(data))
        else:
            head += struct.pack(">BQ", 127 | bit, len(data))
        return head + (mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)) if masked else data)

    def send(self, data, opcode=BINARY, **how):
        self.socket.sendall(self.frame(opcode, data, **how))

    def take(self, size):
        while len(self.buffer) < size:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError(self.buffer)
            self.buffer += data
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def read(self):
        """The next frame, whole and unmasked: its opcode and its bytes. (None, b"") where the connection ends."""
        try:
            first, length = self.take(2)
        except (EOFError, ConnectionResetError):
            return None, b""
        assert first & 0xf0 == 0x80 and length < 0x80, (first, length)
        if length == 126:
            length, = struct.unpack(">H", self.take(2))
        elif length == 127:
            length, = struct.unpack(">Q", self.take(8))
        return first & 15, self.take(length)

    def expect(self, text):
        """Reads until TEXT has come, and gives all up to there."""
        data = b""
        while text not in data:
            opcode, piece = self.read()
            if opcode not in (TEXT, BINARY):
                raise AssertionError(f"{opcode} {piece!r} without {text!r}: {data!r}")
            data += piece
        return data

    def read_all(self):
        """All data up to the close frame, which has to come, and its reason."""
        data = b""
        while True:
            opcode, piece = self.read()
            if opcode == CLOSE:
                return data, struct.unpack(">H", piece[:2])[0] if piece else None
            if opcode not in (TEXT, BINARY):
                raise AssertionError(f"{opcode} {piece!r} after {data!r}")
            data += piece
