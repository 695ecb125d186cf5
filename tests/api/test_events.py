#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Events: what each change emits, its attributes, filters, the past and what comes."""
import json
import time

import engine
from engine import PREFIX, Case, Stream, call, create, finish, image_archive, load, run, start, succeed

LABELS = {engine.LABEL: "1"}


def now():
    return f"{time.time():.9f}"


def past(since, until=None, **filters):
    """The events since then, those of the tests' network apart."""
    time.sleep(0.1)
    answer = call("GET", "/events", since=since, until=until or now(), filters=filters)
    assert answer.status == 200, answer.body
    return answer.lines()


def actions(events):
    return [event["Action"] for event in events]


def of(identifier, since, **filters):
    return past(since, container=[identifier], **filters)


class Actions(Case):
    def setUp(self):
        super().setUp()
        self.since = now()

    def attributes(self, event, **more):
        self.assertEqual(event["Actor"]["Attributes"], {**LABELS, "image": "busybox", **more})

    def test_shape(self):
        before = time.time()
        identifier = create("true", name="shape", Labels={"a": "b"})
        event = of(identifier, self.since)[0]
        self.assertEqual(list(event), ["status", "id", "from", "Type", "Action", "Actor", "scope", "time", "timeNano"])
        self.assertEqual((event["status"], event["id"], event["from"], event["scope"]), ("create", identifier, "busybox", "local"))
        self.assertEqual((event["Type"], event["Action"], event["Actor"]["ID"]), ("container", "create", identifier))
        self.attributes(event, name=PREFIX + "shape", a="b")
        self.assertEqual(event["time"], event["timeNano"] // 10**9)
        self.assertLess(before - 1, event["timeNano"] / 1e9)
        self.assertLess(event["timeNano"] / 1e9, time.time())
        keys = list(event["Actor"]["Attributes"])
        self.assertEqual(keys, sorted(keys))

    def test_life(self):
        identifier = run("sh", "-c", "exit 3", name="life")
        succeed("DELETE", f"/containers/{identifier}")
        events = of(identifier, self.since)
        self.assertEqual(actions(events), ["create", "start", "die", "destroy"])
        self.attributes(events[2], name=PREFIX + "life", exitCode="3", execDuration="0")
        self.attributes(events[3], name=PREFIX + "life")

    def test_stop(self):
        identifier = start("sleep", "60", name="stop", StopSignal="SIGUSR1")
        succeed("POST", f"/containers/{identifier}/stop?t=1")
        events = of(identifier, self.since)
        self.assertEqual(actions(events)[:3], ["create", "start", "kill"])
        self.assertEqual(sorted(actions(events)[3:]), ["die", "kill", "stop"])
        self.attributes(events[2], name=PREFIX + "stop", signal="10")

    def test_kill(self):
        identifier = start("sleep", "60", name="kill")
        succeed("POST", f"/containers/{identifier}/kill?signal=HUP")
        succeed("POST", f"/containers/{identifier}/kill")
        finish(identifier)
        events = of(identifier, self.since)
        self.assertEqual(actions(events), ["create", "start", "kill", "kill", "die"])
        self.attributes(events[2], name=PREFIX + "kill", signal="1")
        self.attributes(events[3], name=PREFIX + "kill", signal="9")

    def test_restart(self):
        identifier = start("sleep", "60")
        succeed("POST", f"/containers/{identifier}/restart?t=0")
        found = actions(of(identifier, self.since))
        self.assertEqual((found[0], found[-2:]), ("create", ["start", "restart"]))
        self.assertEqual(found.count("stop"), 1)
        self.assertEqual(found.count("die"), 1)

    def test_restart_of_a_stopped_one(self):
        identifier = run("true")
        succeed("POST", f"/containers/{identifier}/restart?t=0")
        finish(identifier)
        found = actions(of(identifier, self.since))
        self.assertEqual(found[:4], ["create", "start", "die", "start"])
        self.assertIn("restart", found)
        self.assertNotIn("stop", found)

    def test_rename(self):
        identifier = create("true", name="old")
        succeed("POST", f"/containers/{identifier}/rename?name={PREFIX}new")
        event = of(identifier, self.since)[-1]
        self.assertEqual(event["Action"], "rename")
        self.attributes(event, name=PREFIX + "new", oldName="/" + PREFIX + "old")

    def test_resize(self):
        with self.running(name="size", Tty=True) as identifier:
            succeed("POST", f"/containers/{identifier}/resize?h=30&w=90")
            event = of(identifier, self.since, event=["resize"])[0]
            self.attributes(event, name=PREFIX + "size", height="30", width="90")

    def test_exec(self):
        with self.running(name="exec") as identifier:
            one = succeed("POST", f"/containers/{identifier}/exec", {"Cmd": ["sh", "-c", "exit 4"]})["Id"]
            succeed("POST", f"/exec/{one}/start", {"Detach": True})
            engine.wait_until(lambda: not succeed("GET", f"/exec/{one}/json")["Running"])
            events = of(identifier, self.since)
        self.assertEqual(actions(events), ["create", "start", "exec_create: sh -c exit 4", "exec_start: sh -c exit 4", "exec_die"])
        self.attributes(events[2], name=PREFIX + "exec", execID=one)
        self.attributes(events[4], name=PREFIX + "exec", execID=one, exitCode="4")

    def test_commit_and_export(self):
        identifier = run("true", name="kept")
        image = succeed("POST", f"/commit?container={identifier}&repo={PREFIX}made&tag=1&comment=word", {})["Id"]
        call("GET", f"/containers/{identifier}/export")
        events = past(self.since, container=[identifier], event=["commit", "export"])
        self.assertEqual(actions(events), ["commit", "export"])
        self.attributes(events[0], name=PREFIX + "kept", comment="word", imageID=image, imageRef=PREFIX + "made:1")

    def test_prune(self):
        identifier = run("true")
        answer = succeed("POST", "/containers/prune", filters={"label": [engine.LABEL]})
        events = past(self.since, type=["container"])
        self.assertEqual(actions(events)[-2:], ["destroy", "prune"])
        self.assertEqual(events[-1]["Actor"], {"ID": "", "Attributes": {"reclaimed": str(answer["SpaceReclaimed"])}})
        self.assertNotIn("id", events[-1])
        self.assertEqual(events[-2]["id"], identifier)

    def test_images(self):
        archive, identity = image_archive([PREFIX + "image:1"], [{"f": b"x"}, {"g": b"x"}], {"Labels": {"l": "m"}})
        load(archive)
        succeed("POST", f"/images/{PREFIX}image:1/tag?repo={PREFIX}image&tag=2")
        succeed("DELETE", f"/images/{PREFIX}image:1")
        call("GET", f"/images/{PREFIX}image:2/get")
        succeed("DELETE", f"/images/{PREFIX}image:2")
        events = past(self.since, type=["image"])
        # Its layers go without a word.
        self.assertEqual(actions(events)[-6:], ["load", "tag", "untag", "save", "untag", "delete"])
        self.assertEqual({event["id"] for event in events[-6:]}, {identity})
        load_event, tag, untag = events[-6], events[-5], events[-4]
        self.assertEqual(load_event["Actor"], {"ID": identity, "Attributes": {"l": "m", "name": identity}})
        self.assertEqual(tag["Actor"]["Attributes"], {"l": "m", "name": PREFIX + "image:2"})
        self.assertEqual(untag["Actor"]["Attributes"], {"l": "m", "name": identity})
        self.assertEqual(events[-2]["Actor"]["Attributes"], {"l": "m", "name": identity})
        self.assertEqual(events[-1]["Actor"]["Attributes"], {"name": identity})
        self.assertNotIn("from", tag)
        self.assertEqual(tag["status"], "tag")

    def test_import(self):
        tar = engine.layer_tar({"f": b"y"})
        answer = engine.Answer(engine.send_raw(engine.SOCKET, engine.build(
            "POST", f"/images/create?fromSrc=-&repo={PREFIX}imported", tar, ("Content-Type: application/x-tar",))))
        identity = answer.lines()[-1]["status"]
        self.assertIn("import", actions(past(self.since, image=[identity])))


class Filters(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.since = now()
        cls.first = run("true", name="first", Labels={"one": "1", "both": "x"})
        cls.second = run("sh", "-c", "exit 1", name="second", Labels={"two": "2", "both": "x"})
        engine.clean_up()
        cls.until = now()

    def found(self, **filters):
        return [(event["Actor"]["Attributes"].get("name", "").removeprefix(PREFIX), event["Action"])
                for event in past(self.since, self.until, **filters) if event["Type"] == "container"]

    def test_container(self):
        everything = [("first", action) for action in ("create", "start", "die", "destroy")]
        self.assertEqual(self.found(container=[self.first]), everything)
        self.assertEqual(self.found(container=[PREFIX + "first"]), everything)
        self.assertEqual(self.found(container=[self.first[:12]]), everything)
        self.assertEqual(self.found(container=[PREFIX + "fir"]), everything)
        self.assertEqual(self.found(container=["nosuch"]), [])
        self.assertEqual(len(self.found(container=[self.first, self.second])), 8)

    def test_event(self):
        self.assertEqual(sorted(self.found(event=["die"])), [("first", "die"), ("second", "die")])
        self.assertEqual(self.found(event=["di"]), [])
        self.assertEqual(len(self.found(event=["die", "create"])), 4)

    def test_type(self):
        self.assertEqual(len(self.found(type=["container"])), 8)
        self.assertEqual(self.found(type=["image"]), [])

    def test_labels_are_anded(self):
        self.assertEqual({name for name, _ in self.found(label=["one"])}, {"first"})
        self.assertEqual({name for name, _ in self.found(label=["two=2"])}, {"second"})
        self.assertEqual(self.found(label=["two=3"]), [])
        self.assertEqual({name for name, _ in self.found(label=["both=x", "one"])}, {"first"})
        self.assertEqual(self.found(label=["one", "two"]), [])

    def test_image(self):
        for image in ("busybox", "busybox:latest"):
            self.assertEqual(len(self.found(image=[image])), 8 if image == "busybox" else 0)
        self.assertEqual(self.found(image=["other"]), [])

    def test_scope_daemon_and_others(self):
        self.assertEqual(len(self.found(scope=["local"])), 8)
        self.assertEqual(self.found(scope=["swarm"]), [])
        for name in ("daemon", "volume", "network", "plugin", "service", "node", "secret", "config"):
            self.assertEqual(self.found(**{name: ["nosuch"]}), [], name)

    def test_two_filters(self):
        self.assertEqual(self.found(container=[self.second], event=["die"]), [("second", "die")])

    def test_unknown_ones_are_passed_over(self):
        self.assertEqual(len(self.found(nosuch=["x"])), 8)

    def test_old_form(self):
        answer = call("GET", "/events", since=self.since, until=self.until, filters={"event": {"die": True}, "label": {"one": True}})
        self.assertEqual(actions(answer.lines()), ["die"])


class Times(Case):
    def test_forms(self):
        identifier = run("true")
        time.sleep(0.2)
        for since in (str(int(time.time()) - 10), f"{time.time() - 10:.3f}", f"{time.time() - 10:.9f}"):
            self.assertIn("die", actions(past(since, container=[identifier])), since)

    def test_until_in_the_past(self):
        moment = now()
        time.sleep(0.05)
        identifier = run("true")
        self.assertEqual(past(str(int(time.time()) - 10), moment, container=[identifier]), [])

    def test_refusals(self):
        self.refuse(400, "GET", "/events", since="20", until="10", text="`since` time (20) cannot be after `until` time (10)")
        self.refuse(400, "GET", "/events", filters="x", text="invalid")
        # Clients reckon spans and dates themselves.
        for wrong in ("10s", "2026-01-02T03:04:05Z", "x"):
            self.refuse(engine.differs(400, 500, "a mistake of the client's"), "GET", "/events", since=wrong, text=f'strconv.ParseInt: parsing "{wrong}": invalid syntax')

    def test_until_ends_the_stream(self):
        begin = time.monotonic()
        answer = call("GET", "/events", until=f"{time.time() + 1:.3f}")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertTrue(0.5 < time.monotonic() - begin < 5)

    def test_the_last_without_a_beginning(self):
        names = [f"{PREFIX}counted:{i}" for i in range(260)]
        for name in names:
            succeed("POST", "/images/busybox/tag", repo=PREFIX + "counted", tag=name.split(":")[1])
        time.sleep(0.1)
        events = call("GET", "/events", until=now()).lines()
        self.assertEqual([event["Actor"]["Attributes"]["name"] for event in events], names[-256:])

    def test_what_comes(self):
        with Stream("GET", "/events", filters={"label": [engine.LABEL]}) as stream:
            self.assertEqual(stream.answer.status, 200)
            identifier = start("sleep", "1")
            data = b""
            while b'"die"' not in data:
                data += stream.read_some()
            found = [json.loads(line) for line in data.splitlines()]
            self.assertEqual(actions(found), ["create", "start", "die"])
            self.assertEqual({event["id"] for event in found}, {identifier})

    def test_past_and_what_comes(self):
        since = now()
        first = run("true")
        with Stream("GET", "/events", since=since, filters={"label": [engine.LABEL], "event": ["die"]}) as stream:
            stream.expect(first.encode())
            second = run("true")
            stream.expect(second.encode())


engine.main()
