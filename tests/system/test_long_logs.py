#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers that log at 1 MB/s for as long as BERTH_LOG_SECONDS (15; 600 are what Berth promises), each with another log
driver, while berthd and its sockets are stopped, and while journald is restarted and killed: no line is lost, nothing blocks,
and no program sees its output closed."""
import json
import os
import re
import subprocess
import time
import unittest

import hosted
from hosted import run
from test_faults import listed
from test_spool import SPOOLS, journald_stopped, new_name

SECONDS = int(os.environ.get("BERTH_LOG_SECONDS", "15"))
RATE = 1000  # lines of as many bytes
PAD = "x" * (RATE - 9)
FILES = ("--log-opt", "max-size=100m", "--log-opt", "max-file=20", "--log-opt", "compress=true")
DRIVERS = {"journald": (), "json-file": FILES, "local": FILES}
# A hundred lines each tenth of a second. A program whose output is closed ends with 141, or 9.
SCRIPT = f"""i=0
while [ $i -lt $N ]; do
    seq $((i * {RATE // 10} + 100000001)) $((i * {RATE // 10} + {RATE // 10} + 100000000)) | sed 's/$/{PAD}/' || exit 9
    i=$((i + 1))
    usleep 100000
done"""


def start(name, driver, seconds=SECONDS, *options):
    run("docker", "run", "-d", "--name", name, "--network", "none", "--log-driver", driver, *DRIVERS[driver], *options,
        "-e", f"N={10 * seconds}", "busybox", "sh", "-c", SCRIPT)
    return run("docker", "inspect", "--format", "{{.Id}}", name).strip()


def ended(identifier):
    """As the file system has it: who asks the daemon would start it."""
    return os.path.exists(f"{hosted.CONTAINERS}/{identifier}/exit.json")


def exit_record(identifier):
    with open(f"{hosted.CONTAINERS}/{identifier}/exit.json", encoding="ascii") as file:
        return json.load(file)


class LongLogs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        hosted.load_images()

    def setUp(self):
        hosted.remove_all()

    def tearDown(self):
        run("systemctl", "start", "berth.socket")
        hosted.remove_all()

    def assert_log(self, name, seconds=SECONDS, client="docker"):
        """Read as it comes: there may be 600 MB of it."""
        expected = 100000001
        with subprocess.Popen([client, "logs", name], stdout=subprocess.PIPE) as process:
            for line in process.stdout:
                if line != b"%d%s\n" % (expected, PAD.encode()):
                    process.kill()
                    self.fail(f"{name}, line {expected - 100000000}: {line[:40]!r} of {len(line)} bytes")
                expected += 1
        self.assertEqual((process.wait(), expected - 100000001), (0, RATE * seconds))

    def test_without_the_daemon(self):
        """All of the work while there is no daemon and nobody to tell."""
        made = {driver: (new_name(driver), driver) for driver in DRIVERS}
        identifiers = {driver: start(*arguments) for driver, arguments in made.items()}
        began = time.monotonic()
        run("systemctl", "stop", "berth.socket", "berth.service")
        hosted.wait_until(lambda: all(map(ended, identifiers.values())), 3 * SECONDS + 60, "the end of all three", 0.2)
        taken = time.monotonic() - began
        self.assertEqual(hosted.daemon_pid(), "0")
        for driver, identifier in identifiers.items():
            record = exit_record(identifier)
            self.assertEqual((driver, record["ExitCode"], record["LinesLost"]), (driver, 0, 0))
        run("systemctl", "start", "berth.socket")
        print(f"{RATE * SECONDS} lines, 1 MB/s for each of three drivers, berthd stopped: {taken:.1f} s", flush=True)
        for name, _ in made.values():
            for client in ("docker", "berth"):
                self.assert_log(name, client=client)
            self.assertEqual(run("docker", "inspect", "--format", "{{.State.ExitCode}}", name).strip(), "0")

    def test_journald_restarted_and_killed(self):
        name, seconds = new_name("blows"), max(SECONDS // 2, 8)
        identifier = start(name, "journald", seconds)
        blows = [("systemctl", "restart", "systemd-journald.service"), ("systemctl", "kill", "--signal=KILL", "systemd-journald.service")]
        count = 0
        while not ended(identifier):
            run(*blows[count % 2])
            count += 1
            # systemd gives up on a unit that is started too often.
            time.sleep(3)
        self.assertGreater(count, 1)
        record = exit_record(identifier)
        self.assertEqual((record["ExitCode"], record["LinesLost"]), (0, 0))
        print(f"{RATE * seconds} lines while journald was restarted and killed {count} times", flush=True)
        self.assert_log(name, seconds)

    def test_a_gap_is_reported(self):
        """Where lines have to go, because the container must not wait, the log says so in their place."""
        name = new_name("gap")
        options = ("--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=1m")
        identifier = start(name, "journald", 6, *options)
        with journald_stopped():
            hosted.wait_until(lambda: ended(identifier), 90, "the end", 0.2)
        self.assertEqual(exit_record(identifier)["ExitCode"], 0)
        hosted.wait_until(lambda: not listed(SPOOLS), 60, "drained", 0.1)
        answer = subprocess.run(["docker", "logs", name], capture_output=True, check=True)
        text = (answer.stdout + answer.stderr).decode()
        kept = [int(number) for number in re.findall(r"^(1\d{8})x+$", text, re.M)]
        lost = [int(number) for number in re.findall(r"(\d+) lines of output are lost here", text)]
        self.assertEqual(kept, sorted(set(kept)))
        self.assertGreater(sum(lost), 0)
        self.assertEqual((len(kept) + sum(lost), sum(lost)), (6 * RATE, exit_record(identifier)["LinesLost"]))


if __name__ == "__main__":
    unittest.main(verbosity=1)
