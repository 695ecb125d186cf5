#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What both engines say to the creation of a container with a field of the wrong type, however deep it is: the same. The
fields are the reference's, but those that dockerd 26 does not know."""
import os
import unittest

import engine

REFERENCE = os.environ["REFERENCE_SOCKET"]

# Of each field its type: of all members of an object whose names are free, that of "*".
RATE = {"Path": str, "Rate": int}
MOUNT = {"Target": str, "Source": str, "Type": str, "ReadOnly": bool, "Consistency": str, "BindOptions": {"Propagation": str,
    "NonRecursive": bool, "CreateMountpoint": bool, "ReadOnlyNonRecursive": bool, "ReadOnlyForceRecursive": bool}, "VolumeOptions":
    {"NoCopy": bool, "Labels": {"*": str}, "DriverConfig": {"Name": str, "Options": {"*": str}}, "Subpath": str}, "TmpfsOptions":
    {"SizeBytes": int, "Mode": int}}
ENDPOINT = {"IPAMConfig": {"IPv4Address": str, "IPv6Address": str, "LinkLocalIPs": [str]}, "Links": [str], "MacAddress": str, "Aliases":
    [str], "DriverOpts": {"*": str}, "NetworkID": str, "EndpointID": str, "Gateway": str, "IPAddress": str, "IPPrefixLen": int,
    "IPv6Gateway": str, "GlobalIPv6Address": str, "GlobalIPv6PrefixLen": int, "DNSNames": [str]}
HOST_CONFIG = {"CpuShares": int, "Memory": int, "CgroupParent": str, "BlkioWeight": int, "BlkioWeightDevice": [{"Path": str, "Weight":
    int}], "BlkioDeviceReadBps": [RATE], "BlkioDeviceWriteBps": [RATE], "BlkioDeviceReadIOps": [RATE], "BlkioDeviceWriteIOps": [RATE],
    "CpuPeriod": int, "CpuQuota": int, "CpuRealtimePeriod": int, "CpuRealtimeRuntime": int, "CpusetCpus": str, "CpusetMems": str,
    "Devices": [{"PathOnHost": str, "PathInContainer": str, "CgroupPermissions": str}], "DeviceCgroupRules": [str], "DeviceRequests":
    [{"Driver": str, "Count": int, "DeviceIDs": [str], "Capabilities": [[str]], "Options": {"*": str}}], "KernelMemoryTCP": int,
    "MemoryReservation": int, "MemorySwap": int, "MemorySwappiness": int, "NanoCpus": int, "OomKillDisable": bool, "Init": bool,
    "PidsLimit": int, "Ulimits": [{"Name": str, "Soft": int, "Hard": int}], "CpuCount": int, "CpuPercent": int, "IOMaximumIOps": int,
    "IOMaximumBandwidth": int, "Binds": [str], "ContainerIDFile": str, "LogConfig": {"Type": str, "Config": {"*": str}}, "NetworkMode":
    str, "PortBindings": {"*": [{"HostIp": str, "HostPort": str}]}, "RestartPolicy": {"Name": str, "MaximumRetryCount": int},
    "AutoRemove": bool, "VolumeDriver": str, "VolumesFrom": [str], "Mounts": [MOUNT], "ConsoleSize": [int], "Annotations": {"*": str},
    "CapAdd": [str], "CapDrop": [str], "CgroupnsMode": str, "Dns": [str], "DnsOptions": [str], "DnsSearch": [str], "ExtraHosts": [str],
    "GroupAdd": [str], "IpcMode": str, "Cgroup": str, "Links": [str], "OomScoreAdj": int, "PidMode": str, "Privileged": bool,
    "PublishAllPorts": bool, "ReadonlyRootfs": bool, "SecurityOpt": [str], "StorageOpt": {"*": str}, "Tmpfs": {"*": str}, "UTSMode": str,
    "UsernsMode": str, "ShmSize": int, "Sysctls": {"*": str}, "Runtime": str, "Isolation": str, "MaskedPaths": [str], "ReadonlyPaths":
    [str]}
BODY = {"Hostname": str, "Domainname": str, "User": str, "AttachStdin": bool, "AttachStdout": bool, "AttachStderr": bool, "ExposedPorts":
    {"*": {}}, "Tty": bool, "OpenStdin": bool, "StdinOnce": bool, "Env": [str], "Cmd": [str], "Healthcheck": {"Test": [str], "Interval":
    int, "Timeout": int, "Retries": int, "StartPeriod": int, "StartInterval": int}, "ArgsEscaped": bool, "Volumes": {"*": {}},
    "WorkingDir": str, "Entrypoint": [str], "NetworkDisabled": bool, "MacAddress": str, "OnBuild": [str], "Labels": {"*": str},
    "StopSignal": str, "StopTimeout": int, "Shell": [str], "HostConfig": HOST_CONFIG, "NetworkingConfig": {"EndpointsConfig": {"*":
    ENDPOINT}}}

WRONG = {str: [3], int: ["x", 1.5], bool: ["x", 1], list: ["x", {}], dict: ["x", []]}


def wrongs(kind):
    """All bodies with one wrong value, the way to it and the value."""
    here = kind if isinstance(kind, type) else type(kind)
    for value in WRONG[here]:
        yield value
    if here is list:
        for value in wrongs(kind[0]):
            yield [value]
    elif here is dict:
        for name, inner in kind.items():
            for value in wrongs(inner):
                yield {"key" if name == "*" else name: value}


class Types(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for server in (REFERENCE, engine.SOCKET):
            engine.load_busybox(server)
            engine.clean_up(server)

    def create(self, body, server):
        answer = engine.call("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"], "Labels": {engine.LABEL: "1"}, **body}, server=server)
        return answer.status, "" if answer.status == 201 else answer.message()

    def test_all(self):
        self.addCleanup(engine.clean_up)
        self.addCleanup(engine.clean_up, REFERENCE)
        count = 0
        for body in wrongs(BODY):
            if isinstance(body, dict):
                with self.subTest(body=body):
                    self.assertEqual(self.create(body, engine.SOCKET), self.create(body, REFERENCE))
                count += 1
        self.assertGreater(count, 300)
        print(f"{count} bodies", flush=True)


if __name__ == "__main__":
    unittest.main()
