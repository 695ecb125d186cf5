#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logs in files: what is in them, that they rotate, and that docker logs reads all of it, berthd killed or not."""
import json
import os
import subprocess
import time
import unittest

import hosted
from hosted import run
from test_faults import daemon_kill

FILES = ("--network", "none", "--log-driver", "json-file")


def log_path(name):
    return run("docker", "inspect", "--format", "{{.LogPath}}", name).strip()


class LogDrivers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        hosted.load_images()

    def setUp(self):
        hosted.remove_all()

    def tearDown(self):
        hosted.remove_all()

    def test_lines_and_pieces(self):
        run("docker", "run", "--name", "lines", *FILES, "busybox", "sh", "-c",
            "head -c 40000 /dev/zero | tr '\\0' x; echo; printf part")
        path = log_path("lines")
        with open(path, encoding="utf-8") as lines:
            records = [json.loads(line) for line in lines]
        self.assertEqual([len(record["log"]) for record in records], [16384, 16384, 7233, 4])
        self.assertEqual({record["stream"] for record in records}, {"stdout"})
        self.assertEqual(run("docker", "logs", "lines"), "x" * 40000 + "\npart")
        run("docker", "rm", "lines")
        self.assertFalse(os.path.exists(path))

    def test_rotation(self):
        run("docker", "run", "--name", "turn", *FILES, "--log-opt", "max-size=10k", "--log-opt", "max-file=3", "busybox", "seq", "1000")
        directory = os.path.dirname(log_path("turn"))
        self.assertEqual(len([name for name in os.listdir(directory) if "-json.log" in name]), 3)
        self.assertEqual(run("docker", "logs", "turn").split(), [str(i) for i in range(682, 1001)])
        self.assertEqual(run("docker", "logs", "--tail", "200", "turn").split(), [str(i) for i in range(801, 1001)])

    def test_follower_outlives_the_daemon(self):
        run("docker", "run", "-d", "--name", "slow", *FILES, "busybox", "sh", "-c", "for i in 1 2 3 4; do echo $i; sleep 1; done")
        with subprocess.Popen(["docker", "logs", "-f", "slow"], stdout=subprocess.PIPE) as follower:
            time.sleep(1)
            daemon_kill()
            self.assertEqual(follower.communicate(timeout=30)[0], b"1\n2\n3\n4\n")

    def test_attributes(self):
        """Labels, variables and the tag: in files as dockerd writes them, in the journal as fields."""
        options = ("--network", "none", "--label", "who=a b", "--label", "x.y=1", "--label", "other=no", "-e", "ENV1=v/1", "-e", "ENV2=no",
                   "--log-opt", "labels=who", "--log-opt", "labels-regex=^x", "--log-opt", "env=ENV1", "--log-opt", "tag={{.Name}}/{{ .ImageName }}")
        run("docker", "run", "--name", "marked", "--log-driver", "json-file", *options, "busybox", "echo", "text")
        with open(log_path("marked"), encoding="utf-8") as lines:
            record = json.loads(lines.readline())
        self.assertEqual(record["attrs"], {"who": "a b", "x.y": "1", "ENV1": "v/1", "tag": "marked/busybox"})
        self.assertEqual(run("docker", "logs", "--details", "marked"), "ENV1=v%2F1,tag=marked%2Fbusybox,who=a+b,x.y=1 text\n")
        run("docker", "run", "--name", "listed", *options, "busybox", "echo", "text")
        entry = json.loads(run("journalctl", "CONTAINER_NAME=listed", "-o", "json", "-n", "1"))
        self.assertEqual([entry.get(key) for key in ("WHO", "X_Y", "ENV1", "CONTAINER_TAG", "SYSLOG_IDENTIFIER", "OTHER", "ENV2")],
                         ["a b", "1", "v/1", "listed/busybox", "listed/busybox", None, None])
        self.assertEqual(run("docker", "logs", "listed"), "text\n")

    def test_without_effect(self):
        """Taken, as files of Compose have them, with a word about it."""
        for options in (("mode=non-blocking", "max-buffer-size=4m"), ("max-size=1m", "max-file=2", "compress=true")):
            arguments = [word for option in options for word in ("--log-opt", option)]
            made = subprocess.run(["docker", "create", *FILES, *arguments, "busybox", "true"], capture_output=True, check=True)
            self.assertIn(b"no effect", made.stderr)

    def test_refusals(self):
        for options, message in ((("x=y",), "unknown log opt 'x' for json-file log driver"),
                                 (("mode=foo",), "logger: logging mode not supported: foo"),
                                 (("max-buffer-size=1m",), "only supported with 'mode=non-blocking'"),
                                 (("mode=non-blocking", "max-buffer-size=z"), "error parsing option max-buffer-size: invalid size: 'z'"),
                                 (("compress=x",), 'strconv.ParseBool: parsing "x": invalid syntax'),
                                 (("compress=true",), "compress cannot be true when max-file is less than 2 or max-size is not set"),
                                 (("labels-regex=(",), "error parsing regexp"), (("tag={{.Foo}}",), "can't evaluate field Foo"),
                                 (("tag={{.Name",), "unclosed action"), (("max-size=x",), "invalid size: 'x'"),
                                 (("max-file=0",), "max-file cannot be less than 1")):
            with self.subTest(options):
                arguments = [word for option in options for word in ("--log-opt", option)]
                answer = subprocess.run(["docker", "create", *FILES, *arguments, "busybox"], capture_output=True, check=False)
                self.assertIn(message, answer.stderr.decode())


if __name__ == "__main__":
    unittest.main(verbosity=2)
