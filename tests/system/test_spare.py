#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The scope that is made ahead for the next container: who gets it, and that it goes when nobody needs it. What limits have to do
with it is in vm_limits.py."""
import json
import os
import signal
import time
import unittest

import hosted
from hosted import daemon_pid, load_images, remove_all, run, wait_until

SHOWN = "Slice,Delegate,TimeoutStopUSec,KillSignal,CollectMode,Documentation,TasksMax,MemoryMax,CPUWeight,ActiveState,SubState"


def spare():
    """The ID of the container that it waits for, once the holder has settled there."""
    found = []

    def there():
        found[:] = [name for name in hosted.spare_scopes() if hosted.processes(f"{hosted.SLICE}/{name}/monitor")]
        return len(found) == 1 and os.path.isdir(f"{hosted.SLICE}/{found[0]}/payload")
    wait_until(there, 5, "a scope that waits")
    time.sleep(0.2)  # the holder tells the daemon now
    return found[0][len("berth-"):-len(".scope")]


def holder(identifier):
    return hosted.processes(f"{hosted.SLICE}/berth-{identifier}.scope/monitor")[0]


def properties(identifier):
    return run("systemctl", "show", "-p", SHOWN, f"berth-{identifier}.scope")


class Spare(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_images()
        remove_all()

    def setUp(self):
        run("docker", "run", "--rm", "busybox", "true")

    def tearDown(self):
        remove_all()

    def start(self, *options):
        return run("docker", "run", "-d", *options, "busybox", "sleep", "1000").strip()

    def test_the_next_container_gets_it(self):
        waiting = spare()
        process = holder(waiting)
        before = properties(waiting)
        identifier = self.start("--name", "next")
        self.assertEqual(identifier, waiting)
        self.assertEqual(properties(identifier), before)
        wait_until(lambda: run("systemctl", "show", "-P", "Description", f"berth-{identifier}.scope") == "Container next (busybox)\n",
                   5, "the container's name")
        wait_until(lambda: not os.path.exists(f"/proc/{process}"), 5, "the end of who held it")
        state = json.loads(run("docker", "inspect", "next"))[0]["State"]
        self.assertEqual(hosted.processes(f"{hosted.SLICE}/berth-{identifier}.scope/payload"), [state["Pid"]])
        self.assertNotEqual(spare(), identifier)
        # As any other it can be started again, and then has a scope that systemd makes for it.
        run("docker", "restart", "-t", "0", "next")
        self.assertEqual(properties(identifier), before)

    def test_it_is_as_a_scope_that_was_asked_for(self):
        ahead = self.start("--name", "ahead")
        run("docker", "restart", "-t", "0", "ahead")
        asked = properties(ahead)
        waiting = spare()
        self.assertEqual(properties(waiting), asked)

    def test_what_is_stopped_otherwise_or_elsewhere_waits_for_its_own(self):
        for options in (("--stop-timeout", "33"), ("--cgroup-parent", "other.slice")):
            with self.subTest(options=options):
                waiting = spare()
                self.assertNotEqual(self.start(*options), waiting)
                self.assertEqual(spare(), waiting)

    def test_one_that_is_removed_unstarted(self):
        """Its ID is not given again."""
        waiting = spare()
        self.assertEqual(run("docker", "create", "--name", "never", "busybox").strip(), waiting)
        run("docker", "rm", "never")
        other = self.start()
        self.assertNotEqual(other, waiting)
        wait_until(lambda: waiting not in "".join(hosted.all_scopes()), 5, "the end of its scope")
        self.assertNotIn(spare(), (waiting, other))

    def test_created_ones_that_wait(self):
        waiting = spare()
        names = [run("docker", "create", "--name", f"c{number}", "busybox", "sleep", "1000").strip() for number in range(3)]
        self.assertEqual(names.index(waiting), 0)
        for identifier in reversed(names):
            run("docker", "start", identifier)
        for identifier in names:
            self.assertEqual(len(hosted.processes(f"{hosted.SLICE}/berth-{identifier}.scope/payload")), 1)

    def test_deaths(self):
        for victim in ("holder", "scope", "daemon", "service"):
            with self.subTest(victim=victim):
                run("docker", "run", "--rm", "busybox", "true")
                waiting = spare()
                created = run("docker", "create", "--name", victim, "busybox", "sleep", "1000").strip()
                self.assertEqual(created, waiting)
                if victim == "holder":
                    os.kill(holder(waiting), signal.SIGKILL)
                elif victim == "scope":
                    begin = time.monotonic()
                    run("systemctl", "stop", f"berth-{waiting}.scope")
                    self.assertLess(time.monotonic() - begin, 10)
                elif victim == "daemon":
                    os.kill(int(daemon_pid()), signal.SIGKILL)
                else:
                    run("systemctl", "restart", "berth.service")
                run("docker", "start", victim)
                self.assertEqual(len(hosted.processes(f"{hosted.SLICE}/berth-{created}.scope/payload")), 1)
                run("docker", "rm", "-f", victim)
        # Also one that is just being made.
        for pause in (0, 0.05, 0.06, 0.07, 0.5):
            run("docker", "run", "--rm", "busybox", "true")
            time.sleep(pause)
            run("systemctl", "stop", "berth.service")
            wait_until(lambda: hosted.all_scopes() == [], 5, f"no scope after a pause of {pause} s")

    def test_a_failed_start(self):
        waiting = spare()
        identifier = run("docker", "create", "--name", "wrong", "busybox", "nothing").strip()
        self.assertEqual(identifier, waiting)
        self.assertIn("executable file not found", hosted.call("POST", "/containers/wrong/start").json()["message"])
        wait_until(lambda: f"berth-{identifier}.scope" not in hosted.all_scopes(), 5, "the end of its scope")


if __name__ == "__main__":
    unittest.main()
