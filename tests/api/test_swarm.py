#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Swarm and plugins on an engine that is in no swarm and has no plugin."""
import engine
from engine import Case, differs, succeed

MANAGER = "This node is not a swarm manager."
KINDS = ("node", "service", "task", "secret", "config")


class Swarm(Case):
    def test_reading(self):
        for path in ("/swarm", "/swarm/unlockkey", *(f"/{kind}s" for kind in KINDS), *(f"/{kind}s/x" for kind in KINDS)):
            self.refuse(503, "GET", path, text=MANAGER)
        for kind in KINDS:
            self.refuse(400, "GET", f"/{kind}s", text="invalid filter", filters="zz")

    def test_changing(self):
        for kind in ("service", "secret", "config"):
            self.refuse(503, "POST", f"/{kind}s/create", {"Name": "a"}, text=MANAGER)
        for kind in ("node", "service", "secret", "config"):
            self.refuse(503, "DELETE", f"/{kind}s/x", text=MANAGER)
            self.refuse(503, "POST", f"/{kind}s/x/update", {}, text=MANAGER, version=1)
            self.refuse(400, "POST", f"/{kind}s/x/update", {}, text=f"invalid {kind} version")
        self.refuse(503, "POST", "/swarm/unlock", {"UnlockKey": "x"}, text=MANAGER)
        self.refuse(503, "POST", "/swarm/update", {}, text=MANAGER, version=1)
        self.refuse(400, "POST", "/swarm/update", {}, text="invalid swarm version '': strconv.ParseUint")
        self.refuse(404, "POST", "/tasks/x/update", {}, text="page not found")

    def test_leaving_and_entering(self):
        for force in ("0", "1"):
            self.refuse(503, "POST", "/swarm/leave", text="This node is not part of a swarm", force=force)
        self.refuse(differs(501, 400, "berth has no swarm to join, whatever the address"), "POST", "/swarm/join", {})
        self.refuse(400, "POST", "/swarm/init", b"x", text="invalid JSON: ")

    def test_logs(self):
        for kind in ("service", "task"):
            self.refuse(503, "GET", f"/{kind}s/x/logs", text=MANAGER, stdout=1)
            self.refuse(500, "GET", f"/{kind}s/x/logs", text="you must choose at least one stream")


class Plugins(Case):
    def test_none(self):
        self.assertEqual(succeed("GET", "/plugins"), [])
        self.assertEqual(succeed("GET", "/plugins", filters='{"enabled":["true"]}'), [])
        self.refuse(400, "GET", "/plugins", text="invalid filter 'bad'", filters='{"bad":["true"]}')

    def test_one_that_is_not_there(self):
        text = 'plugin "x" not found'
        self.refuse(404, "GET", "/plugins/x/json", text=text)
        self.refuse(404, "DELETE", "/plugins/x", text=text)
        self.refuse(404, "POST", "/plugins/x/enable", text=text, timeout=1)
        self.refuse(500, "POST", "/plugins/x/enable", text='strconv.Atoi: parsing "": invalid syntax')
        self.refuse(404, "POST", "/plugins/x/disable", text=text)
        self.refuse(404, "POST", "/plugins/x/set", ["A=b"], text=text)
        self.refuse(404, "POST", "/plugins/x/push", text=text)


if __name__ == "__main__":
    engine.main()
