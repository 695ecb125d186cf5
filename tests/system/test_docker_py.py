# SPDX-License-Identifier: LGPL-2.1-or-later
"""docker-py (Debian's python3-docker): what Python programs do with an engine. $DOCKER_HOST says whose socket it is; run
by tests/system/node.sh."""
import io
import os
import tarfile
import threading
import time
import unittest
import urllib.request

import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound
from docker.types import Healthcheck, IPAMConfig, IPAMPool, LogConfig, Mount, Ulimit

IMAGE = "busybox:latest"
LABEL = "berth.docker-py"
SLEEP = ["sleep", "600"]


def wait_until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s: not {what}")
        time.sleep(0.1)
    return result


def archive(**files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def content(pieces, name):
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        return tar.extractfile(name).read()


class DockerPy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = docker.from_env(timeout=120)
        with open(os.environ.get("BUSYBOX_TAR", "/root/busybox.tar"), "rb") as file:
            cls.client.images.load(file.read())
        cls.clean()

    @classmethod
    def tearDownClass(cls):
        cls.clean()
        cls.client.close()

    @classmethod
    def clean(cls):
        for container in cls.client.containers.list(all=True, filters={"label": LABEL}):
            container.remove(force=True, v=True)

    def setUp(self):
        self.addCleanup(self.clean)

    def start(self, command=None, **options):
        options = {"network_mode": "none", "labels": {LABEL: "1"}, **options}
        if "network" in options:
            del options["network_mode"]
        return self.client.containers.run(IMAGE, command or SLEEP, detach=True, **options)

    def run_once(self, command, **options):
        options = {"network_mode": "none", "labels": {LABEL: "1"}, "remove": True, **options}
        return self.client.containers.run(IMAGE, command, **options).decode()

    def test_the_engine_tells_what_it_is(self):
        self.assertTrue(self.client.ping())
        self.assertEqual(self.client.info()["OSType"], "linux")
        self.assertIn("ApiVersion", self.client.version())
        self.assertIn("LayersSize", self.client.df())
        self.assertIn(IMAGE, self.client.images.get(IMAGE).tags)
        self.assertRaises(ImageNotFound, self.client.images.get, "none:none")

    def test_run_gives_the_output_or_raises(self):
        self.assertEqual(self.run_once(["echo", "hello"]), "hello\n")
        with self.assertRaises(ContainerError) as raised:
            self.run_once(["sh", "-c", "echo wrong >&2; exit 3"])
        self.assertEqual((raised.exception.exit_status, raised.exception.stderr), (3, b"wrong\n"))
        self.assertRaises(ImageNotFound, self.client.api.inspect_image, "none:none")

    def test_options_of_a_container_are_there_inside(self):
        output = self.run_once(
            ["sh", "-c", "hostname; id -u; pwd; echo $A; ulimit -n; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; "
             "grep ' /t ' /proc/mounts; grep NoNewPrivs /proc/self/status; grep elsewhere /etc/hosts; touch /x 2>&1; "
             "grep CapBnd /proc/self/status"],
            hostname="inner", user="33:33", working_dir="/tmp", environment={"A": "a"},
            ulimits=[Ulimit(name="nofile", soft=77, hard=78)], sysctls={"net.ipv4.ip_unprivileged_port_start": 5},
            tmpfs={"/t": "size=1m"}, security_opt=["no-new-privileges"], network_mode=None, network="bridge",
            extra_hosts={"elsewhere": "192.0.2.9"}, read_only=True, cap_drop=["ALL"]).split("\n")
        self.assertEqual(output[:6], ["inner", "33", "/tmp", "a", "77", "5"])
        self.assertIn("size=1024k", output[6])
        self.assertEqual(output[7].split(), ["NoNewPrivs:", "1"])
        self.assertEqual(output[8].split(), ["192.0.2.9", "elsewhere"])
        self.assertIn("Read-only", output[9])
        self.assertEqual(int(output[10].split()[1], 16), 0)

    def test_logs_come_whole_from_the_end_and_as_they_are_written(self):
        container = self.start(["sh", "-c", "for i in 1 2 3; do echo $i; done; read line; echo $line; exit 0"], stdin_open=True)
        follower = container.logs(stream=True, follow=True)
        first = b""
        while b"3\n" not in first:
            first += next(follower)
        self.assertEqual(first, b"1\n2\n3\n")
        self.assertEqual(container.logs(tail=1), b"3\n")
        stream = container.attach_socket(params={"stdin": 1, "stream": 1})
        stream._sock.sendall(b"typed\n")
        self.assertEqual(b"".join(follower), b"typed\n")
        self.assertEqual(container.wait()["StatusCode"], 0)
        stream.close()
        stamp = container.logs(timestamps=True, tail=1).split()[0].decode()
        self.assertRegex(stamp, r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")

    def test_exec(self):
        container = self.start()
        code, (out, err) = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
        self.assertEqual((code, out, err), (4, b"out\n", b"err\n"))
        code, out = container.exec_run(["sh", "-c", "id -un; pwd; echo $A"], user="daemon", workdir="/tmp", environment={"A": "1"})
        self.assertEqual((code, out), (0, b"daemon\n/tmp\n1\n"))
        self.assertEqual(b"".join(container.exec_run(["seq", "1000"], stream=True).output), b"".join(b"%d\n" % i for i in range(1, 1001)))
        code, connection = container.exec_run(["cat"], stdin=True, socket=True)
        connection._sock.sendall(b"through\n")
        self.assertTrue(connection.read(16).endswith(b"through\n"))
        connection.close()
        container.exec_run(["touch", "/detached"], detach=True)
        wait_until(lambda: container.exec_run(["ls", "/detached"]).exit_code == 0, "the file of the detached command")

    def test_archives_go_in_and_out(self):
        container = self.start()
        self.assertTrue(container.put_archive("/tmp", archive(file=b"content\n")))
        self.assertEqual(container.exec_run(["cat", "/tmp/file"]).output, b"content\n")
        pieces, stat = container.get_archive("/tmp/file")
        self.assertEqual((content(pieces, "file"), stat["name"], stat["size"]), (b"content\n", "file", 8))
        self.assertIn({"Path": "/tmp/file", "Kind": 1}, container.diff())
        self.assertEqual(content(container.export(), "tmp/file"), b"content\n")
        self.assertRaises(NotFound, container.get_archive, "/none")

    def test_a_life_with_its_states(self):
        container = self.start(name="py-life", stop_signal="SIGKILL")
        self.assertEqual(container.status, "created")
        states = []
        for action in (lambda: None, container.pause, container.unpause, lambda: container.rename("py-renamed"),
                       lambda: container.stop(timeout=0), container.start, lambda: container.restart(timeout=0)):
            action()
            container.reload()
            states.append(container.status)
        self.assertEqual(states, ["running", "paused", "running", "running", "exited", "running", "running"])
        self.assertEqual(container.name, "py-renamed")
        self.assertIn("sleep 600", str(container.top(ps_args="-eo pid,args")["Processes"]))
        container.update(restart_policy={"Name": "on-failure", "MaximumRetryCount": 2})
        container.reload()
        self.assertEqual(container.attrs["HostConfig"]["RestartPolicy"]["MaximumRetryCount"], 2)
        self.assertEqual(container.stats(stream=False)["id"], container.id)
        self.assertEqual(len([next(s) for s in [container.stats(decode=True)] for _ in range(2)]), 2)
        container.kill()
        self.assertEqual(container.wait(condition="not-running")["StatusCode"], 137)
        with self.assertRaises(APIError) as raised:
            container.kill()
        self.assertEqual(raised.exception.status_code, 409)
        container.remove()
        self.assertRaises(NotFound, container.reload)

    def test_health(self):
        second = 1_000_000_000
        container = self.start(["sh", "-c", "sleep 1; touch /ready; exec sleep 600"],
                               healthcheck=Healthcheck(test=["CMD-SHELL", "test -e /ready"], interval=second // 5, retries=100))

        def healthy():
            container.reload()
            return container.health == "healthy"
        wait_until(healthy, "healthy")

    def test_events(self):
        seen, ready = [], threading.Event()
        stream = self.client.events(decode=True, filters={"label": f"{LABEL}.events"}, since=int(time.time()))

        def read():
            ready.set()
            for event in stream:
                seen.append(event["Action"])
                if event["Action"] == "destroy":
                    return
        reader = threading.Thread(target=read)
        reader.start()
        ready.wait()
        self.run_once(["true"], labels={LABEL: "1", f"{LABEL}.events": "1"})
        reader.join(60)
        self.assertFalse(reader.is_alive())
        stream.close()
        self.assertEqual([one for one in seen if one != "attach"], ["create", "start", "die", "destroy"])

    def test_networks_and_ports(self):
        pool = IPAMPool(subnet="172.31.77.0/24", gateway="172.31.77.1")
        network = self.client.networks.create("py-net", ipam=IPAMConfig(pool_configs=[pool]), labels={LABEL: "1"})
        self.addCleanup(network.remove)
        server = self.start(["sh", "-c", "echo served >/tmp/index.html; exec httpd -f -p 80 -h /tmp"], network="py-net", name="py-server",
                            ports={"80/tcp": ("127.0.0.1", None)})
        client = self.start(network="py-net")
        self.addCleanup(lambda: [one.remove(force=True) for one in (server, client)])
        wait_until(lambda: client.exec_run(["wget", "-qO-", "http://py-server/index.html"]).output == b"served\n", "an answer by name")
        server.reload()
        port = server.ports["80/tcp"][0]["HostPort"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html") as page:
            self.assertEqual(page.read(), b"served\n")
        network.disconnect(client)
        network.reload()
        self.assertEqual([one.id for one in network.containers], [server.id])
        network.connect(client, ipv4_address="172.31.77.9", aliases=["again"])
        self.assertIn(b"172.31.77.9", client.exec_run(["ip", "addr"]).output)
        self.assertEqual(server.exec_run(["ping", "-c1", "-W5", "again"]).exit_code, 0)

    def test_volumes_and_mounts(self):
        volume = self.client.volumes.create("py-volume", labels={LABEL: "1"})
        self.addCleanup(volume.remove)
        self.run_once(["sh", "-c", "echo kept >/data/file"], volumes={"py-volume": {"bind": "/data", "mode": "rw"}})
        mount = Mount("/data", "py-volume", type="volume", read_only=True)
        self.assertEqual(self.run_once(["cat", "/data/file"], mounts=[mount]), "kept\n")
        with self.assertRaises(ContainerError):
            self.run_once(["touch", "/data/file"], mounts=[mount])
        self.assertEqual([one.name for one in self.client.volumes.list(filters={"label": LABEL})], ["py-volume"])

    def test_images(self):
        dockerfile = f"FROM {IMAGE}\nARG WORD\nRUN echo $WORD >/word\nCMD [\"cat\", \"/word\"]\n".encode()
        image, log = self.client.images.build(fileobj=io.BytesIO(archive(Dockerfile=dockerfile)), custom_context=True, tag="py-built:1",
                                              buildargs={"WORD": "argued"}, rm=True)
        self.addCleanup(self.client.images.remove, "py-built:1", force=True)
        self.assertTrue(any("Successfully built" in line.get("stream", "") for line in log))
        output = self.client.containers.run("py-built:1", remove=True, network_mode="none")
        self.assertEqual(output, b"argued\n")
        self.assertTrue(image.tag("py-tagged", "2"))
        saved = b"".join(self.client.images.get("py-tagged:2").save(named="py-tagged:2"))
        self.client.images.remove("py-tagged:2")
        self.assertRaises(ImageNotFound, self.client.images.get, "py-tagged:2")
        self.assertIn("py-tagged:2", self.client.images.load(saved)[0].tags)
        self.client.images.remove("py-tagged:2")
        container = self.start(["touch", "/made"])
        container.wait()
        committed = container.commit("py-committed", "1", changes=["CMD [\"ls\", \"/made\"]"])
        self.addCleanup(self.client.images.remove, committed.id, force=True)
        self.assertEqual(self.client.containers.run("py-committed:1", remove=True, network_mode="none"), b"/made\n")

    def test_log_drivers(self):
        container = self.start(["echo", "line"], log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "1m"}))
        container.wait()
        self.assertEqual(container.logs(), b"line\n")
        with open(container.attrs["LogPath"] or self.client.api.inspect_container(container.id)["LogPath"], encoding="utf-8") as file:
            self.assertIn('"log":"line\\n"', file.read())


if __name__ == "__main__":
    unittest.main()
