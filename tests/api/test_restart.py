#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Restart policies: which ends are followed by a start, what is seen meanwhile, what a stop does; --init; health checks."""
import time

import engine
from engine import PREFIX, Case, call, create, finish, inspect, run, start, succeed, wait_until


def policy(name, count=0):
    return {"RestartPolicy": {"Name": name, "MaximumRetryCount": count}}


def state(identifier):
    return inspect(identifier)["State"]


def listed(**filters):
    return [container["Id"] for container in succeed("GET", "/containers/json", filters={"label": [engine.LABEL], **filters})]


def wait_restarting(identifier):
    wait_until(lambda: state(identifier)["Restarting"], pause=0.01)


class Policies(Case):
    def test_refusals(self):
        def refused(text, restart, **host):
            self.refuse(400, "POST", "/containers/create", {"Image": "busybox", "HostConfig": {"RestartPolicy": restart, **host}}, text)

        refused("invalid restart policy: unknown policy 'odd'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
                {"Name": "odd"})
        refused("invalid restart policy: maximum retry count cannot be negative", {"Name": "on-failure", "MaximumRetryCount": -1})
        refused("invalid restart policy: maximum retry count can only be used with 'on-failure'",
                {"Name": "always", "MaximumRetryCount": 2})
        refused("can't create 'AutoRemove' container with restart policy", {"Name": "always"}, AutoRemove=True)

    def test_no(self):
        self.assertEqual(inspect(create())["HostConfig"]["RestartPolicy"], {"Name": "no", "MaximumRetryCount": 0})
        identifier = run("false", host=policy("no"))
        time.sleep(0.5)
        self.assertEqual((state(identifier)["Status"], inspect(identifier)["RestartCount"]), ("exited", 0))

    def test_on_failure_with_a_limit(self):
        identifier = start("sh", "-c", "exit 7", host=policy("on-failure", 2))
        wait_until(lambda: state(identifier)["Status"] == "exited" and inspect(identifier)["RestartCount"] == 2)
        time.sleep(0.3)
        shown = inspect(identifier)
        self.assertEqual((shown["State"]["Status"], shown["State"]["ExitCode"], shown["RestartCount"]), ("exited", 7, 2))
        self.assertFalse(shown["State"]["Restarting"])

    def test_on_failure_after_success(self):
        identifier = run("true", host=policy("on-failure"))
        time.sleep(0.4)
        self.assertEqual((state(identifier)["Status"], inspect(identifier)["RestartCount"]), ("exited", 0))

    def test_the_pause_doubles(self):
        since = time.time()
        identifier = start("false", host=policy("on-failure", 4))
        wait_until(lambda: inspect(identifier)["RestartCount"] == 4 and state(identifier)["Status"] == "exited")
        events = call("GET", "/events", since=f"{since:.6f}", until=f"{time.time():.6f}", filters={"container": [identifier]}).lines()
        ends = [event["timeNano"] / 1e9 for event in events if event["Action"] == "die"]
        begins = [event["timeNano"] / 1e9 for event in events if event["Action"] == "start"]
        pauses = [begin - end for end, begin in zip(ends, begins[1:])]
        self.assertEqual(len(pauses), 4)
        for pause, expected in zip(pauses, (0.1, 0.2, 0.4, 0.8)):
            # A start takes dockerd itself a second and more where the machine is busy.
            self.assertTrue(expected * 0.8 <= pause <= expected + 5, pauses)

    def test_restarting_as_it_is_seen(self):
        identifier = start("sh", "-c", "exit 3", host=policy("always"))
        wait_until(lambda: inspect(identifier)["RestartCount"] >= 3)
        wait_restarting(identifier)
        shown = inspect(identifier)
        self.assertEqual((shown["State"]["Status"], shown["State"]["Running"], shown["State"]["Pid"], shown["State"]["ExitCode"]),
                         ("restarting", True, 0, 3))
        self.assertIn(identifier, listed())
        self.assertIn(identifier, listed(status=["restarting"]))
        entry = [c for c in succeed("GET", "/containers/json") if c["Id"] == identifier][0]
        self.assertEqual(entry["State"], "restarting")
        self.assertRegex(entry["Status"], r"^Restarting \(3\) .* ago$")

    def test_what_is_refused_meanwhile(self):
        identifier = start("false", name="busy", host=policy("always"))
        wait_until(lambda: inspect(identifier)["RestartCount"] >= 4)
        wait_restarting(identifier)
        text = f"Container {identifier} is restarting, wait until the container is running"
        self.refuse(409, "POST", f"/containers/{identifier}/exec", {"Cmd": ["true"]}, text)
        wait_restarting(identifier)
        answer = call("POST", f"/containers/{identifier}/attach", stream=True)
        self.assertEqual(answer.status, 409)
        self.assertIn(text.replace("C", "c", 1).encode(), answer.body)
        wait_restarting(identifier)
        self.refuse(409, "DELETE", f"/containers/{identifier}", text=f'cannot remove container "/{PREFIX}busy": container is restarting: '
                    "stop the container before removing or force remove")
        wait_restarting(identifier)
        self.assertEqual(call("POST", f"/containers/{identifier}/start").status, 304)

    def test_stop_while_restarting(self):
        identifier = start("false", host=policy("always"))
        wait_until(lambda: inspect(identifier)["RestartCount"] >= 3)
        wait_restarting(identifier)
        self.assertEqual(call("POST", f"/containers/{identifier}/stop").status, 204)
        wait_until(lambda: state(identifier)["Status"] == "exited")
        count = inspect(identifier)["RestartCount"]
        time.sleep(1.2)
        self.assertEqual((state(identifier)["Status"], inspect(identifier)["RestartCount"]), ("exited", count))
        succeed("POST", f"/containers/{identifier}/start", status=204)
        self.assertLess(inspect(identifier)["RestartCount"], count)

    def test_kill_while_restarting(self):
        identifier = start("false", host=policy("always"))
        wait_until(lambda: inspect(identifier)["RestartCount"] >= 3)
        wait_restarting(identifier)
        self.assertEqual(call("POST", f"/containers/{identifier}/kill").status, 204)
        wait_until(lambda: state(identifier)["Status"] == "exited")

    def test_force_removal_while_restarting(self):
        for _ in range(3):
            identifier = start("false", host=policy("always"))
            time.sleep(0.15)
            self.assertEqual(call("DELETE", f"/containers/{identifier}", force=True).status, 204)
            self.assertEqual(call("GET", f"/containers/{identifier}/json").status, 404)

    def test_stop_ends_it(self):
        for name in ("always", "unless-stopped", "on-failure"):
            identifier = start("sleep", "60", host=policy(name))
            succeed("POST", f"/containers/{identifier}/stop?t=0", status=204)
            time.sleep(0.4)
            self.assertEqual((state(identifier)["Status"], inspect(identifier)["RestartCount"]), ("exited", 0), name)

    def test_kill_ends_it(self):
        identifier = start("sleep", "60", host=policy("always"))
        succeed("POST", f"/containers/{identifier}/kill", status=204)
        finish(identifier)
        time.sleep(0.4)
        self.assertEqual(state(identifier)["Status"], "exited")

    def test_another_signal_does_not_where_the_container_names_its_own(self):
        identifier = start("sh", "-c", "trap 'exit 1' HUP; while :; do sleep 0.05; done", host=policy("always"), StopSignal="SIGTERM")
        time.sleep(0.3)
        succeed("POST", f"/containers/{identifier}/kill?signal=HUP", status=204)
        wait_until(lambda: inspect(identifier)["RestartCount"] == 1)

    def test_wait(self):
        identifier = create("sh", "-c", "exit 5", host=policy("always"))
        succeed("POST", f"/containers/{identifier}/start", status=204)
        self.assertEqual(finish(identifier), 5)


class Init(Case):
    def output(self, identifier):
        return engine.streams(call("GET", f"/containers/{identifier}/logs", stdout=True, stderr=True).body)

    def test_first_process(self):
        identifier = run("ps", "-o", "pid,args", host={"Init": True})
        lines = self.output(identifier)[0].decode().splitlines()
        self.assertIn("/sbin/docker-init -- ps -o pid,args", lines[1])
        self.assertTrue(inspect(identifier)["HostConfig"]["Init"])

    def test_exit_codes(self):
        for command, code in ((("sh", "-c", "exit 6"), 6), (("sh", "-c", "kill -9 $$"), 137), (("nosuch",), 127)):
            identifier = run(*command, host={"Init": True})
            self.assertEqual(state(identifier)["ExitCode"], code, command)

    def test_signals_are_passed_on(self):
        identifier = start("sh", "-c", "trap 'exit 9' USR1; while :; do sleep 0.05; done", host={"Init": True})
        time.sleep(0.3)
        succeed("POST", f"/containers/{identifier}/kill?signal=USR1", status=204)
        self.assertEqual(finish(identifier), 9)

    def test_zombies_are_reaped(self):
        script = "(sleep 0.1 &) ; (sleep 0.1 &); sleep 0.5; ps -o stat,args | grep -c '^Z' || true"
        self.assertEqual(self.output(run("sh", "-c", script, host={"Init": True}))[0].strip(), b"0")


class Health(Case):
    def checked(self, command, **options):
        test = {"Test": command, "Interval": 200_000_000, "Timeout": 10**9, "Retries": 2, **options}
        return start("sh", "-c", "while :; do sleep 0.1; done", name="checked", Healthcheck=test)

    def status(self, identifier):
        return state(identifier)["Health"]["Status"]

    def test_healthy(self):
        identifier = self.checked(["CMD-SHELL", "echo fine; echo bad >&2"])
        self.assertEqual(self.status(identifier), "starting")
        wait_until(lambda: self.status(identifier) == "healthy")
        health = state(identifier)["Health"]
        self.assertEqual(set(health), {"Status", "FailingStreak", "Log"})
        self.assertEqual((health["FailingStreak"], health["Log"][0]["ExitCode"]), (0, 0))
        self.assertEqual(sorted(health["Log"][0]["Output"].split()), ["bad", "fine"])
        self.assertEqual(set(health["Log"][0]), {"Start", "End", "ExitCode", "Output"})
        wait_until(lambda: len(state(identifier)["Health"]["Log"]) == 5)
        time.sleep(0.5)
        self.assertEqual(len(state(identifier)["Health"]["Log"]), 5)

    def test_unhealthy_and_back(self):
        since = f"{time.time():.6f}"
        identifier = self.checked(["CMD", "test", "-e", "/ok"])
        wait_until(lambda: self.status(identifier) == "unhealthy")
        self.assertGreaterEqual(state(identifier)["Health"]["FailingStreak"], 2)
        self.assertEqual(listed(health=["unhealthy"]), [identifier])
        self.assertEqual(listed(health=["healthy", "starting"]), [])
        entry = [c for c in succeed("GET", "/containers/json") if c["Id"] == identifier][0]
        self.assertTrue(entry["Status"].endswith(" (unhealthy)"), entry["Status"])
        one = succeed("POST", f"/containers/{identifier}/exec", {"Cmd": ["touch", "/ok"]})["Id"]
        succeed("POST", f"/exec/{one}/start", {"Detach": True})
        wait_until(lambda: self.status(identifier) == "healthy")
        self.assertEqual(state(identifier)["Health"]["FailingStreak"], 0)
        time.sleep(0.1)
        events = call("GET", "/events", since=since, until=f"{time.time():.6f}", filters={"event": ["health_status"], "container": [identifier]}).lines()
        self.assertEqual([event["Action"] for event in events], ["health_status: unhealthy", "health_status: healthy"])
        self.assertEqual(events[0]["Actor"]["Attributes"], {engine.LABEL: "1", "image": "busybox", "name": PREFIX + "checked"})
        exact = call("GET", "/events", since=since, until=f"{time.time():.6f}",
                     filters={"event": ["health_status: healthy"], "container": [identifier]}).lines()
        self.assertEqual(len(exact), 1)

    def test_timeout(self):
        identifier = self.checked(["CMD", "sleep", "10"], Timeout=300_000_000, Retries=1)
        wait_until(lambda: self.status(identifier) == "unhealthy")
        entry = state(identifier)["Health"]["Log"][0]
        self.assertEqual((entry["ExitCode"], entry["Output"]), (-1, "Health check exceeded timeout (300ms)"))

    def test_output_is_cut(self):
        identifier = self.checked(["CMD-SHELL", "head -c 5000 /dev/zero | tr '\\0' x"])
        wait_until(lambda: state(identifier)["Health"]["Log"])
        self.assertEqual(state(identifier)["Health"]["Log"][0]["Output"], "x" * 4096 + "...")

    def test_start_period(self):
        identifier = self.checked(["CMD", "false"], StartPeriod=4_000_000_000, StartInterval=100_000_000, Retries=1)
        wait_until(lambda: len(state(identifier)["Health"]["Log"]) >= 3)
        health = state(identifier)["Health"]
        self.assertEqual((health["Status"], health["FailingStreak"]), ("starting", 0))
        wait_until(lambda: self.status(identifier) == "unhealthy")

    def test_as_the_containers_user(self):
        test = {"Test": ["CMD-SHELL", "id -u; pwd; echo $WORD"], "Interval": 200_000_000}
        identifier = start("sleep", "60", Healthcheck=test, User="1234", WorkingDir="/tmp", Env=["WORD=said"])
        wait_until(lambda: state(identifier)["Health"]["Log"])
        self.assertEqual(state(identifier)["Health"]["Log"][0]["Output"].split(), ["1234", "/tmp", "said"])

    def test_none(self):
        identifier = start("sleep", "60", Healthcheck={"Test": ["NONE"]})
        self.assertNotIn("Health", state(identifier))
        self.assertIn(identifier, listed(health=["none"]))

    def test_after_the_end(self):
        identifier = self.checked(["CMD", "true"])
        wait_until(lambda: self.status(identifier) == "healthy")
        succeed("POST", f"/containers/{identifier}/kill", status=204)
        finish(identifier)
        self.assertEqual(self.status(identifier), "unhealthy")

    def test_program_that_is_not_there(self):
        identifier = self.checked(["CMD", "nosuch"], Retries=1)
        wait_until(lambda: self.status(identifier) == "unhealthy")
        entry = state(identifier)["Health"]["Log"][0]
        self.assertEqual(entry["ExitCode"], -1)
        self.assertIn('exec: "nosuch": executable file not found in $PATH', entry["Output"])

    def test_refusals(self):
        for field, text in (("Interval", "Interval in Healthcheck cannot be less than 1ms"),
                            ("Timeout", "Timeout in Healthcheck cannot be less than 1ms"),
                            ("StartPeriod", "StartPeriod in Healthcheck cannot be less than 1ms"),
                            ("StartInterval", "StartInterval in Healthcheck cannot be less than 1ms")):
            self.refuse(400, "POST", "/containers/create", {"Image": "busybox", "Healthcheck": {"Test": ["CMD", "true"], field: 10}}, text)
        self.refuse(400, "POST", "/containers/create", {"Image": "busybox", "Healthcheck": {"Test": ["CMD", "true"], "Retries": -1}},
                    "Retries in Healthcheck cannot be negative")

    def test_of_the_image(self):
        archive, _ = engine.image_archive([PREFIX + "checked:1"], [{"f": b"x"}], {
            "Cmd": ["true"], "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 7 * 10**9, "Retries": 9}})
        engine.load(archive)
        answer = succeed("POST", "/containers/create", {"Image": PREFIX + "checked:1", "Labels": {engine.LABEL: "1"},
                                                        "Healthcheck": {"Retries": 4}}, 201)
        self.assertEqual(inspect(answer["Id"])["Config"]["Healthcheck"],
                         {"Test": ["CMD-SHELL", "true"], "Interval": 7 * 10**9, "Retries": 4})


engine.main()
