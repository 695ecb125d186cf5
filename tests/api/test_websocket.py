#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Attaching by WebSocket."""
import threading
import unittest

import engine
from engine import Case, call, create, inspect, run, succeed
from websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, WebSocket

ALL = {"stream": True, "stdin": True, "stdout": True, "stderr": True}
TALK = "echo out; echo err >&2; printf unfinished"


def begin(identifier):
    succeed("POST", f"/containers/{identifier}/start", status=204)


class Attach(Case):
    def attach(self, identifier, version="", headers=(), together=b"", **query):
        client = WebSocket(f"{version}/containers/{identifier}/attach/ws", headers=headers, together=together, **{**ALL, **query})
        self.addCleanup(client.socket.close)
        return client

    def test_opening(self):
        identifier = create("sh", "-c", TALK)
        client = self.attach(identifier)
        self.assertEqual(client.answer.status, 101)
        self.assertEqual(client.answer.headers["upgrade"].lower(), "websocket")
        self.assertEqual(client.answer.headers["connection"].lower(), "upgrade")
        self.assertTrue(client.accepts)
        begin(identifier)
        data, reason = client.read_all()
        self.assertEqual(sorted(data.replace(b"unfinished", b"unfinished\n").splitlines()), [b"err", b"out", b"unfinished"])
        self.assertEqual(reason, 1000)

    def test_kinds_of_messages(self):
        for version, kind in (("/v1.28", BINARY), ("/v1.27", TEXT), ("", BINARY)):
            with self.running("sh", "-c", "read line; echo got $line", OpenStdin=True) as identifier:
                client = self.attach(identifier, version)
                client.send(b"x\n", kind)
                self.assertEqual(client.read(), (kind, b"got x\n"))

    def test_one_stream_only(self):
        for wanted, expected in (("stdout", b"out\nunfinished"), ("stderr", b"err\n")):
            identifier = create("sh", "-c", TALK)
            client = self.attach(identifier, stdin=None, stdout=wanted == "stdout", stderr=wanted == "stderr")
            begin(identifier)
            self.assertEqual(client.read_all()[0], expected)

    def test_all_streams_of_old_versions(self):
        identifier = create("sh", "-c", TALK)
        client = self.attach(identifier, "/v1.41", stdin=None, stdout=None, stderr=None)
        begin(identifier)
        data = client.read_all()[0]
        self.assertIn(b"out\n", data)
        self.assertIn(b"err\n", data)

    def test_terminal(self):
        with self.running("sh", Tty=True, OpenStdin=True) as identifier:
            client = self.attach(identifier)
            client.send(b"echo $((40 + 2))\r")
            client.expect(b"42\r\n")
            succeed("POST", f"/containers/{identifier}/resize", status=200, h=33, w=77)
            client.send(b"stty size\r")
            client.expect(b"33 77")
            client.send(b"exit 6\r")
            self.assertEqual(client.read_all()[1], 1000)
            self.assertEqual(engine.finish(identifier), 6)

    def test_detach_keys(self):
        for keys, typed in ((None, b"\x10\x11"), ("ctrl-a", b"\x01"), ("ctrl-x,q", b"\x18q")):
            with self.running("cat", Tty=True, OpenStdin=True) as identifier:
                client = self.attach(identifier, detachKeys=keys)
                client.send(b"hello\r")
                client.expect(b"hello")
                client.send(typed)
                client.read_all()
                self.assertTrue(inspect(identifier)["State"]["Running"])

    def test_fragments_pings_and_sizes(self):
        with self.running("cat", OpenStdin=True) as identifier:
            client = self.attach(identifier)
            client.send(b"on", TEXT, final=False)
            client.send(b"are you there?", PING)
            client.send(b"e\n", CONTINUATION)
            seen = []
            data = b""
            while data != b"one\n" or not seen:
                opcode, piece = client.read()
                if opcode == PONG:
                    seen.append(piece)
                else:
                    data += piece
            self.assertEqual(seen, [b"are you there?"])
            client.send(b"unasked", PONG)
            for size in (125, 126, 65535, 65536, 300000):
                text = b"a" * (size - 1) + b"\n"
                client.send(text)
                self.assertEqual(client.expect(b"\n"), text)

    def test_much(self):
        data = bytes(range(256)) * 4096
        identifier = create("cat", OpenStdin=True, StdinOnce=True)
        client = self.attach(identifier)
        begin(identifier)

        def write():
            for at in range(0, len(data), 10007):
                client.send(data[at:at + 10007])
            client.send(b"\x03\xe8", CLOSE)
        writer = threading.Thread(target=write)
        writer.start()
        self.assertEqual(client.read_all()[0], data)
        writer.join()
        self.assertEqual(engine.finish(identifier), 0)

    def test_frames_that_come_with_the_opening(self):
        with self.running("sh", "-c", "read line; echo got $line", OpenStdin=True) as identifier:
            client = self.attach(identifier, together=WebSocket.frame(TEXT, b"early\n"))
            self.assertEqual(client.expect(b"\n"), b"got early\n")

    def test_the_client_closes(self):
        with self.running("cat", OpenStdin=True) as identifier:
            client = self.attach(identifier)
            client.send(b"one\n")
            client.expect(b"one\n")
            client.send(b"\x03\xe8", CLOSE)
            client.socket.close()
            self.assertTrue(inspect(identifier)["State"]["Running"])
            again = self.attach(identifier)
            again.send(b"two\n")
            again.expect(b"two\n")

    def test_unmasked_frames(self):
        with self.running("cat", OpenStdin=True) as identifier:
            client = self.attach(identifier)
            client.send(b"one\n", masked=False)
            self.assertEqual(client.read(), (CLOSE, b"\x03\xea"))
            self.assertTrue(inspect(identifier)["State"]["Running"])

    def test_several_clients(self):
        identifier = create("sh", "-c", TALK)
        clients = [self.attach(identifier, stderr=None) for _ in range(3)]
        begin(identifier)
        for client in clients:
            self.assertEqual(client.read_all()[0], b"out\nunfinished")

    def test_logs_without_stream(self):
        identifier = run("sh", "-c", TALK)
        client = self.attach(identifier, stream=None, logs=True)
        data, reason = client.read_all()
        self.assertEqual(reason, 1000)
        for text in (b"out\n", b"err\n", b"unfinished"):
            self.assertIn(text, data)

    def test_log_and_stream(self):
        with self.running("sh", "-c", "echo one; read x; echo two", OpenStdin=True) as identifier:
            engine.wait_until(lambda: b"one" in call("GET", f"/containers/{identifier}/logs", stdout=True).body)
            client = self.attach(identifier, logs=True)
            seen = client.expect(b"one\n")
            client.send(b"\n")
            self.assertEqual(seen + client.read_all()[0], b"one\ntwo\n")

    def test_refusals(self):
        self.assertEqual(self.attach("nosuch").answer.status, 404)
        identifier = create("cat", OpenStdin=True)
        self.assertEqual(self.attach(identifier, detachKeys="nonsense").answer.status, 400)
        with self.running("cat", OpenStdin=True) as running:
            succeed("POST", f"/containers/{running}/pause", status=204)
            self.assertEqual(self.attach(running).answer.status, 409)
            succeed("POST", f"/containers/{running}/unpause", status=204)


@unittest.skipUnless(engine.ENGINE == "berth", "dockerd holds what it refuses open")
class Openings(Case):
    def test_bad_ones(self):
        path = f"/containers/{create('cat')}/attach/ws"
        for header in ("Upgrade: tcp", "Connection: close", "Sec-WebSocket-Version: 12", "Sec-WebSocket-Key: short", "Sec-WebSocket-Key: ",
                       "Sec-WebSocket-Protocol: a, b"):
            with WebSocket(path, headers=[header], stream=True) as client:
                self.assertEqual(client.answer.status, 400, header)
        self.assertEqual(call("GET", path, stream=True).status, 400)
        with WebSocket(path, headers=["Sec-WebSocket-Protocol: one", "Connection: keep-alive, Upgrade"], stream=True) as client:
            self.assertEqual(client.answer.status, 101)
            self.assertEqual(client.answer.headers["sec-websocket-protocol"], "one")

    def test_broken_frames(self):
        with self.running("cat", OpenStdin=True) as identifier:
            for frame in (WebSocket.frame(BINARY, b"x", reserved=4), WebSocket.frame(3, b"x"), WebSocket.frame(CONTINUATION, b"x"),
                          WebSocket.frame(PING, b"x" * 126), WebSocket.frame(PING, b"x", final=False),
                          WebSocket.frame(TEXT, b"x", final=False) + WebSocket.frame(TEXT, b"y")):
                with WebSocket(f"/containers/{identifier}/attach/ws", **ALL) as client:
                    client.socket.sendall(frame)
                    self.assertEqual(client.read_all()[1], 1002, frame)
            self.assertTrue(inspect(identifier)["State"]["Running"])


if __name__ == "__main__":
    unittest.main()
