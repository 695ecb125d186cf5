#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stages that do not depend on each other are built side by side, and told of one after the other."""
import os
import re
import subprocess
import unittest

import builds
import hosted
from hosted import run

CLIENTS = ("docker", "berth")
UPTIME = "cut -d' ' -f1 /proc/uptime"


def steps_of(text):
    return re.findall(r"(?m)^Step (\d+)/(\d+) : ", text)


class Stages(builds.Case):
    def setUp(self):
        super().setUp()
        self.addCleanup(hosted.wait_until, lambda: not run("docker", "ps", "-aq"), 10, "containers gone", 0.1)

    def test_side_by_side(self):
        """They overlap in time, whatever the client is told of first."""
        names = ("a", "b", "c", "d")
        stages = "".join(f"FROM busybox AS {name}\nENV N={name}\nRUN {UPTIME} >/begun; sleep 1; {UPTIME} >/ended; echo stage {name}\n"
                         for name in names)
        last = "FROM busybox\n" + "".join(f"COPY --from={name} /begun /ended /{name}/\n" for name in names)
        for client in CLIENTS:
            text = self.build_text(client, stages + last, "-t", "side:1", "--no-cache")
            self.assertEqual(steps_of(text), [(str(i), "17") for i in range(1, 18)])
            self.assertEqual(re.findall(r"(?m)^(Step \d+/17 : FROM|stage \w)", text),
                             [line for i, name in enumerate(names) for line in (f"Step {3 * i + 1}/17 : FROM", f"stage {name}")]
                             + ["Step 13/17 : FROM"])
            times = run("docker", "run", "--rm", "side:1", "sh", "-c", "cat /?/begun; cat /?/ended").split()
            self.assertLess(max(map(float, times[:4])), min(map(float, times[4:])))

    def test_cached(self):
        dockerfile = "FROM busybox AS a\nRUN echo a >/a\nFROM busybox AS b\nRUN echo b >/b\nFROM a\nCOPY --from=b /b /b\n"
        for client in CLIENTS:
            first = self.build_text(client, dockerfile, "-q")
            self.assertEqual(self.build_text(client, dockerfile, "-q"), first)
            self.assertEqual(self.build_text(client, dockerfile).count("Using cache"), 3)

    def test_diamond(self):
        """What several need is done once."""
        dockerfile = ("FROM busybox AS base\nRUN cat /proc/sys/kernel/random/uuid >/once\nFROM base AS left\nRUN echo left >/left\n"
                      "FROM base AS right\nRUN echo right >/right\nFROM base\nCOPY --from=left /left /once /l/\n"
                      "COPY --from=right /right /once /r/\n")
        for client in CLIENTS:
            text = self.build_text(client, dockerfile, "-t", "diamond:1", "--no-cache")
            self.assertEqual(text.count("RUN cat"), 1)
            run("docker", "run", "--rm", "diamond:1", "sh", "-c", "cmp /l/once /r/once && cmp /once /l/once && cat /l/left /r/right")

    def test_skipped(self):
        dockerfile = "FROM busybox AS no\nRUN exit 1\nFROM busybox AS yes\nRUN echo yes >/yes\nFROM busybox AS after\nRUN exit 2\n"
        for client in CLIENTS:
            text = self.build_text(client, dockerfile, "--target", "yes", "-t", "yes:1")
            self.assertEqual(steps_of(text), [("1", "2"), ("2", "2")])
            self.assertEqual(run("docker", "run", "--rm", "yes:1", "cat", "/yes"), "yes\n")

    def test_failure(self):
        """One that fails ends the others at once, and what it said is told."""
        dockerfile = ("FROM busybox AS slow\nRUN echo begun && sleep 600\nFROM busybox AS fails\nRUN echo said; exit 5\n"
                      "FROM busybox\nCOPY --from=slow / /\nCOPY --from=fails / /\n")
        for client in CLIENTS:
            text = self.build_text(client, dockerfile, status=5)
            self.assertIn("returned a non-zero code: 5", text)
            self.assertRegex(text, r"Step 4/7 : RUN echo said; exit 5\n.*\n.*said\n")

    def test_one_waits_for_the_cache_mount_of_the_other(self):
        run_step = "RUN --mount=type=cache,sharing=locked,id=stages,target=/c mkdir /c/mine && sleep 0.3 && rmdir /c/mine"
        names = ("a", "b", "c")
        dockerfile = "".join(f"FROM busybox AS {name}\nENV N={name}\n{run_step}\n" for name in names) + "FROM busybox\n" + \
            "".join(f"COPY --from={name} /etc/passwd /{name}\n" for name in names)
        self.build_text("berth", dockerfile, "--no-cache")

    def test_much_output_behind_another(self):
        """More than is held back in memory of a stage whose turn it isn't."""
        dockerfile = ("FROM busybox AS slow\nRUN sleep 2\nFROM busybox AS loud\nRUN yes 123456789 | head -n 2500000\n"
                      "FROM busybox\nCOPY --from=slow /etc/passwd /a\nCOPY --from=loud /etc/passwd /b\n")
        text = self.build_text("berth", dockerfile, "--no-cache")
        self.assertEqual(text.count("123456789\n"), 2500000)
        self.assertLess(text.index("sleep 2"), text.index("123456789\n"))

    def test_a_process_of_a_stage_is_killed(self):
        dockerfile = ("FROM busybox AS a\nRUN sleep 601\nFROM busybox AS b\nRUN sleep 602\nFROM busybox\n"
                      "COPY --from=a / /\nCOPY --from=b / /\n")
        (self.context / "Dockerfile").write_text(dockerfile)
        with subprocess.Popen(("berth", "build", str(self.context)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
            hosted.wait_until(lambda: len(run("docker", "ps", "-q").split()) == 2, 20, "two steps", 0.1)
            self.addCleanup(client.kill)
            worker, = run("pgrep", "-x", "-P", hosted.daemon_pid(), "berthd").split()
            os.kill(int(run("pgrep", "-P", worker).split()[1]), 9)
            text = client.communicate(timeout=30)[0].decode()
        self.assertEqual((client.returncode, "ended early" in text), (1, True), text)


if __name__ == "__main__":
    unittest.main()
