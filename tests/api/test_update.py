#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""POST /containers/{id}/update: what is refused, what the record says afterwards, and that a new policy is followed."""
import time

import engine
from engine import Case, call, create, finish, inspect, run, start, succeed, wait_until

MEBI = 1024 * 1024


def update(identifier, **changes):
    return succeed("POST", f"/containers/{identifier}/update", changes)


def policy(name, count=0):
    return {"Name": name, "MaximumRetryCount": count}


def host(identifier):
    return inspect(identifier)["HostConfig"]


class Update(Case):
    def refused(self, status, text, identifier, **changes):
        before = host(identifier)
        self.refuse(status, "POST", f"/containers/{identifier}/update", changes, text)
        self.assertEqual(host(identifier), before)

    def test_unknown_container(self):
        self.refuse(404, "POST", "/containers/nobody/update", {}, "No such container: nobody")

    def test_nothing_asked(self):
        identifier = create()
        before = host(identifier)
        self.assertFalse(update(identifier).get("Warnings"))
        self.assertEqual(host(identifier), before)

    def test_policies_refused(self):
        identifier = create()
        self.refused(400, "invalid restart policy: unknown policy 'odd'", identifier, RestartPolicy=policy("odd"))
        self.refused(400, "invalid restart policy: maximum retry count cannot be negative", identifier,
                     RestartPolicy=policy("on-failure", -1))
        self.refused(400, "maximum retry count can only be used with 'on-failure'", identifier, RestartPolicy=policy("always", 2))

    def test_auto_remove_has_no_policy(self):
        identifier = create("sleep", "60", host={"AutoRemove": True})
        answer = call("POST", f"/containers/{identifier}/update", {"RestartPolicy": policy("always")})
        self.assertGreaterEqual(answer.status, 400)
        self.assertIn("Restart policy cannot be updated because AutoRemove is enabled for the container", answer.json()["message"])
        self.assertEqual(host(identifier)["RestartPolicy"]["Name"], "no")

    def test_limits_refused(self):
        identifier = create()
        self.refused(400, "Minimum memory limit allowed is 6MB", identifier, Memory=MEBI)
        self.refused(400, "Conflicting options: Nano CPUs and CPU Period cannot both be set", identifier, NanoCpus=10**9,
                     CpuPeriod=100000)

    def test_policy_is_kept(self):
        identifier = create("sleep", "1000")
        for wanted in (policy("always"), policy("on-failure", 3), policy("unless-stopped"), policy("no")):
            update(identifier, RestartPolicy=wanted)
            self.assertEqual(host(identifier)["RestartPolicy"], wanted)
            update(identifier, RestartPolicy={"Name": "", "MaximumRetryCount": 0})
            self.assertEqual(host(identifier)["RestartPolicy"], wanted)

    def test_policy_taken_away(self):
        identifier = start("sh", "-c", "while [ ! -e /end ]; do sleep 0.05; done; exit 3", host={"RestartPolicy": policy("always")})
        update(identifier, RestartPolicy=policy("no"))
        execute = succeed("POST", f"/containers/{identifier}/exec", {"Cmd": ["touch", "/end"]})["Id"]
        succeed("POST", f"/exec/{execute}/start", {"Detach": True})
        self.assertEqual(finish(identifier), 3)
        shown = inspect(identifier)
        self.assertEqual((shown["State"]["Status"], shown["RestartCount"]), ("exited", 0))

    def test_policy_given(self):
        identifier = start("sh", "-c", "while [ ! -e /end ]; do sleep 0.05; done; exit 3")
        update(identifier, RestartPolicy=policy("always"))
        execute = succeed("POST", f"/containers/{identifier}/exec", {"Cmd": ["touch", "/end"]})["Id"]
        succeed("POST", f"/exec/{execute}/start", {"Detach": True})
        wait_until(lambda: inspect(identifier)["RestartCount"] >= 2)

    def test_an_event(self):
        identifier = create()
        update(identifier, RestartPolicy=policy("always"))
        events = call("GET", "/events", since="0", until=f"{time.time():.6f}", filters={"container": [identifier]}).lines()
        self.assertEqual([event["Action"] for event in events][-1:], ["update"])

    def test_what_has_ended(self):
        identifier = run("true")
        update(identifier, RestartPolicy=policy("on-failure", 2))
        self.assertEqual(host(identifier)["RestartPolicy"], policy("on-failure", 2))
        self.assertEqual(inspect(identifier)["State"]["Status"], "exited")

    def test_bad_bodies(self):
        identifier = create()
        for body in (b"{", b"[]", b'{"Memory": "x"}', b'{"RestartPolicy": 7}'):
            self.refuse(400, "POST", f"/containers/{identifier}/update", body)


if __name__ == "__main__":
    engine.main()
