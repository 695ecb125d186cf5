#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Networks and published ports: statuses, messages and shapes of every endpoint."""
import socket

from engine import Case, PREFIX, call, create, inspect, main, succeed, start

NAME = PREFIX + "net"
ID = r"^[0-9a-f]{64}$"


def make(name=NAME, **body):
    return succeed("POST", "/networks/create", {"Name": name, **body}, 201)["Id"]


def drop_networks():
    for network in succeed("GET", "/networks"):
        if network["Name"].startswith(PREFIX):
            call("DELETE", f"/networks/{network['Id']}")


class Networks(Case):
    def setUp(self):
        drop_networks()
        self.addCleanup(drop_networks)
        super().setUp()  # its cleanup comes first: containers go before the networks they are on

    def test_predefined(self):
        networks = {network["Name"]: network for network in succeed("GET", "/networks", filters={"type": ["builtin"]})}
        self.assertEqual(sorted(networks), ["bridge", "host", "none"])
        self.assertEqual([networks[name]["Driver"] for name in ("bridge", "host", "none")], ["bridge", "host", "null"])
        bridge = succeed("GET", "/networks/bridge")
        self.assertEqual(bridge["Options"]["com.docker.network.bridge.default_bridge"], "true")
        self.assertRegex(bridge["IPAM"]["Config"][0]["Subnet"], r"^\d+\.\d+\.\d+\.\d+/\d+$")
        self.assertEqual(networks["host"]["IPAM"]["Config"], None)
        for name in ("bridge", "host", "none"):
            self.refuse(403, "DELETE", f"/networks/{name}", text=f"{name} is a pre-defined network and cannot be removed")
            self.refuse(403, "POST", "/networks/create", {"Name": name}, f"operation is not permitted on predefined {name} network")

    def test_create_and_inspect(self):
        identifier = make(Labels={"a": "b"}, Options={"x": "y"}, Internal=True)
        self.assertRegex(identifier, ID)
        for reference in (NAME, identifier, identifier[:12]):
            network = succeed("GET", f"/networks/{reference}")
            self.assertEqual(network["Id"], identifier)
        for key, value in {"Name": NAME, "Scope": "local", "Driver": "bridge", "EnableIPv6": False, "Internal": True, "Attachable": False,
                           "Ingress": False, "ConfigFrom": {"Network": ""}, "ConfigOnly": False, "Containers": {}, "Options": {"x": "y"},
                           "Labels": {"a": "b"}}.items():
            self.assertEqual(network[key], value, key)
        self.assertEqual(network["IPAM"]["Driver"], "default")
        self.assertEqual(sorted(network["IPAM"]["Config"][0]), ["Gateway", "Subnet"])
        self.refuse(409, "POST", "/networks/create", {"Name": NAME}, f"network with name {NAME} already exists")
        self.assertEqual(call("DELETE", f"/networks/{NAME}").status, 204)
        self.refuse(404, "GET", f"/networks/{NAME}", text=f"network {NAME} not found")
        self.refuse(404, "DELETE", f"/networks/{NAME}", text=f"network {NAME} not found")

    def test_addresses(self):
        config = [{"Subnet": "10.99.0.0/24", "IPRange": "10.99.0.128/25", "Gateway": "10.99.0.9", "AuxiliaryAddresses": {"x": "10.99.0.129"}}]
        make(IPAM={"Config": config})
        self.assertEqual(succeed("GET", f"/networks/{NAME}")["IPAM"]["Config"], config)
        self.refuse(403, "POST", "/networks/create", {"Name": NAME + "2", "IPAM": {"Config": [{"Subnet": "10.99.0.0/25"}]}},
                    "Pool overlaps with other one on this address space")
        for bad, text in (({"Subnet": "10.98.0.0"}, "invalid subnet 10.98.0.0: invalid CIDR block notation"),
                          ({"Subnet": "10.98.0.5/24"}, "invalid subnet 10.98.0.5/24: it should be 10.98.0.0/24"),
                          ({"Subnet": "10.98.0.0/24", "Gateway": "10.97.0.1"}, "invalid gateway 10.97.0.1: parent subnet"),
                          ({"Subnet": "10.98.0.0/24", "IPRange": "10.97.0.0/25"}, "invalid ip-range 10.97.0.0/25: parent subnet"),
                          ({"Gateway": "10.98.0.1"}, "invalid subnet : invalid CIDR block notation")):
            self.refuse(400, "POST", "/networks/create", {"Name": NAME + "2", "IPAM": {"Config": [bad]}}, text)

    def test_refused(self):
        for body, status, text in (({"Name": ""}, 400, "invalid name: "), ({"Name": NAME, "Driver": "nosuch"}, 404, 'plugin "nosuch" not found'),
                                   ({"Name": NAME, "Driver": "host"}, 403, 'only one instance of "host" network is allowed'),
                                   ({"Name": NAME, "Driver": "overlay"}, 403, "This node is not a swarm manager"),
                                   ({"Name": NAME, "Options": {"com.docker.network.bridge.enable_icc": "maybe"}}, 400, "failed to parse"),
                                   ({"Name": NAME, "Options": {"com.docker.network.driver.mtu": "x"}}, 400, "failed to parse")):
            self.refuse(status, "POST", "/networks/create", body, text)

    def test_filters(self):
        identifier = make(Labels={"a": "b"})
        for filters in ({"name": [NAME]}, {"id": [identifier[:10]]}, {"label": ["a=b"]}, {"driver": ["bridge"], "type": ["custom"]},
                        {"dangling": ["true"]}, {"scope": ["local"], "label": ["a"]}):
            self.assertIn(identifier, [network["Id"] for network in succeed("GET", "/networks", filters=filters)], filters)
        for filters in ({"label": ["a=c"]}, {"type": ["builtin"]}, {"dangling": ["false"]}, {"driver": ["host"]}, {"scope": ["swarm"]}):
            self.assertNotIn(identifier, [network["Id"] for network in succeed("GET", "/networks", filters=filters)], filters)
        self.refuse(400, "GET", "/networks", text="invalid filter 'x'", filters={"x": ["y"]})
        self.refuse(500, "GET", "/networks", text="invalid filter: 'type'='y'", filters={"type": ["y"]})
        self.refuse(400, "GET", "/networks", text="invalid value for filter 'dangling'", filters={"dangling": ["y"]})

    def test_prune(self):
        make(Labels={"a": "b"})
        self.assertEqual(succeed("POST", "/networks/prune", filters={"label": ["a=c"]})["NetworksDeleted"], None)
        self.assertEqual(succeed("POST", "/networks/prune", filters={"label": ["a=b"]})["NetworksDeleted"], [NAME])
        self.refuse(400, "POST", "/networks/prune", text="invalid filter 'x'", filters={"x": ["y"]})

    def test_connect_and_disconnect(self):
        identifier = make(IPAM={"Config": [{"Subnet": "10.99.0.0/24"}]})
        make(NAME + "2")
        with self.running(host={"NetworkMode": NAME + "2"}, name="c") as container:
            self.refuse(403, "POST", f"/networks/{NAME}2/connect", {"Container": container}, "already exists in network")
            self.refuse(404, "POST", "/networks/nosuch/connect", {"Container": container}, "network nosuch not found")
            self.refuse(404, "POST", f"/networks/{NAME}/connect", {"Container": "nosuch"}, "No such container: nosuch")
            self.refuse(400, "POST", f"/networks/{NAME}/connect", {"Container": ""}, "invalid name or ID supplied")
            self.refuse(400, "POST", "/networks/host/connect", {"Container": container}, "cannot be disconnected from host network")
            self.refuse(400, "POST", "/networks/none/connect", {"Container": container}, "private (none) mode")
            self.refuse(500, "POST", f"/networks/{NAME}/disconnect", {"Container": container}, f"is not connected to network {NAME}")
            self.refuse(400, "POST", f"/networks/{NAME}/connect",
                        {"Container": container, "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.97.0.1"}}},
                        "no configured subnet or ip-range contain the IP address 10.97.0.1")
            settings = {"IPAMConfig": {"IPv4Address": "10.99.0.200"}, "Aliases": ["zz"]}
            self.assertEqual(call("POST", f"/networks/{NAME}/connect", {"Container": container, "EndpointConfig": settings}).status, 200)
            endpoint = inspect(container)["NetworkSettings"]["Networks"][NAME]
            for key, value in {"IPAMConfig": {"IPv4Address": "10.99.0.200"}, "IPAddress": "10.99.0.200", "IPPrefixLen": 24, "Gateway": "10.99.0.1",
                               "MacAddress": "02:42:0a:63:00:c8", "NetworkID": identifier, "Aliases": ["zz"], "Links": None,
                               "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "IPv6Gateway": "", "DriverOpts": None,
                               "DNSNames": [PREFIX + "c", "zz", container[:12]]}.items():
                self.assertEqual(endpoint[key], value, key)
            self.assertRegex(endpoint["EndpointID"], ID)
            self.assertEqual(succeed("GET", f"/networks/{NAME}")["Containers"], {container: {
                "Name": PREFIX + "c", "EndpointID": endpoint["EndpointID"], "MacAddress": "02:42:0a:63:00:c8", "IPv4Address": "10.99.0.200/24",
                "IPv6Address": ""}})
            self.refuse(403, "DELETE", f"/networks/{NAME}", text="has active endpoints")
            self.assertEqual(call("POST", f"/networks/{NAME}/disconnect", {"Container": container}).status, 200)
            self.assertEqual(list(inspect(container)["NetworkSettings"]["Networks"]), [NAME + "2"])

    def test_several_at_creation(self):
        for name in (NAME, NAME + "2"):
            make(name)
        body = {"Image": "busybox", "Cmd": ["sleep", "60"], "Labels": {"berth.api.test": "1"}, "HostConfig": {"NetworkMode": NAME},
                "NetworkingConfig": {"EndpointsConfig": {NAME: {"Aliases": ["q"]}, NAME + "2": {}}}}
        container = succeed("POST", "/containers/create", body, 201)["Id"]
        networks = inspect(container)["NetworkSettings"]["Networks"]
        self.assertEqual({name: network["Aliases"] for name, network in networks.items()}, {NAME: ["q"], NAME + "2": None})
        succeed("POST", f"/containers/{container}/start", status=204)
        networks = inspect(container)["NetworkSettings"]["Networks"]
        self.assertTrue(all(network["IPAddress"] for network in networks.values()))
        listed = succeed("GET", "/containers/json", filters={"network": [NAME]})
        self.assertEqual([entry["Id"] for entry in listed], [container])

    def test_network_gone(self):
        make()
        container = create("true", host={"NetworkMode": NAME})
        self.assertEqual(call("DELETE", f"/networks/{NAME}").status, 204)
        self.refuse(404, "POST", f"/containers/{container}/start", text=f"network {NAME} not found")
        container = create("true", host={"NetworkMode": "nosuch"})
        self.refuse(404, "POST", f"/containers/{container}/start", text="network nosuch not found")

    def test_ports(self):
        exposed = {port: {} for port in ("80/tcp", "90/udp", "5000/tcp", "7777/tcp")}  # dockerd publishes nothing else
        bindings = {"80/tcp": [{"HostIp": "", "HostPort": "18080"}], "90/udp": [{"HostIp": "127.0.0.1", "HostPort": "19000"}], "5000/tcp": [{}]}
        with self.running(host={"NetworkMode": "bridge", "PortBindings": bindings}, ExposedPorts=exposed) as container:
            ports = inspect(container)["NetworkSettings"]["Ports"]
            chosen = ports["5000/tcp"][0]["HostPort"]
            self.assertEqual(ports, {
                "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "18080"}, {"HostIp": "::", "HostPort": "18080"}], "7777/tcp": None,
                "90/udp": [{"HostIp": "127.0.0.1", "HostPort": "19000"}],
                "5000/tcp": [{"HostIp": "0.0.0.0", "HostPort": chosen}, {"HostIp": "::", "HostPort": chosen}]})
            self.assertGreaterEqual(int(chosen), 32768)
            self.assertEqual(sorted(inspect(container)["Config"]["ExposedPorts"]), ["5000/tcp", "7777/tcp", "80/tcp", "90/udp"])
            listed = [entry for entry in succeed("GET", "/containers/json") if entry["Id"] == container][0]["Ports"]
            self.assertIn({"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 18080, "Type": "tcp"}, listed)
            self.assertIn({"PrivatePort": 7777, "Type": "tcp"}, listed)
            self.assertEqual(len(listed), 6)
            other = create("true", host={"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostPort": "18080"}]}},
                           ExposedPorts={"80/tcp": {}})
            self.refuse(500, "POST", f"/containers/{other}/start", text="Bind for 0.0.0.0:18080 failed: port is already allocated")
            self.refuse(500, "POST", f"/containers/{other}/start", text="driver failed programming external connectivity on endpoint")
        succeed("POST", f"/containers/{other}/start", status=204)

    def test_ports_of_the_host(self):
        with socket.create_server(("0.0.0.0", 18181)):
            container = create("true", host={"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostPort": "18181"}]}},
                               ExposedPorts={"80/tcp": {}})
            self.refuse(500, "POST", f"/containers/{container}/start", text="listen tcp4 0.0.0.0:18181: bind: address already in use")
        container = create("true", host={"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostIp": "10.200.0.1", "HostPort": "18000"}]}},
                           ExposedPorts={"80/tcp": {}})
        self.refuse(500, "POST", f"/containers/{container}/start", text="listen tcp4 10.200.0.1:18000: bind: cannot assign requested address")

    def test_port_ranges_and_all(self):
        first, second = [start("sleep", "60", ExposedPorts={"80/tcp": {}}, host={"NetworkMode": "bridge", "PortBindings": {
            "80/tcp": [{"HostPort": "18300-18302"}]}}) for _ in range(2)]
        self.assertEqual([inspect(c)["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"] for c in (first, second)], ["18300", "18301"])
        every = start("sleep", "60", host={"NetworkMode": "bridge", "PublishAllPorts": True}, ExposedPorts={"80/tcp": {}, "90/udp": {}})
        ports = inspect(every)["NetworkSettings"]["Ports"]
        self.assertEqual({port: len(bindings) for port, bindings in ports.items()}, {"80/tcp": 2, "90/udp": 2})

    def test_modes(self):
        for mode, networks in (("none", ["none"]), ("host", ["host"])):
            container = start("sleep", "60", host={"NetworkMode": mode, "PortBindings": {"80/tcp": [{"HostPort": "18400"}]}})
            settings = inspect(container)["NetworkSettings"]
            self.assertEqual((list(settings["Networks"]), settings["Ports"]), (networks, {}), mode)
            self.refuse(400, "POST", "/networks/bridge/connect", {"Container": container})
        joined = start("sleep", "60", host={"NetworkMode": f"container:{container}"})
        self.assertEqual(inspect(joined)["NetworkSettings"]["Networks"], {})
        self.refuse(400, "POST", "/networks/bridge/connect", {"Container": joined},
                    "container sharing network namespace with another container or host cannot be connected to any other network")


if __name__ == "__main__":
    main()
