#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What GET answers look like, member by member, beside dockerd's on the same host and in every version both speak. A line is
a path and a JSON type, and a value too where the request alone decides it. Every difference has to be listed, with its
reason: $ENGINE_SOCKET is Berth's, $REFERENCE_SOCKET is dockerd's."""
import os
import re
import unittest

import engine
from engine import call, create, run, start, succeed

BERTH = engine.SOCKET
REFERENCE = os.environ.get("REFERENCE_SOCKET", "/run/dockerd.sock")
VERSIONS = ("1.24", "1.25", "1.30", "1.38", "1.39", "1.40", "1.41", "1.42", "1.43", "1.44", "1.45")

# Objects whose members are data and not part of the shape.
MAPS = re.compile(r"\.(Runtimes|IndexConfigs|Labels|Networks|Ports|PortBindings|ExposedPorts|Volumes|Annotations|Sysctls|Tmpfs"
                  r"|StorageOpt|status)$")
# Where the values have to be the same, too.
VALUES = re.compile(r"^\.(Config|HostConfig|ContainerConfig)\b(?!\.Hostname$)|^\.(State\.(Status|Running|Paused|Restarting|OOMKilled|Dead"
                    r"|ExitCode|Error)|Path|Args\[\]|Platform|RestartCount|Architecture|Os|Author|Comment|DockerVersion|Parent"
                    r"|NetworkSettings\.Networks\.\*\.(Aliases|DNSNames))$")


def kind(value):
    if value is None:
        return "null"
    return {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}[type(value)]


def shape(value, path=""):
    """The lines of a value. Items of an array share a path."""
    lines = {f"{path}: {kind(value)}"}
    if isinstance(value, dict):
        for key, member in value.items():
            lines |= shape(member, f"{path}.{'*' if MAPS.search(path) else key}")
    elif isinstance(value, list):
        for item in value:
            lines |= shape(item, f"{path}[]")
    elif VALUES.search(path):
        lines = {f"{path}: {kind(value)} {value!r}"}
    return lines


FULL = dict(
    Hostname="web", Domainname="example.org", User="1000:50", AttachStdout=True, AttachStderr=True, Tty=True, OpenStdin=True,
    StdinOnce=True, Env=["A=b"], Entrypoint=["sh", "-c"], WorkingDir="/tmp", ExposedPorts={"80/tcp": {}}, StopSignal="SIGINT",
    StopTimeout=3, Labels={"x": "y"}, Shell=["sh", "-c"])
FULL_HOST = dict(
    Binds=["/tmp:/bound:ro", "/usr:/u"], CapAdd=["NET_ADMIN"], CapDrop=["CHOWN"], Dns=["192.0.2.1"], DnsOptions=["ndots:2"],
    DnsSearch=["example.org"], ExtraHosts=["a:192.0.2.2"], GroupAdd=["50"], IpcMode="host", OomScoreAdj=100,
    PidMode="host", ReadonlyRootfs=True, SecurityOpt=["no-new-privileges"], Tmpfs={"/scratch": "size=1m"},
    ShmSize=1048576, Sysctls={"net.ipv4.ip_forward": "1"}, CpuShares=512, CpuPeriod=100000, CpuQuota=50000,
    Devices=[{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"}],
    Ulimits=[{"Name": "nofile", "Soft": 100, "Hard": 200}], Annotations={"a": "b"}, ContainerIDFile="/x",
    DeviceCgroupRules=["c 1:3 r"], MaskedPaths=["/proc/kcore"], ReadonlyPaths=[], ConsoleSize=[24, 80],
    Mounts=[{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 65536}},
            {"Type": "bind", "Source": "/usr/share", "Target": "/share", "ReadOnly": True,
             "BindOptions": {"Propagation": "rslave"}}])
# What the stock client sends where the user said nothing.
CLIENT = dict(AttachStdin=False, AttachStdout=True, AttachStderr=True, Hostname="", Domainname="", User="", Tty=False,
              OpenStdin=False, StdinOnce=False, Env=None, Volumes={}, WorkingDir="", Entrypoint=None, OnBuild=None)
CLIENT_HOST = dict(
    Binds=None, ContainerIDFile="", LogConfig={"Type": "", "Config": {}}, PortBindings={}, AutoRemove=False, VolumeDriver="",
    RestartPolicy={"Name": "no", "MaximumRetryCount": 0}, VolumesFrom=None, ConsoleSize=[0, 0], CapAdd=None, CapDrop=None,
    CgroupnsMode="", Dns=[], DnsOptions=[], DnsSearch=[], ExtraHosts=None, GroupAdd=None, IpcMode="", Cgroup="", Links=None,
    OomScoreAdj=0, PidMode="", Privileged=False, PublishAllPorts=False, ReadonlyRootfs=False, SecurityOpt=None, UTSMode="",
    UsernsMode="", ShmSize=0, Isolation="", CpuShares=0, Memory=0, NanoCpus=0, CgroupParent="", BlkioWeight=0,
    BlkioWeightDevice=[], BlkioDeviceReadBps=[], BlkioDeviceWriteBps=[], BlkioDeviceReadIOps=[], BlkioDeviceWriteIOps=[],
    CpuPeriod=0, CpuQuota=0, CpuRealtimePeriod=0, CpuRealtimeRuntime=0, CpusetCpus="", CpusetMems="", Devices=[],
    DeviceCgroupRules=None, DeviceRequests=None, MemoryReservation=0, MemorySwap=0, MemorySwappiness=-1, OomKillDisable=False,
    PidsLimit=0, Ulimits=[], CpuCount=0, CpuPercent=0, IOMaximumIOps=0, IOMaximumBandwidth=0, MaskedPaths=None,
    ReadonlyPaths=None)
IMAGE = engine.image_archive(
    [engine.PREFIX + "shape:1", engine.PREFIX + "shape:2"], [{"a": b"1"}, {"b": b"22"}],
    {"Env": ["A=b"], "Cmd": ["/a"], "Labels": {"x": "y"}, "WorkingDir": "/w", "User": "u", "ExposedPorts": {"80/tcp": {}},
     "Volumes": {"/v": {}}, "StopSignal": "SIGINT", "Entrypoint": ["/b"],
     "Healthcheck": {"Test": ["CMD", "/a"], "Interval": 5000000000}}, author="Somebody", comment="said", docker_version="1.2",
    container="0" * 64, container_config={"Hostname": "h", "Cmd": ["/c"]})[0]
DANGLING, DANGLING_ID = engine.image_archive(None, [{"zz": b"1"}])


def prepare(server):
    """The same on both engines: names, images and containers in every state."""
    engine.load_busybox(server)
    engine.clean_up(server)
    assert engine.load(IMAGE, server).status == 200
    create("sleep", "600", name="plain", server=server)
    create("sleep", "600", name="client", server=server, host={**CLIENT_HOST, "NetworkMode": "none"}, **CLIENT)
    create("-c", "sleep 600", name="full", server=server, host=FULL_HOST, **FULL)
    create("sleep", "600", name="bridge", server=server, host={"NetworkMode": "bridge"})
    create("sleep", "600", name="privileged", server=server, host={"Privileged": True})
    start("sleep", "600", name="running", server=server)
    start("sleep", "600", name="running-bridge", server=server, host={"NetworkMode": "bridge"})
    start("sleep", "600", name="running-host", server=server, host={"NetworkMode": "host"})
    run("sh", "-c", "exit 3", name="ended", server=server)
    assert engine.load(DANGLING, server).status == 200
    call("POST", f"/containers/{create('nosuch', name='failed', server=server)}/start", server=server)


CONTAINERS = ("plain", "client", "full", "bridge", "privileged", "running", "running-bridge", "running-host", "ended", "failed")
REQUESTS = [
    ("version", "/version", {}),
    ("info", "/info", {}),
    ("images", "/images/json", {}),
    ("images with digests", "/images/json", {"digests": True}),
    ("image", f"/images/{engine.PREFIX}shape:1/json", {}),
    ("image busybox", "/images/busybox/json", {}),
    ("history", f"/images/{engine.PREFIX}shape:2/history", {}),
    ("containers", "/containers/json", {"all": True}),
    ("containers with sizes", "/containers/json", {"all": True, "size": True}),
    *((f"container {name}", f"/containers/{engine.PREFIX}{name}/json", {}) for name in CONTAINERS),
    ("container with size", f"/containers/{engine.PREFIX}ended/json", {"size": True}),
]

# Request, line (+ where only Berth has it, - where only dockerd), reason. HOST rows need a host of some kind to be seen.
HOST = "where the host has no cgroup controllers: "
DIFFERENCES = [
    ("version", r"^- \.(Components\[\]\.Details\.)?(BuildTime|GitCommit|GoVersion): ",
     "no Go program; the same source gives the same build"),
    ("info", r"^\+ \.CDISpecDirs\[\]: ", "devices have names without an experimental feature"),
    ("info", r"^- \.Runtimes\.\*\.status", "the runtime is no program that could be asked for its features"),
    ("image", r"^- \.GraphDriver\.Data\.(MergedDir|WorkDir): ", "a layer is one directory and is never mounted by itself"),
    ("container", r"^[+-] \.HostConfig\.LogConfig\.Type: ", "logs go to the journal by default"),
    ("container", r"^[+-] \.HostConfig\.Runtime: string '(berth|runc)'", "the runtime's name"),
    ("container", r"^\+ \.HostConfig\.MaskedPaths\[\]: string '/proc/interrupts'", "it tells what else the host does"),
    ("container", r"^[+-] \.HostConfig\.OomKillDisable: (null None|boolean False)",
     "cgroup version 2 has no such setting; dockerd forgets it at the start"),
    ("container (full|privileged)", r"^([+] \.HostConfig\.SecurityOpt: null|- \.HostConfig\.SecurityOpt.*(array|label=disable))",
     "there are no SELinux labels that would have to be disabled"),
    ("container full", r"^[+-] \.HostConfig\.Cpu(Period|Quota|Shares): ", HOST + "dockerd forgets the limit with a warning; Berth"
     " leaves it to systemd, whose unit has it"),
]


class Shapes(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        for server in (BERTH, REFERENCE):
            prepare(server)
            cls.addClassCleanup(call, "DELETE", f"/images/{DANGLING_ID}", server=server)
            cls.addClassCleanup(engine.clean_up, server)
        cls.used = set()

    def different(self, name, version, path, query):
        prefix = f"/v{version}" if version else ""
        ours, theirs = (shape(succeed("GET", prefix + path, server=server, **query)) for server in (BERTH, REFERENCE))
        self.assertGreater(len(theirs), 5, theirs)
        for line in sorted({f"+ {line}" for line in ours - theirs} | {f"- {line}" for line in theirs - ours}):
            for row in DIFFERENCES:
                if re.search(row[0], name) and re.search(row[1], line):
                    self.used.add(row)
                    break
            else:
                yield line

    def test_every_version(self):
        """Lines are told once, with the versions that show them."""
        for name, path, query in REQUESTS:
            found = {}
            for version in VERSIONS:
                for line in self.different(name, version, path, query):
                    found.setdefault(line, []).append(version)
            with self.subTest(name):
                self.assertEqual([f"{line} ({'-'.join((versions[0], versions[-1]))})" for line, versions in sorted(found.items())], [])

        # A difference that is gone leaves the table.
        self.assertEqual([row for row in DIFFERENCES if row not in self.used and not row[2].startswith(HOST)], [])


if __name__ == "__main__":
    engine.main()
