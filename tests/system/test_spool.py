#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A container that logs faster than journald: its program is not held up, every line arrives once and in order, and readers
see all of them, whoever is killed, removed or restarted while the rest waits on the disk. BERTH_BURST is the number of
lines."""
import contextlib
import os
import time
import unittest

import hosted
from hosted import processes, run
from test_faults import daemon_kill, kill, leftovers, listed

LINES = int(os.environ.get("BERTH_BURST", "200000"))
SPOOLS = "/var/lib/berth/spool"
JOURNAL = ("journalctl", "--quiet", "--all", "-o", "cat")
OTHERS = ("--network", "none", "--attach", "stderr", "busybox")


def numbers(first, last):
    return b"".join(b"%d\n" % number for number in range(first, last + 1))


@contextlib.contextmanager
def journald_stopped():
    """Takes nothing in meanwhile, so that what is to happen before the log is drained surely does."""
    run("systemctl", "kill", "--signal=STOP", "systemd-journald.service")
    try:
        yield
    finally:
        run("systemctl", "kill", "--signal=CONT", "systemd-journald.service")


def monitors(identifier):
    group = f"{hosted.SLICE}/berth-{identifier}.scope"
    found = processes(group)
    for name in listed(group):
        if os.path.isdir(f"{group}/{name}"):
            found += processes(f"{group}/{name}")
    return found


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def new_name(kind):
    return f"{kind}{time.time_ns()}"


def identify(name):
    return run("docker", "inspect", "--format", "{{.Id}}", name).strip()


class Spool(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        hosted.load_images()

    def setUp(self):
        hosted.remove_all()

    def tearDown(self):
        hosted.remove_all()
        self.drained()
        hosted.wait_until(lambda: not leftovers(), 10, f"clean: {leftovers()}", 0.1)

    def drained(self, seconds=120):
        hosted.wait_until(lambda: not listed(SPOOLS), seconds, f"drained: {listed(SPOOLS)}", 0.05)

    def burst(self, name, *options, first=1, last=LINES):
        """Runs the program to its end, and says how long it ran."""
        start = time.monotonic()
        run("berth", "run", "--name", name, *options, *OTHERS, "seq", str(first), str(last), timeout=120)
        return time.monotonic() - start

    def assert_same(self, got, wanted, what):
        if got != wanted:
            got, wanted = got.splitlines(), wanted.splitlines()
            at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
            self.fail(f"{what}: {len(got)} lines instead of {len(wanted)}, differing from line {at}: {got[at:at + 5]}")

    def assert_journal(self, name, wanted):
        self.drained()
        run("journalctl", "--sync")
        self.assert_same(run(*JOURNAL, f"CONTAINER_NAME={name}", text=False, timeout=120), wanted, "journalctl")

    def assert_logs(self, name, wanted, client="docker"):
        self.assert_same(run(client, "logs", name, text=False, timeout=120), wanted, f"{client} logs")

    def test_burst(self):
        name = new_name("burst")
        wanted = numbers(1, LINES)
        # With another one beside it, whose program's pages it shares.
        run("docker", "run", "-d", "--name", "beside", "--network", "none", "busybox", "sleep", "600")
        ran = self.burst(name)
        start = time.monotonic()
        waiting = bool(listed(SPOOLS))
        sizes = [private_kib(pid) for pid in monitors(identify(name))]
        self.assertEqual(run("docker", "logs", "--tail", "1", name, timeout=120), f"{LINES}\n")
        print(f"{LINES} lines: the program ran {ran:.2f} s, the journal had them {time.monotonic() - start:.1f} s later, "
              f"private memory {sizes} KiB", flush=True)
        self.assertTrue(waiting, "journald was fast enough: nothing was shown")
        self.assertLess(ran, 5)
        self.assertTrue(sizes and max(sizes) <= 1024, sizes)
        self.assert_journal(name, wanted)
        run("docker", "rm", "-f", "beside")
        unit = f"berth-{identify(name)}.scope"
        self.assertEqual(run(*JOURNAL, "-u", unit, f"CONTAINER_NAME={name}", text=False, timeout=120), wanted)

    def test_logs_right_after_the_end(self):
        wanted = numbers(1, LINES // 2)
        for arguments in (("docker", "logs"), ("berth", "logs"), ("docker", "logs", "-f"), ("berth", "logs", "-f", "--tail", "all")):
            with self.subTest(arguments):
                name = new_name("logs")
                self.burst(name, last=LINES // 2)
                self.assert_same(run(*arguments, name, text=False, timeout=120), wanted, " ".join(arguments))

    def test_attached_client_is_not_slowed(self):
        wanted = numbers(1, LINES)
        with journald_stopped():
            start = time.monotonic()
            output = run("berth", "run", "--name", "attached", "--network", "none", "busybox", "seq", "1", str(LINES), text=False)
            self.assertLess(time.monotonic() - start, 8)
        self.assert_same(output, wanted, "attached")
        self.assert_logs("attached", wanted)

    def test_follower_of_a_living_container(self):
        run("docker", "run", "-d", "--name", "talker", "--network", "none", "busybox", "sh", "-c", f"seq 1 {LINES // 4}; sleep 1")
        self.assert_same(run("docker", "logs", "-f", "talker", text=False, timeout=120), numbers(1, LINES // 4), "followed")

    def test_monitor_killed(self):
        """Again and again; the last time while nobody is there to notice."""
        for _ in range(2):
            name = new_name("killed")
            self.burst(name, last=LINES // 2)
            identifier = identify(name)
            kills = 0
            for turn in range(5):
                if turn == 4:
                    daemon_kill()
                for pid in monitors(identifier):
                    kill(pid)
                    kills += 1
                time.sleep(0.3)
            print(f"{kills} monitors killed", flush=True)
            self.assertGreater(kills, 0)
            self.assert_logs(name, numbers(1, LINES // 2))
            self.assert_journal(name, numbers(1, LINES // 2))

    def test_monitor_killed_before_anything_is_taken(self):
        name = new_name("early")
        with journald_stopped():
            self.burst(name, last=20000)
            for pid in monitors(identify(name)):
                kill(pid)
            time.sleep(0.5)
        self.assert_logs(name, numbers(1, 20000))
        self.assert_journal(name, numbers(1, 20000))

    def test_removed(self):
        for options, removal in ((("--rm",), None), ((), ("docker", "rm")), ((), ("docker", "rm", "-f"))):
            with self.subTest(options=options, removal=removal):
                name = new_name("removed")
                with journald_stopped():
                    self.assertLess(self.burst(name, *options, last=LINES // 4), 5)
                    if removal:
                        run(*removal, name)
                    hosted.wait_until(lambda: run("docker", "ps", "-aq") == "", 5, "removed")
                    self.assertEqual((listed(hosted.CONTAINERS), listed(hosted.RUNTIME)), ([], []))
                    identifier = listed(SPOOLS)[0]
                    self.assertTrue(monitors(identifier), "who drains is in the scope")
                    self.assertTrue(os.path.lexists(f"/run/systemd/units/log-rate-limit-burst:berth-{identifier}.scope"))
                    # The name is free at once.
                    run("docker", "run", "--rm", "--network", "none", "--name", name, "--log-driver", "none", "busybox", "true")
                self.assert_journal(name, numbers(1, LINES // 4))
                hosted.wait_until(lambda: not leftovers(), 10, "clean")

    def test_removed_and_killed(self):
        name = new_name("gone")
        with journald_stopped():
            self.burst(name, "--rm", last=20000)
            identifier = listed(SPOOLS)[0]
            daemon_kill()
            for pid in monitors(identifier):
                kill(pid)
        run("docker", "ps")
        self.assert_journal(name, numbers(1, 20000))

    def test_started_again(self):
        name = new_name("again")
        wanted = numbers(1, LINES // 4)
        self.burst(name, last=LINES // 4)
        for client in ("docker", "berth"):
            start = time.monotonic()
            run(client, "start", name)
            self.assertLess(time.monotonic() - start, 5)
            run(client, "wait", name)
        self.assert_logs(name, 3 * wanted)
        self.assert_journal(name, 3 * wanted)

    def test_started_again_after_a_kill(self):
        name = new_name("revived")
        wanted = numbers(1, LINES // 4)
        self.burst(name, last=LINES // 4)
        for pid in monitors(identify(name)):
            kill(pid)
        run("docker", "start", name)
        run("docker", "wait", name)
        self.assert_journal(name, 2 * wanted)

    def test_renamed_and_started_again(self):
        old, new = new_name("old"), new_name("new")
        with journald_stopped():
            self.burst(old, last=20000)
            run("docker", "rename", old, new)
            run("docker", "start", new)
            run("docker", "wait", new)
        self.assert_journal(old, numbers(1, 20000))
        self.assert_journal(new, numbers(1, 20000))
        self.assert_logs(new, 2 * numbers(1, 20000))

    def test_scope_stopped(self):
        """As at shutdown: who drains has the stop timeout, and the next daemon goes on with the rest."""
        name = new_name("stopped")
        with journald_stopped():
            self.burst(name, "--stop-timeout", "2", last=20000)
            identifier = identify(name)
            run("systemctl", "stop", "berth.service")
            start = time.monotonic()
            run("systemctl", "stop", f"berth-{identifier}.scope")
            self.assertGreater(time.monotonic() - start, 1.5)
            self.assertEqual(listed(SPOOLS), [identifier])
        run("docker", "start", name)
        run("docker", "wait", name)
        self.assert_journal(name, 2 * numbers(1, 20000))

    def test_journald_restarted(self):
        name = new_name("journald")
        wanted = numbers(1, LINES)
        self.burst(name, last=LINES)
        kill_it = ("systemctl", "kill", "--signal=KILL", "systemd-journald.service")
        draining = 0
        for pause, command in ((0.2, ("systemctl", "restart", "systemd-journald.service")), (0.2, kill_it), (0.1, kill_it), (0.5, kill_it)):
            time.sleep(pause)
            draining += bool(listed(SPOOLS))
            run(*command)
        self.assertGreaterEqual(draining, 2, "most of it was still to be stored")
        self.assert_logs(name, wanted)
        self.drained()
        run("journalctl", "--sync")
        # A record that journald was working on may be there twice, marked; all that were under way, when it dies twice at once.
        found = run(*JOURNAL, f"CONTAINER_NAME={name}", text=False, timeout=120).splitlines()
        self.assertEqual(set(found), set(wanted.splitlines()))
        self.assertLessEqual(len(found), LINES + 500)

    def test_daemon_goes_while_idle(self):
        name = new_name("idle")
        with journald_stopped():
            self.burst(name, "--rm", last=20000)
            hosted.wait_until(lambda: hosted.daemon_pid() == "0", 30, "gone", 0.2)
            self.assertEqual(len(listed(SPOOLS)), 1)
        self.assert_journal(name, numbers(1, 20000))

    def test_full_disk(self):
        """What does not fit waits in the pipe, and the program for it."""
        name = new_name("full")
        run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", SPOOLS)
        try:
            run("berth", "run", "--name", name, *OTHERS, "seq", "1", str(LINES), timeout=120)
            self.assert_logs(name, numbers(1, LINES))
            self.assert_journal(name, numbers(1, LINES))
        finally:
            self.drained()
            run("umount", "-l", SPOOLS)

    def test_long_lines(self):
        name = new_name("long")
        script = "i=0; while [ $i -lt 60 ]; do head -c 100000 /dev/zero | tr '\\0' x; echo $i; echo short $i; i=$((i + 1)); done"
        wanted = b"".join(b"x" * 100000 + b"%d\nshort %d\n" % (number, number) for number in range(60))
        with journald_stopped():
            run("berth", "run", "--name", name, *OTHERS, "sh", "-c", script)
        self.assert_logs(name, wanted)
        self.assert_journal(name, wanted)


if __name__ == "__main__":
    unittest.main()
