#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Volumes, what containers mount, and the limits and modes a container is created with."""
import os

import engine
from engine import LABEL, PREFIX, Case, call, create, differs, finish, inspect, run, succeed

ROOT = differs("/var/lib/berth/volume", "/var/lib/docker/volumes", "each engine has its own directory")


def make(name=None, **fields):
    return succeed("POST", "/volumes/create", {**({"Name": PREFIX + name} if name else {}), "Labels": {LABEL: "1"}, **fields}, 201)


def names(**filters):
    answer = succeed("GET", "/volumes", filters={"label": [LABEL], **filters})
    return sorted(volume["Name"].removeprefix(PREFIX) for volume in answer["Volumes"] or [])


def body(**host):
    return {"Image": "busybox", "Cmd": ["true"], "Labels": {LABEL: "1"}, "HostConfig": {"NetworkMode": "none", **host}}


def mounts(identifier):
    return {mount["Destination"]: mount for mount in inspect(identifier)["Mounts"]}


class WithVolumes(Case):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.remove_volumes)

    def remove_volumes(self):
        engine.clean_up()
        for volume in succeed("GET", "/volumes")["Volumes"] or []:
            call("DELETE", f"/volumes/{volume['Name']}")


class Volumes(WithVolumes):
    def test_create(self):
        volume = make("one")
        self.assertEqual(set(volume), {"CreatedAt", "Driver", "Labels", "Mountpoint", "Name", "Options", "Scope"})
        self.assertEqual((volume["Driver"], volume["Scope"], volume["Options"]), ("local", "local", None))
        self.assertEqual(volume["Mountpoint"], f"{ROOT}/{PREFIX}one/_data")
        self.assertRegex(volume["CreatedAt"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(volume["Labels"], {LABEL: "1"})
        self.assertEqual(os.stat(volume["Mountpoint"]).st_mode & 0o7777, 0o755)
        self.assertEqual(succeed("GET", f"/volumes/{PREFIX}one"), volume)
        self.assertEqual(make("one", Labels={"other": "2"}, DriverOpts={"type": "tmpfs", "device": "tmpfs"}), volume)

    def test_create_without_a_name(self):
        for request in ({}, b"", {"Name": ""}, {"Driver": "local", "Labels": {}, "DriverOpts": {}}):
            volume = succeed("POST", "/volumes/create", request, 201)
            self.assertRegex(volume["Name"], "^[0-9a-f]{64}$")
            self.assertEqual(volume["Labels"], {"com.docker.volume.anonymous": ""})

    def test_labels_and_options_are_as_they_were_given(self):
        volume = succeed("POST", "/volumes/create", {"Name": PREFIX + "bare"}, 201)
        self.assertEqual((volume["Labels"], volume["Options"]), (None, None))
        volume = succeed("POST", "/volumes/create", {"Name": PREFIX + "empty", "Labels": {}, "DriverOpts": {}}, 201)
        self.assertEqual((volume["Labels"], volume["Options"]), ({}, {}))
        options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
        self.assertEqual(make("opts", DriverOpts=options)["Options"], options)

    def test_create_is_refused(self):
        allowed = 'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        for fields, status, text in (
            ({"Name": "x"}, 400, "create x: volume name is too short, names should be at least two alphanumeric characters"),
            ({"Name": "-x"}, 400, f'create -x: "-x" includes invalid characters for a local volume name, {allowed}'),
            ({"Name": "a/b"}, 400, f'create a/b: "a/b" includes invalid characters for a local volume name, {allowed}'),
            ({"Name": ".."}, 400, f'create ..: ".." includes invalid characters for a local volume name, {allowed}'),
            ({"Name": "ok", "Driver": "nosuch"}, 404, 'create ok: error looking up volume plugin nosuch: plugin "nosuch" not found'),
            ({"Name": "ok", "DriverOpts": {"foo": "1"}}, 400, 'create ok: invalid option: "foo"'),
            ({"Name": "ok", "DriverOpts": {"type": "tmpfs"}}, 400, 'create ok: missing required option: "device"'),
            ({"Name": "ok", "DriverOpts": {"device": "tmpfs"}}, 400, 'create ok: missing required option: "type"'),
            ({"Name": "ok", "DriverOpts": {"o": "x", "type": "tmpfs"}}, 400, 'create ok: missing required option: "device"'),
            ({"Name": "ok", "DriverOpts": {"size": "1m"}}, 400, "create ok: quota size requested but no quota support"),
            ({"Name": "ok", "DriverOpts": {"size": "odd"}}, 400, "create ok: invalid size: 'odd'"),
            ({"Name": 5}, 400, "invalid JSON: json: cannot unmarshal number into Go struct field CreateOptions.Name of type string"),
            ({"DriverOpts": {"a": 1}}, 400,
             "invalid JSON: json: cannot unmarshal number into Go struct field CreateOptions.DriverOpts of type string"),
            ({"Name": "ok", "ClusterVolumeSpec": {}}, 503,
             'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.'),
        ):
            with self.subTest(fields):
                self.refuse(status, "POST", "/volumes/create", fields, text=text)

    def test_missing(self):
        self.refuse(404, "GET", "/volumes/nosuch", text="get nosuch: no such volume")
        self.refuse(404, "GET", "/volumes/-x", text="get -x: no such volume")
        self.refuse(404, "DELETE", "/volumes/nosuch", text="get nosuch: no such volume")
        self.assertEqual(call("DELETE", "/volumes/nosuch", force=True).status, 204)
        make("one")
        self.refuse(503, "PUT", f"/volumes/{PREFIX}one", {"Spec": {}},
                    text="volume update only valid for cluster volumes, but swarm is unavailable")

    def test_remove(self):
        make("one")
        identifier = create(host={"Binds": [PREFIX + "one:/v"]})
        for force in (False, True):
            self.refuse(409, "DELETE", f"/volumes/{PREFIX}one", force=force,
                        text=f"remove {PREFIX}one: volume is in use - [{identifier}]")
        call("DELETE", f"/containers/{identifier}", v=True)
        answer = call("DELETE", f"/volumes/{PREFIX}one")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertFalse(os.path.exists(f"{ROOT}/{PREFIX}one"))

    def test_list(self):
        self.assertIsNone(succeed("GET", "/volumes")["Warnings"])
        make("one", Labels={LABEL: "1", "a": "b"})
        make("two")
        create(host={"Binds": [PREFIX + "two:/v"]})
        for filters, wanted in (({}, ["one", "two"]), ({"name": ["two"]}, ["two"]), ({"name": [f"^{PREFIX}one$"]}, ["one"]),
                                ({"name": ["nosuch"]}, []), ({"driver": ["local"]}, ["one", "two"]), ({"driver": ["loc"]}, []),
                                ({"dangling": ["true"]}, ["one"]), ({"dangling": ["false"]}, ["two"]), ({"dangling": ["1"]}, ["one"]),
                                ({"label": [LABEL, "a"]}, ["one"]),
                                ({"label": [LABEL, "a=b"]}, ["one"]), ({"label": [LABEL, "a=c"]}, [])):
            with self.subTest(filters):
                self.assertEqual(names(**filters), wanted)
        for filters, text in (({"nosuch": ["1"]}, "invalid filter 'nosuch'"), ({"dangling": ["x"]}, "invalid filter 'dangling=[x]'"),
                              ({"label!": ["a"]}, "invalid filter 'label!'")):
            self.refuse(400, "GET", "/volumes", filters=filters, text=text)

    def test_prune(self):
        for keep in ("named", "labelled"):
            make(keep, Labels={LABEL: "1", keep: "1"})
        make("made", DriverOpts={"type": "tmpfs", "device": "tmpfs"})
        anonymous = make()
        with open(anonymous["Mountpoint"] + "/file", "wb") as file:
            file.write(b"x" * 4321)
        used = create(Volumes={"/v": {}})
        self.refuse(400, "POST", "/volumes/prune", filters={"all": ["x"]},
                    text="invalid filter 'all': strconv.ParseBool: parsing \"x\": invalid syntax")
        self.refuse(400, "POST", "/volumes/prune", filters={"name": ["x"]}, text="invalid filter 'name'")
        self.assertEqual(succeed("POST", "/volumes/prune", filters={"label": ["nosuch"]}), {"VolumesDeleted": [], "SpaceReclaimed": 0})
        self.assertEqual(succeed("POST", "/volumes/prune"), {"VolumesDeleted": [anonymous["Name"]], "SpaceReclaimed": 4321})
        answer = succeed("POST", "/volumes/prune", filters={"all": ["true"], "label!": ["labelled"]})
        self.assertEqual(answer["VolumesDeleted"], [PREFIX + "named"])
        self.assertEqual(succeed("POST", "/v1.41/volumes/prune")["VolumesDeleted"], [PREFIX + "labelled"])
        # What was made with options stays, and so does what a container has.
        self.assertEqual(names(), ["made"])
        self.assertEqual(call("GET", f"/volumes/{mounts(used)['/v']['Name']}").status, 200)

    def test_usage(self):
        volume = make("sized")
        with open(volume["Mountpoint"] + "/file", "wb") as file:
            file.write(b"x" * 1234)
        for _ in range(2):
            create(host={"Binds": [PREFIX + "sized:/v", PREFIX + "sized:/w"]})
        shown = [one for one in succeed("GET", "/system/df", type="volume")["Volumes"] if one["Name"] == PREFIX + "sized"][0]
        self.assertEqual(shown["UsageData"], {"RefCount": 2, "Size": 1234})
        self.assertNotIn("UsageData", volume)


class Mounts(WithVolumes):
    def test_mounts_of_binds(self):
        identifier = create(host={"Binds": [PREFIX + "v:/v", PREFIX + "r:/r:ro", PREFIX + "n:/n:rw,nocopy", "/etc:/e:ro,rslave", "/a"]})
        shown = mounts(identifier)
        self.assertEqual(shown["/v"], {"Type": "volume", "Name": PREFIX + "v", "Source": f"{ROOT}/{PREFIX}v/_data",
                                       "Destination": "/v", "Driver": "local", "Mode": "z", "RW": True, "Propagation": ""})
        self.assertEqual([(shown[place]["Mode"], shown[place]["RW"]) for place in ("/r", "/n", "/a")],
                         [("ro", False), ("rw,nocopy", True), ("z", True)])
        self.assertEqual(shown["/e"], {"Type": "bind", "Source": "/etc", "Destination": "/e", "Mode": "ro,rslave", "RW": False,
                                       "Propagation": "rslave"})
        self.assertEqual(inspect(identifier)["HostConfig"]["Binds"][0], PREFIX + "v:/v")

    def test_mounts_of_mounts(self):
        options = {"Labels": {LABEL: "1", "l": "1"}, "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs", "device": "tmpfs"}}}
        wanted = [{"Type": "volume", "Source": PREFIX + "v", "Target": "/v", "ReadOnly": True},
                  {"Type": "volume", "Target": "/anon"}, {"Type": "bind", "Source": "/etc", "Target": "/b"},
                  {"Type": "volume", "Source": PREFIX + "o", "Target": "/o", "VolumeOptions": {"NoCopy": True, **options}},
                  {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1000000, "Mode": 0o700}}]
        identifier = create(host={"Mounts": wanted})
        shown = mounts(identifier)
        self.assertEqual((shown["/v"]["Mode"], shown["/v"]["RW"]), ("z", False))
        self.assertRegex(shown["/anon"]["Name"], "^[0-9a-f]{64}$")
        self.assertEqual(shown["/b"], {"Type": "bind", "Source": "/etc", "Destination": "/b", "Mode": "", "RW": True,
                                       "Propagation": "rprivate"})
        self.assertEqual(shown["/t"], {"Type": "tmpfs", "Source": "", "Destination": "/t", "Mode": "", "RW": True, "Propagation": ""})
        volume = succeed("GET", f"/volumes/{PREFIX}o")
        self.assertEqual((volume["Options"], volume["Labels"]["l"]), ({"type": "tmpfs", "device": "tmpfs"}, "1"))
        self.assertEqual(inspect(identifier)["HostConfig"]["Mounts"], wanted)

    def test_volumes_of_the_configuration(self):
        identifier = create(Volumes={"/v/": {}, "/w": {}, "/t": {}}, host={"Binds": [PREFIX + "w:/w"], "Tmpfs": {"/t": ""}})
        shown = mounts(identifier)
        self.assertEqual(sorted(shown), ["/v", "/w"])
        self.assertEqual((shown["/v"]["Mode"], shown["/v"]["Driver"]), ("", "local"))
        self.assertEqual(shown["/w"]["Name"], PREFIX + "w")

    def test_volumes_from(self):
        source = create(host={"Binds": [PREFIX + "v:/v", "/etc:/e:ro"]})
        for text, writable in ((source, True), (source[:12] + ":ro", False), (source + ":rw", True), (source + ":z", True)):
            shown = mounts(create(host={"VolumesFrom": [text]}))
            self.assertEqual((shown["/v"]["Name"], shown["/v"]["Mode"], shown["/v"]["RW"]), (PREFIX + "v", "", writable))
            self.assertEqual((shown["/e"]["Source"], shown["/e"]["RW"]), ("/etc", False))
        shown = mounts(create(host={"VolumesFrom": [source], "Binds": ["/usr:/v"]}))
        self.assertEqual(shown["/v"]["Source"], "/usr")
        for text, message in (("nosuch", "No such container: nosuch"), ("", "volumes-from specification cannot be an empty string"),
                              ("nosuch:bad", "invalid mode: bad"), (source + ":rshared", "invalid mode: rshared"),
                              (source + ":nocopy", "invalid mode: nocopy"), (source + ":ro:x", "invalid mode: ro:x")):
            self.refuse(400, "POST", "/containers/create", body(VolumesFrom=[text]), text=message)

    def test_anonymous_volumes_are_removed(self):
        for remove, status in ((True, 404), (False, 200)):
            identifier = create(Volumes={"/v": {}}, host={"Binds": [PREFIX + "v:/named"]})
            name = mounts(identifier)["/v"]["Name"]
            call("DELETE", f"/containers/{identifier}", v=remove)
            self.assertEqual(call("GET", f"/volumes/{name}").status, status)
            self.assertEqual(call("GET", f"/volumes/{PREFIX}v").status, 200)

    def test_refused_binds(self):
        # What is wrong with a bind is the server's failure in the version of dockerd that is compared with.
        status = differs(400, 500, "a wrong specification is the client's fault, as in later versions of dockerd")
        for bind, text in (("/foo:rw", ""), ("a:b:c:d", ""), ("", ""), (":/x", ""),
                           ("name:rel", ": invalid mount config for type \"volume\": invalid mount path: 'rel' mount path must be absolute"),
                           ("name:/", ": invalid mount config for type \"volume\": invalid specification: destination can't be '/'"),
                           ("name:/x:rshared", ': invalid mount config for type "volume": field BindOptions must not be specified'),
                           ("/etc:/", ": invalid mount config for type \"bind\": invalid specification: destination can't be '/'")):
            with self.subTest(bind):
                self.refuse(status, "POST", "/containers/create", body(Binds=[bind]), text=f"invalid volume specification: '{bind}'{text}")
        for mode in ("bogus", "ro,rw", "ro,", "z,Z"):
            self.refuse(status, "POST", "/containers/create", body(Binds=[f"name:/a:{mode}"]), text=f"invalid mode: {mode}")
        for host in ({"Binds": ["nm:/a", "nm2:/a/"]}, {"Binds": ["nm:/a"], "Tmpfs": {"/a": ""}},
                     {"Binds": ["nm:/a"], "Mounts": [{"Type": "volume", "Target": "/a"}]}):
            self.refuse(400, "POST", "/containers/create", body(**host), text="Duplicate mount point: /a")
        self.refuse(400, "POST", "/containers/create", body(Binds=["x:/x"]),
                    text="create x: volume name is too short, names should be at least two alphanumeric characters")
        self.refuse(404, "POST", "/containers/create", body(Binds=["dd:/d"], VolumeDriver="nosuch"),
                    text='create dd: error looking up volume plugin nosuch: plugin "nosuch" not found')

    def test_refused_mounts(self):
        volume, bind, tmpfs = ({"Type": kind, "Target": "/m"} for kind in ("volume", "bind", "tmpfs"))
        for mount, text in (
            ({**volume, "ReadOnly": True}, "must not set ReadOnly mode when using anonymous volumes"),
            ({**volume, "Source": "mv", "VolumeOptions": {"Subpath": "../x"}}, "subpath must be a relative path within the volume"),
            ({**volume, "VolumeOptions": {"Subpath": "x"}}, "must not set Subpath when using anonymous volumes"),
            ({**volume, "Source": "mv", "Target": ""}, "field Target must not be empty"),
            ({**volume, "Source": "mv", "Target": "rel"}, "invalid mount path: 'rel' mount path must be absolute"),
            ({**volume, "Source": "mv", "Target": "/"}, "invalid specification: destination can't be '/'"),
            (bind, "field Source must not be empty"),
            ({**bind, "Source": "rel"}, "invalid mount path: 'rel' mount path must be absolute"),
            ({**bind, "Source": "/nosuch"}, "bind source path does not exist: /nosuch"),
            ({**bind, "Source": "/etc", "BindOptions": {"Propagation": "odd"}}, "invalid propagation mode: odd"),
            ({**tmpfs, "Source": "x"}, "field Source must not be specified"),
            ({**tmpfs, "Type": "odd"}, "mount type unknown"),
            ({**tmpfs, "Type": "npipe"}, "mount type unknown"),
            ({**tmpfs, "Type": ""}, "mount type unknown"),
        ):
            with self.subTest(mount):
                self.refuse(400, "POST", "/containers/create", body(Mounts=[mount]),
                            text=f'invalid mount config for type "{mount["Type"]}": {text}')
        for mount, text in (({**volume, "Source": "mv", "BindOptions": {}}, 'BindOptions must not be specified on mount type "volume"'),
                            ({**bind, "Source": "/etc", "VolumeOptions": {}}, 'VolumeOptions must not be specified on mount type "bind"'),
                            ({**tmpfs, "BindOptions": {}}, 'BindOptions must not be specified on mount type "tmpfs"')):
            self.refuse(400, "POST", "/containers/create", body(Mounts=[mount]), text=text)

    def test_mounts_refused_at_the_start(self):
        for read_only, options, text in ((True, ("NonRecursive", "ForceRecursive"), "ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"),
                                         (False, ("ForceRecursive",), "!ReadOnly && BindOptions.ReadOnlyForceRecursive"),
                                         (False, ("NonRecursive",), "!ReadOnly && BindOptions.ReadOnlyNonRecursive")):
            mount = {"Type": "bind", "Source": "/etc", "Target": "/m", "ReadOnly": read_only, "BindOptions": {"ReadOnly" + name: True for name in options}}
            identifier = create("true", host={"Mounts": [mount]})
            self.refuse(500, "POST", f"/containers/{identifier}/start", text="mount options conflict: " + text)

    def test_effects(self):
        identifier = run("sh", "-c", "echo text >/v/file; cat /v/file; touch /r/x; grep -c ' /t tmpfs' /proc/mounts",
                         host={"Binds": [PREFIX + "v:/v", PREFIX + "r:/r:ro"], "Mounts": [{"Type": "tmpfs", "Target": "/t"}]})
        self.assertEqual(finish(identifier), 0)
        with open(f"{ROOT}/{PREFIX}v/_data/file", encoding="ascii") as file:
            self.assertEqual(file.read(), "text\n")
        self.assertEqual(os.listdir(f"{ROOT}/{PREFIX}r/_data"), [])

    def test_filled_from_the_image(self):
        identifier = run("true", host={"Binds": [PREFIX + "full:/etc"]})
        self.assertEqual(finish(identifier), 0)
        info = os.stat(f"{ROOT}/{PREFIX}full/_data/shadow")
        self.assertEqual((info.st_mode & 0o777, info.st_uid, info.st_mtime), (0o640, 0, 1735689600))
        identifier = run("true", host={"Binds": [PREFIX + "empty:/var:nocopy"]})
        self.assertEqual(os.listdir(f"{ROOT}/{PREFIX}empty/_data"), [])

    def test_start_is_refused(self):
        make("missing", DriverOpts={"type": "none", "device": "/nosuch", "o": "bind"})
        identifier = create(host={"Binds": [PREFIX + "missing:/v"]})
        data = f"{ROOT}/{PREFIX}missing/_data"
        self.refuse(500, "POST", f"/containers/{identifier}/start",
                    text=f"error while mounting volume '{data}': failed to mount local volume: mount /nosuch:{data}, flags: 0x1000: "
                    "no such file or directory")


class Modes(Case):
    """What a container is created with besides: limits, and namespaces of others."""

    def test_discarded_limits(self):
        with open("/sys/fs/cgroup/cgroup.controllers", encoding="ascii") as controllers:
            if controllers.read().split():
                self.skipTest("this host has controllers")
        for host, shown, text in (
            ({"BlkioWeight": 500}, 0, "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."),
            ({"Memory": 67108864}, 0, "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded."),
            ({"MemoryReservation": 67108864}, 0,
             "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded."),
            ({"MemorySwappiness": 50}, None,
             "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded."),
            ({"OomKillDisable": True}, False, "Your kernel does not support OomKillDisable. OomKillDisable discarded."),
            ({"CpuShares": 512}, 0, "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded."),
            ({"CpuQuota": 25000}, 0, "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded."),
            ({"CpusetCpus": "0"}, "", "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded."),
            ({"PidsLimit": 100}, None, "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded."),
            ({"CpuPercent": 10}, 0, "linux does not support CPU percent. Percent discarded."),
            ({"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 5}]}, [],
             "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded."),
        ):
            with self.subTest(host):
                answer = succeed("POST", "/containers/create", body(**host), 201)
                self.assertEqual(answer["Warnings"], [text])
                key = next(iter(host))
                self.assertEqual(inspect(answer["Id"])["HostConfig"][key], shown)

    def test_refused_limits(self):
        for host, status, text in (
            ({"Memory": 1000}, 400, "Minimum memory limit allowed is 6MB"),
            ({"MemorySwap": 67108864}, 400, "You should always set the Memory limit when using Memoryswap limit, see usage"),
            ({"CpuRealtimePeriod": 1000}, 500, "Your kernel does not support CPU real-time scheduler"),
            ({"IOMaximumIOps": 10}, 500, "Invalid QoS settings: linux does not support configuration of maximum IOPs"),
            ({"IOMaximumBandwidth": 10}, 500, "Invalid QoS settings: linux does not support configuration of maximum bandwidth"),
            ({"StorageOpt": {"size": "10G"}}, 500, "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"),
            ({"StorageOpt": {"odd": "1"}}, 500, "Unknown option odd"),
            ({"ShmSize": -5}, 400, "SHM size can not be less than 0"),
            ({"OomScoreAdj": 1001}, 400, "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
            ({"CgroupParent": "odd"}, 400, 'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"'),
            ({"Annotations": {"": "b"}}, 400, "invalid Annotations: the empty string is not permitted as an annotation key"),
            ({"PidMode": "odd"}, 400, "invalid PID mode: odd"), ({"PidMode": "container:"}, 400, "invalid PID mode: container:"),
            ({"PidMode": "container:nosuch"}, 400, "No such container: nosuch"), ({"IpcMode": "odd"}, 400, "invalid IPC mode: odd"),
            ({"IpcMode": "container:nosuch"}, 400, "No such container: nosuch"), ({"UTSMode": "odd"}, 400, "invalid UTS mode: odd"),
            ({"CgroupnsMode": "odd"}, 400, "invalid cgroup namespace mode: odd"),
        ):
            with self.subTest(host):
                self.refuse(status, "POST", "/containers/create", body(**host), text=text)

    def test_joined_namespaces(self):
        private, shareable = (engine.start("sleep", "100", host={"IpcMode": mode}) for mode in ("private", "shareable"))
        stopped = create("true", host={"IpcMode": "shareable"})
        for key, target, status, text in (
            ("IpcMode", private, 400, f"failed to join IPC namespace: container {private}: non-shareable IPC (hint: use "
             "IpcMode:shareable for the donor container)"),
            ("IpcMode", stopped, 409, f"failed to join IPC namespace: container {stopped} is not running"),
            ("PidMode", stopped, 500, f"failed to join PID namespace: container {stopped} is not running"),
        ):
            identifier = create(host={key: "container:" + target})
            self.refuse(status, "POST", f"/containers/{identifier}/start", text=text)
        for key, target in (("IpcMode", shareable), ("PidMode", private)):
            self.assertEqual(finish(run("true", host={key: "container:" + target})), 0)


if __name__ == "__main__":
    engine.main()
