#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Attaching with the log first and the stream behind it: nothing is lost and nothing comes twice, whatever the moment. Runs
as root in a booted host."""
import socket
import threading
import time
import unittest

import engine
import hosted
from hosted import call, run, wait_until
from test_websocket import kill_daemon, translators

NUMBERS = 3000
# Lines in two writes, so that many a moment is in the middle of one.
WRITER = (f"read x; i=0; while [ $i -lt {NUMBERS} ]; do printf 'line '; printf '%d\\n' $i; i=$((i+1)); [ $((i % 50)) -ne 0 ] || sleep 0.02; done; "
          "printf end; read x")
WANTED = b"".join(b"line %d\n" % i for i in range(NUMBERS)) + b"end"
OPTIONS = {"stream": 1, "stdout": 1, "stderr": 1, "logs": 1}


class Replays(unittest.TestCase):
    def setUp(self):
        hosted.load_images()
        hosted.remove_all()
        self.addCleanup(hosted.remove_all)

    def attach(self, name, **more):
        stream = engine.Stream("POST", f"/containers/{name}/attach", upgrade=True, server=hosted.BERTH, seconds=60, **{**OPTIONS, **more})
        self.assertEqual(stream.answer.status, 101, stream.answer.body)
        self.addCleanup(stream.socket.close)
        return stream

    def at_any_moment(self, terminal, *options):
        run("docker", "run", "-di", "--name", "writer", *(("-t",) if terminal else ()), *options, "busybox", "sh", "-c", WRITER)
        begin = self.attach("writer", stdin=1, logs=None)
        begin.send(b"\n")
        written, found = threading.Event(), []

        def watch():
            begin.expect(b"end")
            written.set()
            begin.read_all()

        def read(stream):
            found.append(stream.read_all())
        threads = [threading.Thread(target=watch)]
        threads[0].start()
        while not written.is_set() and len(threads) < 40:
            threads.append(threading.Thread(target=read, args=(self.attach("writer"),)))
            threads[-1].start()
            time.sleep(0.03)
        self.assertTrue(written.wait(60))
        self.assertGreater(len(threads), 5)
        begin.send(b"\n")
        for thread in threads:
            thread.join(60)
        self.assertEqual(len(found), len(threads) - 1)
        for data in found:
            text = engine.streams(data)[0] if not terminal else data.replace(b"\r\n", b"\n").strip(b"\n")  # the echo of what was typed
            self.assertEqual(text[-2000:], WANTED[-2000:])
            self.assertTrue(text == WANTED, f"{len(text)} bytes instead of {len(WANTED)}")
        run("docker", "rm", "-f", "writer")

    def test_journal(self):
        self.at_any_moment(False)

    def test_files(self):
        self.at_any_moment(False, "--log-driver", "json-file")
        self.at_any_moment(False, "--log-driver", "local")

    def test_terminal(self):
        self.at_any_moment(True)
        self.at_any_moment(True, "--log-driver", "json-file")

    def test_a_client_that_reads_late(self):
        """What is written while the log is on its way waits for it, and the container does not."""
        run("docker", "run", "-dit", "--name", "writer", "busybox", "sh", "-c", "seq 1 200000; read x; seq 200001 210000; touch /done; cat")
        wait_until(lambda: run("docker", "logs", "--tail", "1", "writer").strip() == "200000", 60, "a long log", 0.5)
        stream = self.attach("writer", stdin=1)
        time.sleep(1)
        begin = self.attach("writer", stdin=1, logs=None)
        begin.send(b"\n")
        begin.socket.close()
        wait_until(lambda: "/done" in run("docker", "diff", "writer"), 30, "the container's own work")
        run("docker", "kill", "writer")
        self.assertEqual(stream.read_all().split(), [b"%d" % i for i in range(1, 210001)])

    def test_over_the_daemons_death(self):
        run("docker", "run", "--name", "cat", "-i", "busybox", "cat", data=b"first\n")
        stream = self.attach("cat", stdin=1)
        stream.expect(b"first\n")
        kill_daemon()
        run("docker", "start", "cat")
        stream.send(b"second\n")
        stream.expect(b"second\n")
        kill_daemon()
        stream.send(b"third\n")
        stream.expect(b"third\n")
        again = self.attach("cat")
        self.assertEqual(engine.streams(again.expect(b"third\n"))[0], b"first\nsecond\nthird\n")

    def test_input_that_came_with_the_request_over_the_daemons_death(self):
        run("docker", "create", "--name", "cat", "-i", "busybox", "cat")
        before = translators()
        request = engine.build("POST", "/containers/cat/attach?stream=1&stdin=1&stdout=1", b"", ("Connection: Upgrade", "Upgrade: tcp"))
        connection, answer, output = engine.open_answer(request + b"early\n", server=hosted.BERTH)
        self.addCleanup(connection.close)
        self.assertEqual(answer.status, 101)
        kill_daemon()
        connection.sendall(b"later\n")
        run("docker", "start", "cat")
        connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65536):
            output += data
        self.assertEqual(engine.streams(output), (b"early\nlater\n", b""))
        wait_until(lambda: not translators() - before, 30, "none")

    def test_input_alone_and_nothing_is_left(self):
        run("docker", "run", "-di", "--name", "cat", "busybox", "cat")
        before = translators()
        stream = self.attach("cat", stdin=1)
        stream.send(b"hello\n")
        stream.expect(b"hello\n")
        wait_until(lambda: len(translators() - before) == 1, 30, "one process")
        stream.socket.close()
        wait_until(lambda: not translators() - before, 30, "none")
        self.assertEqual(run("docker", "inspect", "-f", "{{.State.Running}}", "cat"), "true\n")

    def test_a_monitor_is_not_held_up(self):
        """By somebody who asks for what was before, and says no more."""
        identifier = run("docker", "run", "-di", "--name", "cat", "busybox", "cat").strip()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as request:
            request.connect(f"{hosted.RUNTIME}/{identifier}/monitor.sock")
            ours, theirs = socket.socketpair()
            socket.send_fds(request, [b"attach hoe -"], [theirs.fileno()])
            self.assertEqual(request.recv(64), b"ok")
            stream = self.attach("cat", stdin=1, logs=None)
            begin = time.monotonic()
            stream.send(b"hello\n")
            stream.expect(b"hello\n")
            self.assertGreater(time.monotonic() - begin, 7)
            self.assertEqual(ours.recv(64), b"hello\n")
            ours.close()
            theirs.close()

    def test_where_no_log_is_kept(self):
        run("docker", "run", "-di", "--name", "cat", "--log-driver", "none", "busybox", "cat")
        answer = call("POST", "/containers/cat/attach?logs=1&stream=1&stdout=1")
        self.assertEqual(answer.status, 501)
        self.assertEqual(answer.message(), "configured logging driver does not support reading")


if __name__ == "__main__":
    unittest.main()
