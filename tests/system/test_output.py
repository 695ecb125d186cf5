#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a container writes arrives whole, in order and byte for byte, by the API and by journalctl. BERTH_LINES=1000000 takes
five minutes."""
import json
import os
import subprocess
import threading
import time
import unittest

import hosted
from hosted import run

LINES = int(os.environ.get("BERTH_LINES", "100000"))
JOURNAL = ("journalctl", "--quiet", "--all")


def entries(name):
    run("journalctl", "--sync")
    return [json.loads(line) for line in run(*JOURNAL, f"CONTAINER_NAME={name}", "-o", "json").splitlines()]


class Output(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        hosted.load_images()

    def setUp(self):
        hosted.remove_all()

    tearDown = setUp

    def assert_same(self, got, wanted):
        """Like assertEqual, for megabytes."""
        if got != wanted:
            at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
            self.fail(f"{len(got)} bytes instead of {len(wanted)}, first difference at {at}: "
                      f"{got[at:at + 60]!r} instead of {wanted[at:at + 60]!r}")

    def test_many_lines(self):
        name = f"many{time.time_ns()}"
        wanted = b"".join(b"%d\n" % number for number in range(1, LINES + 1))
        times = {}

        def timed(what, *command):
            start = time.monotonic()
            output = run(*command, timeout=200, text=False)
            times[what] = round(time.monotonic() - start, 1)
            return output

        timed("run", "berth", "run", "--name", name, "--network", "none", "--attach", "stderr", "busybox", "seq", "1", str(LINES))
        self.assert_same(timed("berth logs", "berth", "logs", name), wanted)
        self.assert_same(timed("docker logs", "docker", "logs", name), wanted)
        run("journalctl", "--sync")
        self.assert_same(timed("journalctl", *JOURNAL, f"CONTAINER_NAME={name}", "-o", "cat"), wanted)
        self.assert_same(timed("tail", "docker", "logs", "--tail", "3", name), wanted[wanted.index(b"%d\n" % (LINES - 2)):])
        print(f"{LINES} lines, seconds: {times}", flush=True)
        self.assertLess(times["tail"], 1)

    def test_no_line_is_older_than_the_start(self):
        """Clients ask for the lines since StartedAt, also where the daemon is busy when the program begins to write."""
        done = threading.Event()

        def ask():
            while not done.is_set():
                hosted.call("GET", "/containers/json?all=1&size=1")
        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        try:
            for number in range(30):
                name = f"early-{number}"
                run("docker", "run", "-d", "--name", name, "busybox", "echo", "first")
                run("docker", "wait", name)
                started = json.loads(run("docker", "inspect", name))[0]["State"]["StartedAt"]
                self.assertEqual(run("docker", "logs", "--since", started, name), "first\n", name)
        finally:
            done.set()
            for asker in askers:
                asker.join()

    def test_many_lines_attached(self):
        """To a client that reads at its own pace, which holds the program up but loses nothing."""
        wanted = b"".join(b"%d\n" % number for number in range(1, 100001))
        for client in ("berth", "docker"):
            self.assert_same(run(client, "run", "--rm", "--network", "none", "busybox", "seq", "1", "100000", timeout=200,
                                 text=False), wanted)

    def test_long_line(self):
        for size in (16383, 16384, 16385, 262143, 262144, 1048576):
            for client in ("berth", "docker"):
                with self.subTest(size=size, client=client):
                    name = f"long{time.time_ns()}"
                    line = b"".join(b"%07d " % number for number in range(size // 8 + 1))[:size - 1] + b"$"
                    output = run(client, "run", "-i", "--name", name, "--network", "none", "busybox", "cat", data=line + b"\nend\n",
                                 text=False)
                    self.assert_same(output, line + b"\nend\n")
                    for reader in ("berth", "docker"):
                        self.assert_same(run(reader, "logs", name, text=False), line + b"\nend\n")
                    parts = entries(name)
                    self.assert_same("".join(part["MESSAGE"] for part in parts).encode(), line + b"end")
                    if size <= 262144:
                        self.assertEqual(len(parts), 2, "one entry a line")

    def test_binary(self):
        data = bytes(range(256)) * 300 + b"\0\n\0\0\n\xff\xfe\n\r\n\n \n" + os.urandom(50000) + b"\n"
        for client in ("berth", "docker"):
            output = run(client, "run", "-i", "--name", client, "--network", "none", "busybox", "cat", data=data, text=False)
            self.assert_same(output, data)
            for reader in ("berth", "docker"):
                with self.subTest(client=client, reader=reader):
                    self.assert_same(run(reader, "logs", client, text=False), data)

    def test_no_last_newline(self):
        run("docker", "run", "--name", "short", "--network", "none", "busybox", "printf", "one\ntwo")
        self.assertIn(run("docker", "logs", "short"), ("one\ntwo", "one\ntwo\n"))
        self.assertEqual(run("docker", "run", "--rm", "--network", "none", "busybox", "printf", "one\ntwo"), "one\ntwo")

    def test_input_of_100_mb(self):
        """Both ways at once, through a program that returns what it gets."""
        data = os.urandom(1 << 20) * 100
        for client in ("berth", "docker"):
            start = time.monotonic()
            output = run(client, "run", "-i", "--rm", "--network", "none", "--log-driver", "none", "busybox", "cat", data=data,
                         text=False)
            self.assert_same(output, data)
            print(f"{client}: 100 MB through cat in {time.monotonic() - start:.1f} s", flush=True)

    def test_streams(self):
        name = f"streams{time.time_ns()}"
        script = "i=0; while [ $i -lt 50 ]; do echo out $i; echo err $i >&2; i=$((i + 1)); done"
        result = subprocess.run(("docker", "run", "--name", name, "--network", "none", "busybox", "sh", "-c", script),
                                capture_output=True, timeout=60)
        out, err = ("".join(f"{stream} {number}\n" for number in range(50)).encode() for stream in ("out", "err"))
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, out, err))
        for reader in ("docker", "berth"):
            logs = subprocess.run((reader, "logs", name), capture_output=True, timeout=60)
            self.assertEqual((logs.stdout, logs.stderr), (out, err))
        found = entries(name)
        self.assertEqual([entry["MESSAGE"] for entry in found if entry["PRIORITY"] == "6"], out.decode().splitlines())
        self.assertEqual([entry["MESSAGE"] for entry in found if entry["PRIORITY"] == "3"], err.decode().splitlines())
        identifier = json.loads(run("docker", "inspect", name))[0]["Id"]
        for entry in found:
            self.assertEqual(
                [entry.get(field) for field in ("CONTAINER_ID_FULL", "CONTAINER_ID", "CONTAINER_NAME", "IMAGE_NAME", "_SYSTEMD_UNIT")],
                [identifier, identifier[:12], name, "busybox", f"berth-{identifier}.scope"])
            self.assertTrue(entry.get("CONTAINER_TAG") and entry.get("SYSLOG_IDENTIFIER"))

    def test_slow_reader(self):
        """A client that stops reading neither stops the log nor another client."""
        run("docker", "run", "-d", "--name", "talker", "--network", "none", "busybox", "sh", "-c", "seq 1 200000; echo end")
        stopped = subprocess.Popen(("docker", "logs", "-f", "talker"), stdout=subprocess.PIPE)
        self.assertEqual(run("docker", "wait", "talker").strip(), "0")
        self.assertEqual(run("docker", "logs", "--tail", "1", "talker"), "end\n")
        stopped.kill()
        stopped.communicate()


if __name__ == "__main__":
    unittest.main()
