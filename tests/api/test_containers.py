#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers: creation, names, inspection, lists, and every step of their life."""
import json
import os
import time

import engine
from engine import PREFIX, Case, call, create, inspect, run, start, streams, succeed

ZERO_TIME = "0001-01-01T00:00:00Z"


def names(containers):
    return [container["Names"][0].removeprefix("/" + PREFIX) for container in containers]


def listed(**query):
    """The names of the suite's containers that a list shows, in its order."""
    filters = query.pop("filters", {})
    return names(succeed("GET", "/containers/json", filters={**filters, "label": [engine.LABEL, *filters.get("label", [])]}, **query))


def output(identifier):
    return streams(call("GET", f"/containers/{identifier}/logs", stdout=True).body)[0].decode()


def post(identifier, action, **query):
    return call("POST", f"/containers/{identifier}/{action}", **query).status


class Create(Case):
    def test_answer(self):
        answer = call("POST", "/containers/create", {"Image": "busybox", "Labels": {engine.LABEL: "1"}})
        self.assertEqual(answer.status, 201)
        self.assertRegex(answer.json()["Id"], "^[0-9a-f]{64}$")
        self.assertEqual(answer.json()["Warnings"], [])

    def test_fields_are_kept(self):
        """What inspect shows is what was asked for."""
        config = dict(Hostname="web", Domainname="example.org", User="1000:50", AttachStdin=True, AttachStdout=True,
                      AttachStderr=True, Tty=True, OpenStdin=True, StdinOnce=True, Entrypoint=["sh", "-c"], WorkingDir="/tmp",
                      ExposedPorts={"80/tcp": {}, "53/udp": {}}, StopSignal="SIGINT", StopTimeout=3, Shell=["sh", "-x"])
        host = dict(
            Binds=["/tmp:/bound:ro", "/usr:/u"], CapAdd=["NET_ADMIN"], CapDrop=["CHOWN"], Dns=["192.0.2.1"],
            DnsOptions=["ndots:2"], DnsSearch=["example.org"], ExtraHosts=["a:192.0.2.2"], GroupAdd=["50", "staff"],
            IpcMode="host", OomScoreAdj=100, PidMode="host", ReadonlyRootfs=True, SecurityOpt=["seccomp=unconfined"],
            Tmpfs={"/scratch": "size=1m"}, ShmSize=1048576, Sysctls={"net.ipv4.ip_forward": "1"},
            Ulimits=[{"Name": "nofile", "Soft": 100, "Hard": 200}], Annotations={"a": "b"}, DeviceCgroupRules=["c 1:3 r"],
            MaskedPaths=["/proc/kcore"], ReadonlyPaths=[], ConsoleSize=[24, 80], CgroupnsMode="host", AutoRemove=True,
            LogConfig={"Type": "none", "Config": {}}, RestartPolicy={"Name": "no", "MaximumRetryCount": 0},
            Devices=[{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"}],
            Mounts=[{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 65536, "Mode": 448}},
                    {"Type": "bind", "Source": "/usr/share", "Target": "/share", "ReadOnly": True}])
        shown = inspect(create("true", host=host, Env=["A=b"], Labels={"x": "y"}, **config))
        for key, value in config.items():
            self.assertEqual(shown["Config"][key], value, key)
        added = engine.differs({}, {"SecurityOpt": [*host["SecurityOpt"], "label=disable"]}, "no SELinux")
        for key, value in {**host, **added}.items():
            self.assertEqual(shown["HostConfig"][key], value, key)
        self.assertEqual(shown["Config"]["Labels"], {"x": "y", engine.LABEL: "1"})
        self.assertEqual(shown["Config"]["Env"][0], "A=b")
        self.assertTrue(shown["Config"]["Env"][1].startswith("PATH="), "the image's variables follow")
        self.assertEqual((shown["Path"], shown["Args"]), ("sh", ["-c", "true"]))

    def test_inspect_of_a_fresh_one(self):
        identifier = create("sleep", "5", name="a")
        shown = inspect(identifier)
        self.assertEqual((shown["Id"], shown["Name"], shown["Image"]), (identifier, f"/{PREFIX}a", self.busybox))
        self.assertEqual((shown["Path"], shown["Args"], shown["Config"]["Cmd"]), ("sleep", ["5"], ["sleep", "5"]))
        self.assertEqual(shown["Config"]["Hostname"], identifier[:12])
        self.assertEqual(shown["Config"]["Image"], "busybox")
        state = shown["State"]
        self.assertEqual((state["Status"], state["Running"], state["Pid"], state["ExitCode"]), ("created", False, 0, 0))
        self.assertEqual((state["StartedAt"], state["FinishedAt"]), (ZERO_TIME, ZERO_TIME))
        self.assertRegex(shown["Created"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$")
        self.assertEqual(shown["HostConfig"]["ShmSize"], 64 << 20)
        self.assertEqual((shown["HostConfig"]["IpcMode"], shown["HostConfig"]["CgroupnsMode"]), ("private", "private"))
        self.assertEqual(shown["Mounts"], [])

    def test_defaults_of_old_versions(self):
        body = {"Image": "busybox", "Labels": {engine.LABEL: "1"}}
        old = succeed("POST", "/v1.39/containers/create", body)["Id"]
        self.assertEqual(inspect(old)["HostConfig"]["IpcMode"], "shareable")
        new = succeed("POST", "/v1.40/containers/create", body)["Id"]
        self.assertEqual(inspect(new)["HostConfig"]["IpcMode"], "private")

    def test_member_names_in_any_case(self):
        answer = call("POST", "/containers/create", {"image": "busybox", "CMD": ["true"], "labels": {engine.LABEL: "1"},
                                                     "hostconfig": {"AUTOREMOVE": True}})
        self.assertEqual(answer.status, 201)
        self.assertTrue(inspect(answer.json()["Id"])["HostConfig"]["AutoRemove"])

    def test_unknown_members_are_dropped(self):
        self.assertNotIn("Nosuch", inspect(create("true", Nosuch=1))["Config"])

    def test_command_as_a_string(self):
        body = {"Image": "busybox", "Entrypoint": "echo", "Cmd": "a b", "Labels": {engine.LABEL: "1"}}
        shown = inspect(succeed("POST", "/containers/create", body)["Id"])
        self.assertEqual((shown["Path"], shown["Args"]), ("echo", ["a b"]))

    def test_command_of_the_image(self):
        tag, archive = f"{PREFIX}cmd:1", None
        archive, _ = engine.image_archive([tag], [{"a": b""}], {"Entrypoint": ["/e"], "Cmd": ["c"], "Env": ["A=1", "B=2"],
                                                                "Labels": {"k": "image", "l": "image"}, "WorkingDir": "/w",
                                                                "User": "5", "ExposedPorts": {"80/tcp": {}}})
        engine.load(archive)

        def shown(**config):
            body = {"Image": tag, "Labels": {engine.LABEL: "1"}, **config}
            return inspect(succeed("POST", "/containers/create", body)["Id"])
        self.assertEqual([shown()[key] for key in ("Path", "Args")], ["/e", ["c"]])
        self.assertEqual([shown(Cmd=["x"])[key] for key in ("Path", "Args")], ["/e", ["x"]])
        self.assertEqual([shown(Entrypoint=["y"], Cmd=["x"])[key] for key in ("Path", "Args")], ["y", ["x"]])
        self.assertEqual([shown(Entrypoint=["y"])[key] for key in ("Path", "Args")], ["y", []])
        self.assertEqual([shown(Entrypoint=[""], Cmd=["x"])[key] for key in ("Path", "Args")], ["x", []])
        config = shown(Env=["B=3", "C=4"], Labels={engine.LABEL: "1", "k": "mine"}, ExposedPorts={"81/tcp": {}})["Config"]
        self.assertEqual(sorted(config["Env"]), sorted(["A=1", "B=3", "C=4", *(e for e in config["Env"] if e.startswith("PATH="))]))
        self.assertEqual(config["Labels"], {engine.LABEL: "1", "k": "mine", "l": "image"})
        self.assertEqual((config["WorkingDir"], config["User"]), ("/w", "5"))
        self.assertEqual(config["ExposedPorts"], {"80/tcp": {}, "81/tcp": {}})

    def test_warnings(self):
        body = {"Image": "busybox", "Cmd": ["true"], "Labels": {engine.LABEL: "1"}, "HostConfig": {"OomKillDisable": True}}
        warnings = succeed("POST", "/containers/create", body)["Warnings"]
        self.assertEqual(len(warnings), 1, warnings)


class Names(Case):
    def test_reference(self):
        """A container answers to its name, its ID and every prefix of that which is unique."""
        identifier = create("true", name="a")
        for reference in (PREFIX + "a", identifier, identifier[:12], identifier[:20]):
            self.assertEqual(succeed("GET", f"/containers/{reference}/json")["Id"], identifier, reference)
        self.refuse(404, "GET", f"/containers/{PREFIX}nosuch/json", text=f"No such container: {PREFIX}nosuch")
        self.refuse(404, "GET", f"/containers/{PREFIX}/json")

    def test_ambiguous_prefix(self):
        first = {}
        for _ in range(20):
            identifier = create("true")
            if identifier[0] in first:
                self.refuse(400, "GET", f"/containers/{identifier[0]}/json")
                return
            first[identifier[0]] = identifier
        self.fail("20 IDs with 16 first letters")

    def test_chosen(self):
        shown = inspect(create("true"))
        self.assertRegex(shown["Name"], r"^/[a-z]+_[a-z]+\d*$")

    def test_conflict(self):
        identifier = create("true", name="a")
        message = self.refuse(409, "POST", "/containers/create", {"Image": "busybox"}, name=PREFIX + "a")
        self.assertEqual(message, f'Conflict. The container name "/{PREFIX}a" is already in use by container "{identifier}". You '
                         "have to remove (or rename) that container to be able to reuse that name.")

    def test_free_again(self):
        call("DELETE", f"/containers/{create('true', name='a')}")
        create("true", name="a")

    def test_rename(self):
        identifier = create("true", name="a")
        self.assertEqual(post(identifier, "rename", name=PREFIX + "b"), 204)
        self.assertEqual(inspect(PREFIX + "b")["Id"], identifier)
        self.refuse(404, "GET", f"/containers/{PREFIX}a/json")
        create("true", name="a")
        self.refuse(409, "POST", f"/containers/{PREFIX}b/rename", name=PREFIX + "a")
        self.assertEqual(post(PREFIX + "b", "rename", name=f"/{PREFIX}c"), 204)
        self.assertEqual(listed(all=True), ["a", "c"])
        with self.running(name="d"):
            self.assertEqual(post(PREFIX + "d", "rename", name=PREFIX + "e"), 204)
            self.assertTrue(inspect(PREFIX + "e")["State"]["Running"])


class Lists(Case):
    def test_states_and_order(self):
        create("true", name="fresh")
        run("sh", "-c", "exit 3", name="ended")
        with self.running(name="running"):
            self.assertEqual(listed(), ["running"])
            self.assertEqual(listed(all=True), ["running", "ended", "fresh"])
            self.assertEqual(listed(limit=2), ["running", "ended"])
            self.assertEqual(listed(limit=0), ["running"])
            self.assertEqual(listed(limit=-1), ["running"])
            for filters, expected in (
                    ({"status": ["running"]}, ["running"]), ({"status": ["exited", "created"]}, ["ended", "fresh"]),
                    ({"status": ["paused"]}, []), ({"exited": ["3"]}, []), ({"status": ["exited"], "exited": ["3"]}, ["ended"]),
                    ({"name": ["ended"]}, []), ({"name": ["running"]}, ["running"]), ({"health": ["none"]}, ["running"]),
                    ({"health": ["healthy"]}, []), ({"isolation": ["default"]}, ["running"]), ({"is-task": ["false"]}, ["running"])):
                self.assertEqual(listed(filters=filters), expected, filters)
            for filters, expected in (
                    ({"name": [f"^/?{PREFIX}ended$"]}, ["ended"]), ({"name": ["e.d"]}, ["ended"]), ({"name": ["nosuch"]}, []),
                    ({"name": ["ended", "fresh"]}, ["ended", "fresh"]), ({"before": [PREFIX + "running"]}, ["ended", "fresh"]),
                    ({"since": [PREFIX + "fresh"]}, ["running", "ended"]),
                    ({"since": [PREFIX + "fresh"], "before": [PREFIX + "running"]}, ["ended"]),
                    ({"ancestor": ["busybox"]}, ["running", "ended", "fresh"]),
                    ({"ancestor": [self.busybox]}, ["running", "ended", "fresh"]),
                    ({"ancestor": [self.busybox.removeprefix("sha256:")[:12]]}, ["running", "ended", "fresh"]),
                    ({"ancestor": ["nosuch"]}, []), ({"network": ["none"]}, ["running", "ended", "fresh"]),
                    ({"network": ["bridge"]}, []), ({"id": [inspect(PREFIX + "ended")["Id"][:9]]}, ["ended"]),
                    ({"is-task": ["true"]}, []), ({"exited": ["3"]}, ["ended"]), ({"exited": ["1"]}, [])):
                self.assertEqual(listed(all=True, filters=filters), expected, filters)

    def test_labels(self):
        create("true", name="a", Labels={"k": "1", "l": ""})
        create("true", name="b", Labels={"k": "2"})
        for labels, expected in ((["k"], ["b", "a"]), (["k=1"], ["a"]), (["k=1", "l"], ["a"]), (["k", "l="], ["a"]),
                                 (["k=3"], []), (["nosuch"], [])):
            self.assertEqual(listed(all=True, filters={"label": labels}), expected, labels)

    def test_filters_as_objects(self):
        """The older form, which clients still send."""
        create("true", name="a", Labels={"k": "1"})
        filters = {"label": {f"{engine.LABEL}=1": True, "k=1": True}, "status": {"created": True, "running": True}}
        self.assertEqual(names(succeed("GET", "/containers/json", filters=filters)), ["a"])

    def test_volumes_and_ports(self):
        start("sleep", "600", name="a", host={"Binds": ["/usr:/data"], "NetworkMode": "bridge"}, ExposedPorts={"80/tcp": {}})
        create("true", name="b", host={"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/other"}]})
        for filters, expected in (({"volume": ["/data"]}, ["a"]), ({"volume": ["/other"]}, ["b"]), ({"volume": ["/x"]}, []),
                                  ({"expose": ["80"]}, ["a"]), ({"expose": ["80/tcp"]}, ["a"]), ({"expose": ["70-90/tcp"]}, ["a"]),
                                  ({"expose": ["80/udp"]}, []), ({"publish": ["80"]}, [])):
            self.assertEqual(listed(all=True, filters=filters), expected, filters)

    def test_entry(self):
        identifier = create("sh", "-c", "exit  0", "", name="a", host={"Binds": ["/usr:/data:ro"]})
        entry = succeed("GET", "/containers/json", all=True, filters={"id": [identifier]})[0]
        self.assertEqual((entry["Names"], entry["Image"], entry["ImageID"]), ([f"/{PREFIX}a"], "busybox", self.busybox))
        self.assertEqual(entry["Command"], "sh -c 'exit  0' ")
        self.assertEqual((entry["State"], entry["Status"], entry["Ports"]), ("created", "Created", []))
        self.assertEqual(entry["HostConfig"]["NetworkMode"], "none")
        self.assertLess(abs(entry["Created"] - time.time()), 20)
        mount = {"Type": "bind", "Source": "/usr", "Destination": "/data", "Mode": "ro", "RW": False, "Propagation": "rprivate"}
        self.assertEqual(entry["Mounts"], [mount])
        self.assertEqual(inspect(identifier)["Mounts"], [mount])

    def test_status_text(self):
        run("sh", "-c", "exit 3", name="ended")
        with self.running(name="running"):
            texts = {entry["Names"][0].removeprefix("/" + PREFIX): entry["Status"] for entry in engine.ours()}
        self.assertRegex(texts["running"], r"^Up (Less than a second|\d+ seconds?)$")
        self.assertRegex(texts["ended"], r"^Exited \(3\) (Less than a second|\d+ seconds?) ago$")

    def test_sizes(self):
        identifier = run("sh", "-c", "head -c 100000 /dev/zero >/file")
        entry = succeed("GET", "/containers/json", all=True, size=True, filters={"id": [identifier]})[0]
        self.assertEqual(entry["SizeRw"], 100000)
        self.assertGreater(entry["SizeRootFs"], 1000000)
        shown = inspect(identifier, size=True)
        self.assertEqual((shown["SizeRw"], shown["SizeRootFs"]), (entry["SizeRw"], entry["SizeRootFs"]))
        self.assertNotIn("SizeRw", inspect(identifier))


class Life(Case):
    def test_start(self):
        identifier = create("sleep", "600")
        self.assertEqual(post(identifier, "start"), 204)
        self.assertEqual(post(identifier, "start"), 304)
        state = inspect(identifier)["State"]
        self.assertEqual((state["Status"], state["Running"], state["ExitCode"]), ("running", True, 0))
        self.assertTrue(os.path.exists(f"/proc/{state['Pid']}"))
        self.assertNotEqual(state["StartedAt"], ZERO_TIME)
        self.assertEqual(state["FinishedAt"], ZERO_TIME)

    def test_end(self):
        for command, code in ((("true",), 0), (("sh", "-c", "exit 7"), 7)):
            identifier = run(*command)
            state = inspect(identifier)["State"]
            self.assertEqual((state["Status"], state["Running"], state["Pid"], state["ExitCode"]), ("exited", False, 0, code))
            self.assertGreater(state["FinishedAt"], inspect(identifier)["Created"])

    def test_start_that_fails(self):
        for command, code, text in ((("nosuch",), 127, 'exec: "nosuch": executable file not found in $PATH'),
                                    (("/nosuch",), 127, "/nosuch"), (("/etc",), 126, "/etc")):
            identifier = create(*command)
            message = self.refuse(400, "POST", f"/containers/{identifier}/start", text=text)
            state = inspect(identifier)["State"]
            self.assertEqual((state["Status"], state["ExitCode"], state["Error"]), ("created", code, message))

    def test_start_again(self):
        identifier = run("sh", "-c", "echo x >>/file; cat /file")
        self.assertEqual(post(identifier, "start"), 204)
        engine.finish(identifier)
        self.assertEqual(output(identifier), "x\nx\nx\n", "what it wrote stays")

    def test_stop(self):
        for command, signal, query, code in (
                (("sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.1; done"), None, {}, 5),
                (("sh", "-c", "trap 'exit 6' INT; while :; do sleep 0.1; done"), "SIGINT", {}, 6),
                (("sh", "-c", "trap 'exit 6' USR1; while :; do sleep 0.1; done"), None, {"signal": "USR1"}, 6),
                (("sleep", "600"), None, {"t": 1}, 137), (("sleep", "600"), None, {"t": 0}, 137)):
            with self.running(*command, StopSignal=signal) as identifier:
                time.sleep(0.5)  # until the trap is set
                self.assertEqual(post(identifier, "stop", **query), 204)
                self.assertEqual(inspect(identifier)["State"]["ExitCode"], code)
                self.assertEqual(post(identifier, "stop"), 304)

    def test_stop_timeout_of_the_container(self):
        with self.running("sleep", "600", StopTimeout=1) as identifier:
            begin = time.monotonic()
            self.assertEqual(post(identifier, "stop"), 204)
            self.assertLess(time.monotonic() - begin, 5)

    def test_kill(self):
        for signal, code in ((None, 137), ("SIGKILL", 137), ("KILL", 137), ("9", 137), ("kill", 137)):
            with self.running() as identifier:
                self.assertEqual(post(identifier, "kill", signal=signal), 204)
                self.assertEqual(engine.finish(identifier), code)
        with self.running("sh", "-c", "trap 'echo hup' HUP; trap 'exit 3' RTMIN+2; echo ready; while :; do sleep 0.1; done") as one:
            engine.wait_until(lambda: "ready" in output(one))
            self.assertEqual(post(one, "kill", signal="SIGHUP"), 204)
            engine.wait_until(lambda: "hup" in output(one))
            self.assertTrue(inspect(one)["State"]["Running"])
        message = self.refuse(409, "POST", f"/containers/{run('true', name='a')}/kill")
        self.assertTrue(message.endswith("is not running"))

    def test_restart(self):
        with self.running("sh", "-c", "echo run; sleep 600") as identifier:
            engine.wait_until(lambda: output(identifier) == "run\n")
            pid = inspect(identifier)["State"]["Pid"]
            self.assertEqual(post(identifier, "restart", t=0), 204)
            state = inspect(identifier)["State"]
            self.assertTrue(state["Running"])
            self.assertNotEqual(state["Pid"], pid)
            engine.wait_until(lambda: output(identifier) == "run\nrun\n")
        identifier = run("true")
        self.assertEqual(post(identifier, "restart"), 204)

    def test_remove(self):
        identifier = create("true", name="a")
        self.assertEqual(call("DELETE", f"/containers/{PREFIX}a").status, 204)
        self.refuse(404, "GET", f"/containers/{identifier}/json", text=f"No such container: {identifier}")
        self.refuse(404, "DELETE", f"/containers/{identifier}")
        with self.running() as running:
            message = self.refuse(409, "DELETE", f"/containers/{running}")
            self.assertRegex(message, r'cannot remove container "/?[\w-]+": container is running: stop the container before removing '
                             "or force remove")
            self.assertEqual(call("DELETE", f"/containers/{running}", force=True).status, 204)
            self.refuse(404, "GET", f"/containers/{running}/json")

    def test_auto_remove(self):
        identifier = start("true", host={"AutoRemove": True})
        engine.wait_until(lambda: call("GET", f"/containers/{identifier}/json").status == 404)

    def test_prune(self):
        kept = create("true", name="kept", Labels={"keep": "1"})
        gone = [create("true", name="gone", Labels={"prune": "1"}), run("sh", "-c", "head -c 5000 /dev/zero >/x", Labels={"prune": "1"})]
        with self.running(Labels={"prune": "1"}) as running:
            answer = succeed("POST", "/containers/prune", filters={"label": ["prune=1"]})
            self.assertEqual(sorted(answer["ContainersDeleted"]), sorted(gone))
            self.assertEqual(answer["SpaceReclaimed"], 5000)
            self.assertTrue(inspect(running)["State"]["Running"])
        create("true", name="gone")
        answer = succeed("POST", "/containers/prune", filters={"label": [engine.LABEL], "until": ["1h"]})
        self.assertIn(answer["ContainersDeleted"], (None, []))
        answer = succeed("POST", "/containers/prune", filters={"label": [engine.LABEL], "label!": ["keep"]})
        self.assertEqual(len(answer["ContainersDeleted"]), 1)
        self.assertEqual(inspect(kept)["Id"], kept)

    def test_resize_of_one_without_terminal(self):
        with self.running() as identifier:
            self.assertIn(post(identifier, "resize", h=10, w=10), (200, 500))

    def test_environment_inside(self):
        identifier = run("sh", "-c", "pwd; hostname; id -u; echo $A; cat /proc/1/comm; echo $HOME; ls -d /.dockerenv",
                         Env=["A=b c"], WorkingDir="/new/directory", User="33", Hostname="web")
        self.assertEqual(output(identifier), "/new/directory\nweb\n33\nb c\nsh\n/var/www\n/.dockerenv\n")

    def test_bind(self):
        os.makedirs("/tmp/api-test-bind", exist_ok=True)
        with open("/tmp/api-test-bind/file", "w", encoding="ascii") as file:
            file.write("content\n")
        identifier = run("sh", "-c", "cat /b/file; (: >/b/x) 2>&1 | grep -c Read-only; : >/w/new; ls /made",
                         host={"Binds": ["/tmp/api-test-bind:/b:ro", "/tmp/api-test-bind:/w", "/tmp/api-test-bind/made:/made"]})
        self.assertEqual(output(identifier), "content\n1\n")
        self.assertTrue(os.path.exists("/tmp/api-test-bind/new") and os.path.isdir("/tmp/api-test-bind/made"))

    def test_other_network_namespace(self):
        with self.running(name="first") as first:
            second = run("ip", "addr", host={"NetworkMode": f"container:{PREFIX}first"})
            self.assertEqual(inspect(second)["HostConfig"]["NetworkMode"], f"container:{first}")
            self.assertIn("lo", output(second))
        first = create("true", name="first")
        second = create("true", host={"NetworkMode": f"container:{first}"})
        self.refuse(409, "POST", f"/containers/{second}/start", text=f"cannot join network of a non running container: {first}")

    def test_on_the_bridge(self):
        with self.running(host={"NetworkMode": "bridge"}) as identifier:
            network = inspect(identifier)["NetworkSettings"]["Networks"]["bridge"]
            self.assertRegex(network["IPAddress"], r"^172\.\d+\.\d+\.\d+$")
            self.assertEqual(inspect(identifier)["NetworkSettings"]["IPAddress"], network["IPAddress"])
            self.assertRegex(network["MacAddress"], "^02:42:")
            other = run("ping", "-c", "1", "-W", "5", network["IPAddress"], host={"NetworkMode": "bridge"})
            self.assertEqual(inspect(other)["State"]["ExitCode"], 0)
        default = json.loads(call("POST", "/containers/create", {"Image": "busybox", "Labels": {engine.LABEL: "1"}}).body)["Id"]
        self.assertIn(inspect(default)["HostConfig"]["NetworkMode"], ("bridge", "default"))


if __name__ == "__main__":
    engine.main()
