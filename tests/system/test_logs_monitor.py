#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""berth-monitor against the real journald of a booted host: every line arrives, whatever happens to journald.

Runs as root, standalone: python3 tests/system/test_logs_monitor.py. The programs are taken from build/ beside this tree.
Each container is a shell command in a scope of its own; what the runtime does before it becomes the monitor is done here
by "launch"."""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import unittest

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MONITOR = os.environ.get("BERTH_MONITOR", os.path.join(TREE, "build/berth-monitor"))
READER = os.environ.get("BERTH_READER", os.path.join(TREE, "build/tests/test-journal-read"))
LINES = int(os.environ.get("BERTH_LINES", "1000000"))
LINE = "line %07d of a container, about as long as usual"


def launch(identifier, directory, script):
    """Becomes the monitor of a new first process."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(out_write, 1)
        os.dup2(err_write, 2)
        os.execv("/bin/sh", ["sh", "-c", script])
    os.close(out_write)
    os.close(err_write)
    pidfd = os.pidfd_open(pid)
    for fd in (out_read, err_read, pidfd):
        os.set_inheritable(fd, True)
    os.execv(MONITOR, ["berth-monitor", "--id", identifier, "--name", "web", "--image", "busybox", "--tag", "web/tag",
                       "--run", "1", "--directory", directory, "--stdin-once", "0", "--log-driver", "journald",
                       "--payload", "/nonexistent", "--pid", str(pid), "--pidfd", str(pidfd),
                       "--stdout", str(out_read), "--stderr", str(err_read)])


class Container:
    def __init__(self, script, lift=True):
        self.id = secrets.token_hex(32)
        self.directory = tempfile.mkdtemp()
        self.unit = f"berth-{self.id}.scope"
        self.links = [f"/run/systemd/units/log-rate-limit-{what}:{self.unit}" for what in ("interval", "burst")]
        if lift:
            os.makedirs("/run/systemd/units", exist_ok=True)
            for link in self.links:
                os.symlink("0", link)
        self.start = time.monotonic()
        self.process = subprocess.Popen(["systemd-run", "--quiet", "--scope", f"--unit={self.unit}", "--",
                                         sys.executable, __file__, "launch", self.id, self.directory, script])

    def wait(self):
        assert self.process.wait(timeout=300) == 0
        self.seconds = time.monotonic() - self.start
        for link in self.links:
            if os.path.islink(link):
                os.unlink(link)
        with open(os.path.join(self.directory, "exit.json"), encoding="utf-8") as record:
            return json.load(record)

    def journal(self, *options):
        subprocess.run(["journalctl", "--sync"], check=True)
        return subprocess.run(["journalctl", "--quiet", "--all", f"CONTAINER_ID_FULL={self.id}", *options],
                              check=True, stdout=subprocess.PIPE).stdout

    def entries(self):
        return [json.loads(line) for line in self.journal("--output=json").splitlines()]

    def read(self, tail=-1):
        """As the engine reads: (stream, line) of each."""
        result = subprocess.run([READER, "read", self.id, str(tail)], stdout=subprocess.PIPE, check=True).stdout
        return [(line[:1].decode(), line[line.index(b" ") + 1:]) for line in result.split(b"\n")[:-1]]


def burst(n, pause=""):
    return f"{pause} seq -f '{LINE.replace('%07d', '%07.0f')}' 1 {n}"


def expected(n):
    return [(LINE % i).encode() for i in range(1, n + 1)]


def systemctl(*arguments):
    subprocess.run(["systemctl", *arguments], check=True)


@unittest.skipUnless(os.path.exists("/run/systemd/journal/socket") and os.geteuid() == 0, "needs a host with journald")
class MonitorLogs(unittest.TestCase):
    maxDiff = 2000

    def assert_lines(self, found, wanted):
        if found != wanted:
            missing, extra = set(wanted) - set(found), len(found) - len(wanted)
            at = next((i for i, (a, b) in enumerate(zip(found, wanted)) if a != b), min(len(found), len(wanted)))
            self.fail(f"{len(missing)} missing, {extra} more than wanted, first difference at {at}: "
                      f"{found[at:at + 3]} instead of {wanted[at:at + 3]}")

    def test_all_lines_in_order(self):
        container = Container(burst(LINES))
        record = container.wait()
        self.assertEqual((record["ExitCode"], record["LinesLost"]), (0, 0))
        print(f"\n{LINES} lines in {container.seconds:.2f} s, {LINES / container.seconds:.0f} a second", flush=True)
        self.assert_lines(container.journal("--output=cat").split(b"\n")[:-1], expected(LINES))
        start = time.monotonic()
        lines = container.read()
        print(f"read back in {time.monotonic() - start:.2f} s", flush=True)
        self.assert_lines([line for _, line in lines], expected(LINES))
        start = time.monotonic()
        tail = container.read(10)
        print(f"the last 10 in {time.monotonic() - start:.3f} s", flush=True)
        self.assert_lines([line for _, line in tail], expected(LINES)[-10:])

    def test_a_long_line_is_one_entry(self):
        container = Container("head -c 262144 /dev/zero | tr '\\0' x; echo; echo end")
        container.wait()
        self.assertEqual(container.journal("--output=cat"), b"x" * 262144 + b"\nend\n")
        self.assertEqual(container.read(), [("o", b"x" * 262144), ("o", b"end")])

    def test_a_very_long_line_is_joined(self):
        container = Container("head -c 1000000 /dev/zero | tr '\\0' y; echo; echo end >&2")
        container.wait()
        self.assertEqual(sorted(container.read()), [("e", b"end"), ("o", b"y" * 1000000)])
        parts = [entry.get("CONTAINER_PARTIAL_MESSAGE") for entry in container.entries() if entry["PRIORITY"] == "6"]
        self.assertEqual(parts, ["true", "true", None])

    def test_binary_output(self):
        container = Container("printf 'a\\0\\377\\033[1mb\\r\\n\\n\\ttab \\n  trailing  \\n'")
        container.wait()
        self.assertEqual(container.read(), [("o", b"a\0\xff\x1b[1mb\r"), ("o", b""), ("o", b"\ttab "),
                                            ("o", b"  trailing  ")])

    def test_fields(self):
        container = Container("echo out; sleep 0.1; echo err >&2; exit 3")
        self.assertEqual(container.wait()["ExitCode"], 3)
        out, err = container.entries()
        self.assertEqual((out["MESSAGE"], out["PRIORITY"], err["MESSAGE"], err["PRIORITY"]), ("out", "6", "err", "3"))
        for name, value in {"CONTAINER_ID": container.id[:12], "CONTAINER_NAME": "web", "CONTAINER_TAG": "web/tag",
                            "IMAGE_NAME": "busybox", "SYSLOG_IDENTIFIER": "web/tag", "_TRANSPORT": "journal",
                            "_SYSTEMD_UNIT": container.unit, "_COMM": "berth-monitor"}.items():
            self.assertEqual(out[name], value)

    def disturbed(self, command):
        container = Container(burst(LINES // 4))
        for _ in range(3):
            time.sleep(1)
            systemctl(*command)
        record = container.wait()
        self.assertEqual((record["ExitCode"], record["LinesLost"]), (0, 0))
        lines = [line for _, line in container.read()]
        again = sum(1 for entry in container.journal("--output=cat", "CONTAINER_LOG_RESENT=1").splitlines() if entry)
        print(f"\n{' '.join(command)}: {again} records were sent again", flush=True)
        self.assert_lines(lines, expected(LINES // 4))

    def test_journald_restarted(self):
        # systemd itself refuses a unit that starts too often.
        systemctl("reset-failed", "systemd-journald.service")
        self.disturbed(["restart", "systemd-journald.service"])

    def test_journald_killed(self):
        systemctl("reset-failed", "systemd-journald.service")
        self.disturbed(["kill", "--signal=SIGKILL", "--kill-whom=main", "systemd-journald.service"])

    def test_journald_away(self):
        systemctl("reset-failed", "systemd-journald.service")
        container = Container("for i in 1 2 3 4 5 6; do echo line $i; sleep 0.5; done")
        sockets = ["systemd-journald.socket", "systemd-journald-dev-log.socket", "systemd-journald.service"]
        time.sleep(0.7)
        systemctl("stop", *sockets)
        time.sleep(1)
        systemctl("start", *sockets)
        self.assertEqual(container.wait()["LinesLost"], 0)
        self.assertEqual([line for _, line in container.read()], [b"line %d" % i for i in range(1, 7)])

    def test_rate_limit_is_lifted(self):
        limited = Container(burst(60000), lift=False)
        limited.wait()
        lifted = Container(burst(60000))
        lifted.wait()
        self.assertLess(len(limited.read()), 60000)
        self.assert_lines([line for _, line in lifted.read()], expected(60000))

    def test_signals_and_memory(self):
        container = Container(burst(20000) + "; sleep 2; echo bye; exit 7")
        time.sleep(1.5)
        children = subprocess.run(["pgrep", "-f", f"^berth-monitor --id {container.id}"], stdout=subprocess.PIPE,
                                  check=True).stdout.split()
        self.assertEqual(len(children), 1)
        pid = int(children[0])
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
            memory = {line.split(":")[0]: int(line.split()[1]) for line in rollup if line.endswith("kB\n")}
        print(f"\nPss {memory['Pss']} kB, private {memory['Private_Dirty'] + memory['Private_Clean']} kB", flush=True)
        self.assertLess(memory["Private_Dirty"] + memory["Private_Clean"], 1024)
        self.assertLess(memory["Pss"], 1024)
        for number in (15, 2, 1, 13):
            os.kill(pid, number)
        self.assertEqual(container.wait()["ExitCode"], 7)
        self.assertEqual(container.read(1), [("o", b"bye")])


if __name__ == "__main__":
    if sys.argv[1:2] == ["launch"]:
        launch(*sys.argv[2:5])
    unittest.main()
