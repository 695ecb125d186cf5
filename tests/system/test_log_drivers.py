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

    def test_refusals(self):
        for options, message in ((("x=y",), "unknown log opt 'x' for json-file log driver"), (("max-size=x",), "invalid size: 'x'"),
                                 (("max-file=0",), "max-file cannot be less than 1")):
            with self.subTest(options):
                answer = subprocess.run(["docker", "create", *FILES, "--log-opt", *options, "busybox"], capture_output=True, check=False)
                self.assertIn(message, answer.stderr.decode())


if __name__ == "__main__":
    unittest.main(verbosity=2)
