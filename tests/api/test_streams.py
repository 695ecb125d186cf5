#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Attach, logs, resize and wait: hijacked connections, multiplexed streams, terminals."""
import calendar
import re
import socket
import threading
import time

import engine
from engine import MULTIPLEXED_STREAM, RAW_STREAM, Case, Stream, call, create, inspect, run, start, streams, succeed

BOTH = {"stream": True, "stdout": True, "stderr": True}
TALK = "echo out; echo err >&2; printf unfinished"
UNFINISHED = engine.differs(b"unfinished\n", b"unfinished", "an entry of the journal is a line")


def begin(identifier):
    succeed("POST", f"/containers/{identifier}/start", status=204)


class Attach(Case):
    def attach(self, identifier, **query):
        stream = Stream("POST", f"/containers/{identifier}/attach", upgrade=True, **{**BOTH, **query})
        self.addCleanup(stream.socket.close)
        return stream

    def test_before_the_start(self):
        identifier = create("sh", "-c", TALK, AttachStdout=True, AttachStderr=True)
        stream = self.attach(identifier)
        self.assertEqual(stream.answer.status, 101)
        self.assertEqual(stream.answer.headers["upgrade"], "tcp")
        self.assertEqual(stream.answer.headers["connection"].lower(), "upgrade")
        self.assertEqual(stream.answer.headers["content-type"], MULTIPLEXED_STREAM)
        begin(identifier)
        self.assertEqual(streams(stream.read_all()), (b"out\nunfinished", b"err\n"))

    def test_without_upgrade(self):
        identifier = create("sh", "-c", TALK)
        stream = Stream("POST", f"/containers/{identifier}/attach", **BOTH)
        self.addCleanup(stream.socket.close)
        self.assertEqual((stream.answer.status, stream.answer.headers["content-type"]), (200, RAW_STREAM))
        begin(identifier)
        self.assertEqual(streams(stream.read_all()), (b"out\nunfinished", b"err\n"))

    def test_content_type_of_old_versions(self):
        identifier = create("sh", "-c", TALK)
        for version, kind in (("1.41", RAW_STREAM), ("1.42", MULTIPLEXED_STREAM)):
            with Stream("POST", f"/v{version}/containers/{identifier}/attach", upgrade=True, **BOTH) as stream:
                self.assertEqual(stream.answer.headers["content-type"], kind)

    def test_one_stream_only(self):
        for wanted, expected in (("stdout", (b"out\nunfinished", b"")), ("stderr", (b"", b"err\n"))):
            identifier = create("sh", "-c", TALK)
            stream = self.attach(identifier, stdout=wanted == "stdout", stderr=wanted == "stderr")
            begin(identifier)
            self.assertEqual(streams(stream.read_all()), expected)

    def test_input(self):
        identifier = create("cat", OpenStdin=True, StdinOnce=True, AttachStdin=True)
        stream = self.attach(identifier, stdin=True)
        begin(identifier)
        stream.send(b"one\n")
        self.assertEqual(streams(stream.expect(b"one\n")), (b"one\n", b""))
        stream.send(b"two")
        stream.end_input()
        self.assertEqual(streams(stream.read_all()), (b"two", b""))
        self.assertEqual(engine.finish(identifier), 0)

    def test_much_input(self):
        data = bytes(range(256)) * 4096
        identifier = create("cat", OpenStdin=True, StdinOnce=True)
        stream = self.attach(identifier, stdin=True)
        begin(identifier)

        def write():
            stream.send(data)
            stream.end_input()
        writer = threading.Thread(target=write)
        writer.start()
        self.assertEqual(streams(stream.read_all())[0], data)
        writer.join()

    def test_input_with_the_request(self):
        """What comes in one piece with the request, whether the container runs already or not, and what comes later."""
        expected = engine.differs(b"early\nlater\n", b"later\n", "dockerd drops what it has read already")
        for running in (True, False):
            for logs in (None, True):
                for upgrade in (("Connection: Upgrade", "Upgrade: tcp"), ("Connection: keep-alive",)):
                    with self.subTest(running=running, logs=logs, upgrade=upgrade):
                        identifier = create("cat", OpenStdin=True, StdinOnce=True)
                        if running:
                            begin(identifier)
                        path = engine.target(f"/containers/{identifier}/attach", {**BOTH, "stdin": True, "logs": logs})
                        connection, _, output = engine.open_answer(engine.build("POST", path, b"", upgrade) + b"early\n")
                        self.addCleanup(connection.close)
                        time.sleep(0.2)
                        connection.sendall(b"later\n")
                        if not running:
                            begin(identifier)
                        connection.shutdown(socket.SHUT_WR)
                        while data := connection.recv(65536):
                            output += data
                        self.assertEqual(streams(output), (expected, b""))
                        self.assertEqual(engine.finish(identifier), 0)

    def test_input_with_the_request_for_the_next_run(self):
        expected = engine.differs(b"early\n", b"", "dockerd drops what it has read already")
        identifier = run("sh", "-c", "test -e /again && cat; touch /again", OpenStdin=True, StdinOnce=True)
        for logs in (None, True):
            path = engine.target(f"/containers/{identifier}/attach", {**BOTH, "stdin": True, "logs": logs})
            connection, _, output = engine.open_answer(engine.build("POST", path, b"", ("Connection: Upgrade", "Upgrade: tcp")) + b"early\n")
            self.addCleanup(connection.close)
            connection.shutdown(socket.SHUT_WR)
            time.sleep(0.5)  # dockerd looks into the log after it has answered
            begin(identifier)
            while data := connection.recv(65536):
                output += data
            self.assertEqual(streams(output), (expected * (2 if logs else 1), b""))
            self.assertEqual(engine.finish(identifier), 0)

    def test_input_is_closed_without_stdin(self):
        identifier = create("cat")
        stream = self.attach(identifier, stdin=True)
        begin(identifier)
        self.assertEqual(stream.read_all(), b"")
        self.assertEqual(engine.finish(identifier), 0)

    def test_nothing_is_attached(self):
        """The answer ends at once, but where the container lives by its input."""
        for terminal in (False, True):
            for once in (False, True):
                made = create("sleep", "600", Tty=terminal, OpenStdin=True, StdinOnce=once)
                running = start("sleep", "600", Tty=terminal, OpenStdin=True, StdinOnce=once)
                for identifier in (made, running, run("true")):
                    for query in ({}, {"stream": False, "stdout": True}, {"stream": True}, {"stream": True, "logs": True}):
                        with self.subTest(terminal=terminal, once=once, running=identifier == running, query=query):
                            with Stream("POST", f"/containers/{identifier}/attach", upgrade=True, seconds=5, **query) as stream:
                                self.assertEqual(stream.answer.status, 101)
                                if identifier == running and once and not terminal and query.get("stream"):
                                    stream.socket.settimeout(0.5)
                                    self.assertRaises(TimeoutError, stream.read_some)
                                else:
                                    self.assertEqual(stream.read_all(), b"")
                call("POST", f"/containers/{running}/kill")

    def test_several_clients(self):
        identifier = create("sh", "-c", TALK)
        clients = [self.attach(identifier) for _ in range(3)]
        begin(identifier)
        for client in clients:
            self.assertEqual(streams(client.read_all()), (b"out\nunfinished", b"err\n"))

    def test_running(self):
        with self.running("sh", "-c", "read line; echo got $line", OpenStdin=True, StdinOnce=True) as identifier:
            stream = self.attach(identifier, stdin=True)
            stream.send(b"x\n")
            self.assertEqual(streams(stream.read_all()), (b"got x\n", b""))

    def test_terminal(self):
        identifier = create("sh", Tty=True, OpenStdin=True, StdinOnce=True)
        stream = self.attach(identifier, stdin=True)
        self.assertEqual(stream.answer.headers["content-type"], RAW_STREAM)
        begin(identifier)
        stream.expect(b"# ")
        succeed("POST", f"/containers/{identifier}/resize", status=200, h=33, w=77)
        stream.send(b"stty size\r")
        stream.expect(b"33 77")
        stream.send(b"exit 6\r")
        stream.read_all()
        self.assertEqual(engine.finish(identifier), 6)

    def test_detach_keys(self):
        for keys, typed in (("", b"\x10\x11"), ("ctrl-a", b"\x01"), ("ctrl-x,q", b"\x18q")):
            with self.running("cat", Tty=True, OpenStdin=True) as identifier:
                stream = self.attach(identifier, stdin=True, detachKeys=keys or None)
                stream.send(b"hello\r")
                stream.expect(b"hello")
                stream.send(typed)
                stream.read_all()
                self.assertTrue(inspect(identifier)["State"]["Running"])

    def test_of_an_ended_one(self):
        """Waits for its next run."""
        identifier = run("sh", "-c", TALK)
        stream = self.attach(identifier)
        begin(identifier)
        self.assertEqual(streams(stream.read_all()), (b"out\nunfinished", b"err\n"))

    def test_logs_without_stream(self):
        identifier = run("sh", "-c", TALK)
        stream = self.attach(identifier, stream=None, logs=True)
        self.assertEqual(streams(stream.read_all()), (b"out\n" + UNFINISHED, b"err\n"))

    def test_log_and_stream(self):
        """What was written before comes first, then what is written from now on."""
        with self.running("sh", "-c", "echo one; echo bad >&2; read x; echo two; read x; echo three", OpenStdin=True) as identifier:
            engine.wait_until(lambda: call("GET", f"/containers/{identifier}/logs", stdout=True, stderr=True).body.count(b"\n") == 2)
            stream = self.attach(identifier, stdin=True, logs=True)
            self.assertEqual(stream.answer.status, 101)
            seen = stream.expect(b"one\n")
            stream.send(b"\n")
            seen += stream.expect(b"two\n")
            second = self.attach(identifier, stdin=True, stderr=None, logs=True)
            earlier = second.expect(b"two\n")
            second.send(b"\n")
            self.assertEqual(streams(seen + stream.read_all()), (b"one\ntwo\nthree\n", b"bad\n"))
            self.assertEqual(streams(earlier + second.read_all()), (b"one\ntwo\nthree\n", b""))

    def test_log_and_stream_of_a_terminal(self):
        with self.running("sh", "-c", "echo one; read x; echo two", OpenStdin=True, Tty=True) as identifier:
            engine.wait_until(lambda: b"one" in call("GET", f"/containers/{identifier}/logs", stdout=True).body)
            stream = self.attach(identifier, stdin=True, logs=True)
            seen = stream.expect(b"one\r\n")
            stream.send(b"x\r")
            self.assertEqual(seen + stream.read_all(), b"one\r\nx\r\ntwo\r\n")

    def test_log_and_stream_of_one_that_does_not_run(self):
        """Its earlier runs, then its next one."""
        identifier = create("sh", "-c", "echo run; [ -e /second ] && echo more; touch /second")
        stream = self.attach(identifier, logs=True)
        time.sleep(0.5)  # dockerd looks into the log after it has answered
        begin(identifier)
        self.assertEqual(streams(stream.read_all()), (b"run\n", b""))
        engine.finish(identifier)
        stream = self.attach(identifier, logs=True)
        seen = stream.expect(b"run\n")
        begin(identifier)
        self.assertEqual(streams(seen + stream.read_all()), (b"run\nrun\nmore\n", b""))

    def test_log_of_those_that_cannot_be_attached(self):
        with self.running("sleep", "600") as identifier:
            succeed("POST", f"/containers/{identifier}/pause", status=204)
            answer = call("POST", f"/containers/{identifier}/attach", logs=True, **BOTH)
            self.assertEqual(answer.status, 409)
            self.assertIn(b"is paused", answer.body)
            succeed("POST", f"/containers/{identifier}/unpause", status=204)


class Logs(Case):
    def logs(self, identifier, **query):
        return call("GET", f"/containers/{identifier}/logs", **{"stdout": True, "stderr": True, **query})

    def test_streams(self):
        identifier = run("sh", "-c", TALK)
        answer = self.logs(identifier)
        self.assertEqual(answer.headers["content-type"], MULTIPLEXED_STREAM)
        self.assertEqual(streams(answer.body), (b"out\n" + UNFINISHED, b"err\n"))
        self.assertEqual(streams(self.logs(identifier, stderr=None).body), (b"out\n" + UNFINISHED, b""))
        self.assertEqual(streams(self.logs(identifier, stdout=None).body), (b"", b"err\n"))
        self.assertEqual(call("GET", f"/v1.41/containers/{identifier}/logs", stdout=True).headers["content-type"], RAW_STREAM)

    def test_terminal(self):
        answer = self.logs(run("sh", "-c", TALK, Tty=True))
        self.assertEqual(answer.headers["content-type"], RAW_STREAM)
        self.assertEqual(answer.body, b"out\r\nerr\r\n" + UNFINISHED)

    def test_tail(self):
        identifier = run("seq", "1", "100")
        lines = [b"%d\n" % number for number in range(1, 101)]
        for tail, count in ((None, 100), ("all", 100), ("x", 100), (-1, 100), (1, 1), (7, 7), (100, 100), (1000, 100), (0, 0)):
            self.assertEqual(streams(self.logs(identifier, tail=tail).body)[0], b"".join(lines[100 - count:]), tail)

    def test_times(self):
        identifier = run("sh", "-c", "echo early; sleep 1.5; echo late")
        lines = streams(self.logs(identifier, timestamps=True).body)[0].decode().splitlines()
        self.assertRegex(lines[0], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z early$")
        self.assertRegex(lines[1], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z late$")
        self.assertLess(lines[0], lines[1])
        stamps = engine.differs((lines[1].split()[0],), (), "as later engines do, it takes RFC 3339, too")
        for bound in (*stamps, f"{time_of(lines[1]) - 0.5:.9f}"):
            self.assertEqual(streams(self.logs(identifier, since=bound).body)[0], b"late\n", bound)
        middle = f"{time_of(lines[0]) + 0.5:.9f}"
        self.assertEqual(streams(self.logs(identifier, until=middle).body)[0], b"early\n")
        self.assertEqual(streams(self.logs(identifier, since=middle, until=middle).body)[0], b"")
        self.assertEqual(streams(self.logs(identifier, since=0, until=0).body)[0], b"early\nlate\n")

    def test_follow(self):
        identifier = start("sh", "-c", "echo one; read line; echo two", OpenStdin=True, StdinOnce=True)
        with Stream("GET", f"/containers/{identifier}/logs", stdout=True, follow=True) as stream:
            self.assertEqual(streams(stream.expect(b"one\n"))[0], b"one\n")
            with Stream("POST", f"/containers/{identifier}/attach", upgrade=True, stream=True, stdin=True) as attached:
                attached.send(b"\n")
                self.assertEqual(streams(stream.read_all())[0], b"two\n")

    def test_follow_of_an_ended_one(self):
        identifier = run("echo", "x")
        with Stream("GET", f"/containers/{identifier}/logs", stdout=True, follow=True) as stream:
            self.assertEqual(streams(stream.read_all())[0], b"x\n")

    def test_follow_with_tail(self):
        identifier = start("sh", "-c", "seq 1 10; sleep 1.5; echo end")
        time.sleep(0.7)
        with Stream("GET", f"/containers/{identifier}/logs", stdout=True, follow=True, tail=2) as stream:
            self.assertEqual(streams(stream.read_all())[0], b"9\n10\nend\n")

    def test_after_a_restart(self):
        identifier = run("sh", "-c", "echo run")
        begin(identifier)
        engine.finish(identifier)
        self.assertEqual(streams(self.logs(identifier).body)[0], b"run\nrun\n")

    def test_of_one_that_never_ran(self):
        answer = self.logs(create("true"))
        self.assertEqual((answer.status, answer.body), (200, b""))

    def test_long_line(self):
        identifier = run("sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end")
        self.assertEqual(streams(self.logs(identifier).body)[0], b"x" * 100000 + b"\nend\n")

    def test_bytes(self):
        """Whatever the program writes."""
        identifier = run("sh", "-c", r"printf 'a\000b\377\n\n \n\t\n'")
        self.assertEqual(streams(self.logs(identifier).body)[0], engine.differs(
            b"a\0b\xff\n\n \n\t\n", b"a\0b\xef\xbf\xbd\n\n \n\t\n", "dockerd's json-file has to be UTF-8"))

    def test_driver_none(self):
        identifier = run("echo", "x", host={"LogConfig": {"Type": "none"}})
        answer = self.logs(identifier)
        self.assertIn("configured logging driver does not support reading", answer.body.decode())

    def test_details(self):
        identifier = run("sh", "-c", "echo x", host={"LogConfig": {"Config": {"labels": "who"}}}, Labels={"who": "me"})
        text = streams(self.logs(identifier, details=True).body)[0]
        self.assertRegex(text, rb"^(who=me )?x\n$")


def time_of(line):
    stamp, fraction = re.match(r"(.*)\.(\d{9})Z", line).groups()
    return calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%S")) + int(fraction) / 1e9


class Wait(Case):
    def wait(self, identifier, **query):
        stream = Stream("POST", f"/containers/{identifier}/wait", **query)
        self.addCleanup(stream.socket.close)
        return stream

    def test_conditions(self):
        identifier = create("sh", "-c", "exit 4")
        self.assertEqual(succeed("POST", f"/containers/{identifier}/wait")["StatusCode"], 0)
        stream = self.wait(identifier, condition="next-exit")
        self.assertEqual((stream.answer.status, stream.answer.headers["content-type"]), (200, "application/json"))
        begin(identifier)
        self.assertIn(b'"StatusCode":4', stream.read_some())
        self.assertEqual(succeed("POST", f"/containers/{identifier}/wait", condition="not-running")["StatusCode"], 4)

    def test_removed(self):
        identifier = create("sh", "-c", "exit 5", host={"AutoRemove": True})
        stream = self.wait(identifier, condition="removed")
        begin(identifier)
        self.assertIn(b'"StatusCode":5', stream.read_some())
        self.refuse(404, "GET", f"/containers/{identifier}/json")

    def test_headers_come_first(self):
        with self.running() as identifier:
            stream = self.wait(identifier)
            self.assertEqual(stream.answer.status, 200)
            call("POST", f"/containers/{identifier}/kill")
            self.assertIn(b'"StatusCode":137', stream.read_some())

    def test_removed_by_force(self):
        with self.running() as identifier:
            stream = self.wait(identifier, condition="removed")
            succeed("DELETE", f"/containers/{identifier}", status=204, force=True)
            self.assertIn(b'"StatusCode":137', stream.read_some())


if __name__ == "__main__":
    engine.main()
