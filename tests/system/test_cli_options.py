# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds the table of cli_options.py against the clients and the tests, and shows the effects that no other file shows. Both
clients run each command line."""
import json
import os
import re
import subprocess
import tempfile
import time
import unittest

from cli_options import COMMANDS, TABLE
from hosted import RUNTIME, Terminal, load_images, remove_all, run, wait_until

CLIENTS = ("docker", "berth")
SLEEP = ("busybox", "sleep", "600")
HERE = os.path.dirname(os.path.abspath(__file__))


def listed(client, command):
    """The options that a client's help has for a command, each with its letter or none."""
    found = re.findall(r"^ +(?:(-\w), )?(--[a-z0-9-]+)", run(client, command, "--help"), re.MULTILINE)
    return {option: letter for letter, option in found}


def problems(options, docker, berth):
    """What is wrong with a command's table and the two helps."""
    found = [f"{option} is not in the table" for option in docker if option not in options]
    found += [f"{option} is in no help" for option in options if option not in docker and option not in berth]
    for option, letter in docker.items():
        if option != "--help" and berth.get(option) != letter:
            found.append(f"{letter or option} is not in berth's help")
    return found


def points_nowhere(where):
    """Tests that a row of the table names and that are not there; a reason need name none."""
    missing = []
    for file, name in re.findall(r"(\w+\.py)(?::(\w+))?", where):
        with open(f"{HERE}/{file}", encoding="utf-8") as text:
            if name and not re.search(rf"(?m)^    def {name}\(self\)", text.read()):
                missing.append(f"{file}:{name}")
    return missing


def look(name):
    return json.loads(run("docker", "inspect", name))[0]


class Table(unittest.TestCase):
    def test_complete(self):
        self.assertEqual(set(TABLE), set(COMMANDS))
        for command, options in TABLE.items():
            with self.subTest(command=command):
                docker, berth = listed("docker", command), listed("berth", command)
                self.assertGreater(len(docker), 2)
                self.assertEqual(problems(options, docker, berth), [])

    def test_what_is_missing_is_found(self):
        """Each option in turn, out of the table and out of berth's help; a letter, too."""
        for command, options in TABLE.items():
            docker, berth = listed("docker", command), listed("berth", command)
            for option, letter in docker.items():
                with self.subTest(command=command, option=option):
                    table = {name: where for name, where in options.items() if name != option}
                    self.assertEqual(problems(table, docker, berth), [f"{option} is not in the table"])
                    if option != "--help":
                        without = {name: short for name, short in berth.items() if name != option}
                        self.assertEqual(problems(options, docker, without), [f"{letter or option} is not in berth's help"])
                    if letter:
                        self.assertEqual(problems(options, docker, berth | {option: ""}), [f"{letter} is not in berth's help"])
            self.assertEqual(problems(options | {"--nosuch": ""}, docker, berth), ["--nosuch is in no help"])

    def test_references(self):
        for command, options in TABLE.items():
            for option, where in options.items():
                with self.subTest(command=command, option=option):
                    self.assertRegex(where, r"^(\w+\.py:test_\w+|- .{10,})$")
                    self.assertEqual(points_nowhere(where), [])
        self.assertEqual(points_nowhere("- refused, test_options.py:test_nosuch"), ["test_options.py:test_nosuch"])


class Effects(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_images()

    def setUp(self):
        self.addCleanup(remove_all)

    def background(self, client, *arguments):
        return run(client, "run", "-d", *arguments).strip()

    # --- run and create ------------------------------------------------------------------------------------------------

    def test_annotation(self):
        for client in CLIENTS:
            name = self.background(client, "--runtime", "crun", "--annotation", "org.example.key=value", *SLEEP)
            bundles = []
            for root, _, files in os.walk(f"{RUNTIME}/{name}"):
                if "config.json" in files:
                    with open(f"{root}/config.json", encoding="utf-8") as file:
                        bundles.append(json.load(file))
            specifications = [bundle for bundle in bundles if "ociVersion" in bundle]
            self.assertNotEqual(specifications, [])
            for specification in specifications:
                self.assertEqual(specification["annotations"]["org.example.key"], "value")

    def test_attach(self):
        for client in CLIENTS:
            done = subprocess.run([client, "run", "-a", "stderr", "busybox", "sh", "-c", "echo out; echo err >&2"],
                                  capture_output=True, timeout=60, check=True)
            self.assertEqual((done.stdout, done.stderr), (b"", b"err\n"))

    def test_images(self):
        """What is pulled, for which platform, with how many words."""
        for client in CLIENTS:
            missing = (client, "run", "--pull", "never", "nosuch.example/image", "true")
            done = subprocess.run(missing, capture_output=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 125)
            self.assertNotIn(b"Unable to find image", done.stderr)
            for quiet in (False, True):
                done = subprocess.run([client, "run", *(["--quiet"] if quiet else []), "127.0.0.1:1/nosuch", "true"],
                                      capture_output=True, timeout=60, check=False)
                self.assertEqual((done.returncode, b"Unable to find image" in done.stderr), (125, not quiet))
            done = subprocess.run([client, "create", "--pull", "never", "--platform", "linux/arm64", "busybox"], capture_output=True,
                                  timeout=60, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(b"platform", done.stderr)
            self.assertEqual(run(client, "run", "--rm", "--platform", "linux/amd64", "busybox", "echo", "ran"), "ran\n")
        done = subprocess.run(["berth", "run", "--disable-content-trust=false", "--pull", "always", "busybox", "true"],
                              capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 125)
        self.assertIn(b"signatures", done.stderr)

    def test_ports(self):
        for client in CLIENTS:
            name = self.background(client, "--expose", "80", "--expose", "81/udp", "-P", *SLEEP)
            self.assertRegex(run(client, "port", name), r"(?s)80/tcp -> 0\.0\.0\.0:\d+.*81/udp -> 0\.0\.0\.0:\d+")

    def test_addresses(self):
        run("docker", "network", "create", "--subnet", "10.99.7.0/24", "--ipv6", "--subnet", "fd99:7::/64", "chosen")
        self.addCleanup(run, "docker", "network", "rm", "chosen")
        self.addCleanup(remove_all)
        for client in CLIENTS:
            name = self.background(client, "--network", "chosen", "--ip", "10.99.7.77", "--ip6", "fd99:7::77", "--mac-address",
                                   "02:00:00:00:00:77", "--network-alias", "known", *SLEEP)
            inside = run("docker", "exec", name, "ip", "addr", "show", "eth0")
            for wanted in ("inet 10.99.7.77/24", "inet6 fd99:7::77/64", "link/ether 02:00:00:00:00:77"):
                self.assertIn(wanted, inside)
            self.assertIn("10.99.7.77", run("docker", "run", "--rm", "--network", "chosen", "busybox", "nslookup", "known"))
            run("docker", "rm", "-f", name)

    def test_init(self):
        for client in CLIENTS:
            self.assertIn("init", run(client, "run", "--rm", "--init", "busybox", "cat", "/proc/1/comm"))
            self.assertEqual(run(client, "run", "--rm", "busybox", "cat", "/proc/1/comm"), "cat\n")

    def health(self, name):
        return look(name)["State"]["Health"]

    def test_health(self):
        """The status by the command, failures up to the retries, a timeout, a start with an interval of its own."""
        for client in CLIENTS:
            with self.subTest(client=client):
                good = self.background(client, "--health-cmd", "test -d /proc", "--health-interval", "200ms", *SLEEP)
                wait_until(lambda name=good: len(self.health(name)["Log"]) >= 3, 60, "three checks")
                self.assertEqual(self.health(good)["Status"], "healthy")
                bad = self.background(client, "--health-cmd", "exit 1", "--health-interval", "200ms", "--health-retries", "2", *SLEEP)
                late = self.background(client, "--health-cmd", "sleep 600", "--health-interval", "200ms", "--health-timeout", "300ms",
                                       "--health-retries", "1", *SLEEP)
                starting = self.background(client, "--health-cmd", "exit 1", "--health-interval", "1h", "--health-start-period", "1h",
                                           "--health-start-interval", "200ms", "--health-retries", "1", *SLEEP)
                wait_until(lambda name=bad: self.health(name)["Status"] == "unhealthy", 60, "unhealthy")
                self.assertGreaterEqual(self.health(bad)["FailingStreak"], 2)
                wait_until(lambda name=late: self.health(name)["Status"] == "unhealthy", 60, "unhealthy by its timeout")
                self.assertIn("300ms", self.health(late)["Log"][-1]["Output"])
                wait_until(lambda name=starting: len(self.health(name)["Log"]) >= 3, 60, "three checks of a start")
                self.assertEqual(self.health(starting)["Status"], "starting")
                for name in (good, bad, late, starting):
                    run("docker", "rm", "-f", name)

    def test_no_healthcheck(self):
        made = self.background("docker", "--name", "checked", *SLEEP)
        run("docker", "commit", "-c", "HEALTHCHECK CMD true", made, "cli-checked")
        self.addCleanup(run, "docker", "rmi", "-f", "cli-checked")
        for client in CLIENTS:
            name = self.background(client, "cli-checked", "sleep", "600")
            self.assertIn("Health", look(name)["State"])
            name = self.background(client, "--no-healthcheck", "cli-checked", "sleep", "600")
            self.assertNotIn("Health", look(name)["State"])
        remove_all()

    def test_restart(self):
        for client in CLIENTS:
            name = self.background(client, "--restart", "on-failure:2", "busybox", "sh", "-c", "echo once; exit 3")
            wait_until(lambda name=name: look(name)["State"]["Status"] == "exited", 60, "the last attempt's end")
            self.assertEqual((look(name)["RestartCount"], run("docker", "logs", name)), (2, "once\n" * 3))
            name = self.background(client, *SLEEP)
            run(client, "update", "--restart", "always", name)
            before = look(name)["State"]["Pid"]
            os.kill(before, 9)
            wait_until(lambda name=name, before=before: look(name)["State"]["Pid"] not in (0, before), 60, "started again")
            run("docker", "rm", "-f", name)

    def test_rm(self):
        for client in CLIENTS:
            name = self.background(client, "--rm", "-v", "/anonymous", *SLEEP)
            volume = look(name)["Mounts"][0]["Name"]
            run(client, "kill", name)
            wait_until(lambda name=name: subprocess.run(["docker", "inspect", name], capture_output=True, check=False).returncode != 0,
                       60, "removed")
            wait_until(lambda volume=volume: volume not in run("docker", "volume", "ls", "-q"), 60, "its volume removed")

    def test_stop(self):
        script = "trap 'exit 5' INT; trap 'sleep 20; exit 6' TERM; echo ready; while :; do sleep 0.1; done"
        for client in CLIENTS:
            for options, wanted in ((("--stop-signal", "SIGINT", "--stop-timeout", "60"), 5), (("--stop-timeout", "0"), 137)):
                name = self.background(client, *options, "busybox", "sh", "-c", script)
                wait_until(lambda name=name: "ready" in run("docker", "logs", name), 60, "ready")
                run(client, "stop", name)
                self.assertEqual(look(name)["State"]["ExitCode"], wanted)

    def test_terminal(self):
        """A terminal, and the keys that leave it, of run and of exec."""
        for client in CLIENTS:
            with self.subTest(client=client):
                name = f"terminal-{client}"
                terminal = Terminal(client, "run", "-it", "--name", name, "--detach-keys", "ctrl-x,x", "busybox", "sh", "-c",
                                    "tty; echo ready; exec cat")
                terminal.expect("/dev/pts/")
                terminal.expect("ready")
                terminal.type("\x18x")
                self.assertEqual(terminal.status(), 0)
                self.assertTrue(look(name)["State"]["Running"])
                terminal = Terminal(client, "exec", "-it", "--detach-keys", "ctrl-y,y", name, "sh", "-c", "tty; echo ready; exec cat")
                terminal.expect("/dev/pts/")
                terminal.expect("ready")
                terminal.type("\x19y")
                terminal.status()
                self.assertIn("cat", run("docker", "top", name))

    def test_signals(self):
        script = "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
        for client in CLIENTS:
            for option, wanted in (("--sig-proxy", 9), ("--sig-proxy=false", None)):
                with self.subTest(client=client, option=option):
                    with subprocess.Popen([client, "run", option, "--name", "signalled", "busybox", "sh", "-c", script],
                                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
                        self.assertEqual(child.stdout.readline(), b"ready\n")
                        child.terminate()
                        status = child.wait(60)
                    if wanted is not None:
                        self.assertEqual(status, wanted)
                    self.assertEqual(look("signalled")["State"]["Running"], wanted is None)
                    run("docker", "rm", "-f", "signalled")

    def test_volume_driver(self):
        for client in CLIENTS:
            run(client, "run", "--rm", "--volume-driver", "local", "-v", "driven:/v", "busybox", "true")
            self.assertEqual(json.loads(run("docker", "volume", "inspect", "driven"))[0]["Driver"], "local")
            run("docker", "volume", "rm", "driven")
            done = subprocess.run([client, "run", "--pull", "never", "--volume-driver", "nosuch", "-v", "driven:/v", "busybox", "true"], capture_output=True,
                                  timeout=60, check=False)
            self.assertEqual(done.returncode, 125)
            self.assertIn(b"nosuch", done.stderr)

    # --- exec ----------------------------------------------------------------------------------------------------------

    def test_exec(self):
        with tempfile.NamedTemporaryFile("w", suffix=".env") as file:
            file.write("FROM_FILE=yes\n")
            file.flush()
            for client in CLIENTS:
                name = self.background(client, *SLEEP)
                text = run(client, "exec", "-e", "A=1", "--env-file", file.name, "-u", "daemon", "-w", "/tmp", name, "sh", "-c",
                           "echo $A $FROM_FILE $(id -un) $PWD; test -t 1 || echo no terminal")
                self.assertEqual(text, "1 yes daemon /tmp\nno terminal\n")
                self.assertEqual(run(client, "exec", "-i", name, "cat", data=b"typed\n"), "typed\n")
                self.assertEqual(run(client, "exec", name, "cat", data=b"typed\n"), "")
                self.assertEqual(run(client, "exec", "-t", name, "sh", "-c", "test -t 1 && echo terminal"), "terminal\r\n")
                plain, full = (run(client, "exec", *options, name, "grep", "CapEff", "/proc/self/status") for options in ((), ("--privileged",)))
                self.assertGreater(int(full.split()[1], 16), int(plain.split()[1], 16))
                self.assertEqual(run(client, "exec", "-d", name, "touch", "/detached"), "")
                wait_until(lambda name=name: subprocess.run(["docker", "exec", name, "ls", "/detached"], capture_output=True,
                                                            check=False).returncode == 0, 60, "the file")

    # --- lists and answers ---------------------------------------------------------------------------------------------

    def test_ps(self):
        first = self.background("docker", "--name", "first", "--label", "kind=a", *SLEEP)
        run("docker", "run", "--name", "second", "--label", "kind=b", "busybox", "sh", "-c", "head -c 20000 /dev/zero >/file")
        for client in CLIENTS:
            def names(*options, client=client):
                return run(client, "ps", "--format", "{{.Names}}", *options).split()
            self.assertEqual(names(), ["first"])
            self.assertEqual(names("-a"), ["second", "first"])
            self.assertEqual(names("-n", "1"), ["second"])
            self.assertEqual(names("-l"), ["second"])
            self.assertEqual(names("-a", "-f", "label=kind=a"), ["first"])
            self.assertEqual(names("-a", "-f", "status=exited"), ["second"])
            self.assertEqual(run(client, "ps", "-q").split(), [first[:12]])
            self.assertEqual(run(client, "ps", "-q", "--no-trunc").split(), [first])
            self.assertRegex(run(client, "ps", "-a", "-s", "-f", "name=second", "--format", "{{.Size}}"), r"^20kB \(virtual ")

    def test_logs(self):
        name = self.background("docker", "--label", "kind=a", "--log-opt", "labels=kind", "busybox", "sh", "-c",
                               "echo one; echo two; read line; echo three")
        run("docker", "wait", name)
        time.sleep(2)  # docker's client rounds half a second ago down to a second
        late = self.background("docker", "-i", "busybox", "sh", "-c", "echo begin; while ! test -e /go; do sleep 0.1; done; echo end")
        for client in CLIENTS:
            self.assertEqual(run(client, "logs", name), "one\ntwo\nthree\n")
            self.assertEqual(run(client, "logs", "-n", "1", name), "three\n")
            self.assertEqual(run(client, "logs", "--details", "--tail", "1", name), "kind=a three\n")
            stamped = run(client, "logs", "-t", name).splitlines()
            self.assertRegex(stamped[1], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z two$")
            second = stamped[1].split()[0]
            self.assertEqual(run(client, "logs", "--since", second, name), "two\nthree\n")
            self.assertEqual(run(client, "logs", "--until", stamped[0].split()[0], name), "one\n")
            self.assertEqual(run(client, "logs", "--since", "0.5s", name), "")
        followers = [subprocess.Popen([client, "logs", "-f", late], stdout=subprocess.PIPE) for client in CLIENTS]
        for follower in followers:
            self.assertEqual(follower.stdout.readline(), b"begin\n")
        run("docker", "exec", late, "touch", "/go")
        for follower in followers:
            self.assertEqual(follower.communicate(timeout=60)[0], b"end\n")

    def test_inspect(self):
        run("docker", "run", "--name", "busybox-like", "busybox", "sh", "-c", "head -c 20000 /dev/zero >/file")
        for client in CLIENTS:
            self.assertEqual(run(client, "inspect", "-f", "{{.State.Status}} {{.Name}}", "busybox-like"), "exited /busybox-like\n")
            self.assertNotIn("SizeRw", json.loads(run(client, "inspect", "busybox-like"))[0])
            self.assertEqual(json.loads(run(client, "inspect", "-s", "busybox-like"))[0]["SizeRw"], 20000)
            self.assertIn("RootFS", json.loads(run(client, "inspect", "--type", "image", "busybox"))[0])
            run(client, "inspect", "--type", "container", "busybox", status=1)

    def test_cp(self):
        name = self.background("docker", "-u", "33:33", *SLEEP)
        for client in CLIENTS:
            with tempfile.TemporaryDirectory() as directory:
                with open(f"{directory}/file", "w", encoding="ascii") as file:
                    file.write("content\n")
                os.chown(f"{directory}/file", 1234, 1234)
                os.symlink("file", f"{directory}/link")
                for options, source, wanted in (((), "file", "1234 regular file"), (("-a",), "file", "33 regular file"),
                                                ((), "link", "0 symbolic link"), (("-L",), "link", "1234 regular file")):
                    run(client, "cp", *options, f"{directory}/{source}", f"{name}:/target")
                    self.assertEqual(run("docker", "exec", name, "stat", "-c", "%u %F", "/target").strip(), wanted)
                    run("docker", "exec", "-u", "0", name, "rm", "/target")
                terminal = Terminal(client, "cp", "-q", f"{directory}/file", f"{name}:/quiet")
                self.assertEqual((terminal.status(), terminal.seen), (0, b""))
                self.assertEqual(run("docker", "exec", name, "cat", "/quiet"), "content\n")
                run("docker", "exec", "-u", "0", name, "rm", "/quiet")

    def test_stats(self):
        name = self.background("docker", "--name", "measured", *SLEEP)
        run("docker", "create", "--name", "created", "busybox")
        for client in CLIENTS:
            def names(*options, client=client):
                return run(client, "stats", "--no-stream", "--format", "{{.Name}} {{.ID}}", *options).splitlines()
            self.assertEqual(names(), [f"measured {name[:12]}"])
            self.assertEqual(sorted(line.split()[0] for line in names("-a")), ["created", "measured"])
            self.assertEqual(names("--no-trunc"), [f"measured {name}"])
            self.assertIn("CPU %", run(client, "stats", "--no-stream"))

    def test_events(self):
        since = f"{time.time():.9f}"
        run("docker", "run", "--name", "happened", "busybox", "true")
        run("docker", "rm", "happened")
        between = f"{time.time():.9f}"
        run("docker", "run", "--name", "later", "busybox", "true")
        until = f"{time.time():.9f}"
        for client in CLIENTS:
            def events(*options, client=client):
                text = run(client, "events", "--format", "{{.Action}} {{.Actor.Attributes.name}}", *options)
                return [line for line in text.splitlines() if line.split()[0] in ("create", "start", "die", "destroy")]
            life = ["create happened", "start happened", "die happened", "destroy happened"]
            only = ("-f", "type=container")
            self.assertEqual(events("--since", since, "--until", between, *only), life)
            self.assertEqual(events("--since", between, "--until", until, *only), ["create later", "start later", "die later"])
            self.assertEqual(events("--since", since, "--until", until, *only, "-f", "event=die"), ["die happened", "die later"])
            self.assertEqual(events("--since", since, "--until", until, "-f", "container=happened"), life)


if __name__ == "__main__":
    unittest.main()
