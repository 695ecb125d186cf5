#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logs in files: what is in them, that they rotate, and that docker logs reads all of it, berthd killed or not."""
import gzip
import json
import os
import subprocess
import time
import unittest

import hosted
from hosted import run
from test_faults import daemon_kill, kill
from test_spool import identify, journald_stopped, monitors, new_name

FILES = ("--network", "none", "--log-driver", "json-file")


def local_path(name):
    """The API does not tell it: these files are the engine's own business."""
    return f"{hosted.CONTAINERS}/{identify(name)}/local-logs/container.log"


def logs_of(path):
    """The names of a log's files."""
    return sorted(name for name in os.listdir(os.path.dirname(path)) if name.startswith(os.path.basename(path)))


def parse_local(data):
    """Records as dockerd frames them: the length, the protocol buffer's fields by number, the length again."""
    records = []
    while data:
        size = int.from_bytes(data[:4], "big")
        body, fields = data[4:4 + size], {}
        assert data[4 + size:8 + size] == data[:4], data[:40]
        data = data[8 + size:]
        while body:
            key, body = varint(body)
            fields[key >> 3], body = varint(body)
            if key & 7 == 2:
                fields[key >> 3], body = body[:fields[key >> 3]], body[fields[key >> 3]:]
        records.append(fields)
    return records


def varint(data):
    value = 0
    for place, byte in enumerate(data):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, data[place + 1:]
    raise ValueError(data)


def log_path(name):
    return run("docker", "inspect", "--format", "{{.LogPath}}", name).strip()


class LogDrivers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        hosted.load_images()

    def setUp(self):
        hosted.remove_all()

    def tearDown(self):
        hosted.remove_all()

    def test_lines_and_pieces(self):
        run("docker", "run", "--name", "lines", *FILES, "busybox", "sh", "-c",
            "head -c 40000 /dev/zero | tr '\\0' x; echo; printf part")
        path = log_path("lines")
        with open(path, encoding="utf-8") as lines:
            records = [json.loads(line) for line in lines]
        self.assertEqual([len(record["log"]) for record in records], [16384, 16384, 7233, 4])
        self.assertEqual({record["stream"] for record in records}, {"stdout"})
        self.assertEqual(run("docker", "logs", "lines"), "x" * 40000 + "\npart")
        run("docker", "rm", "lines")
        self.assertFalse(os.path.exists(path))

    def test_rotation(self):
        run("docker", "run", "--name", "turn", *FILES, "--log-opt", "max-size=10k", "--log-opt", "max-file=3", "busybox", "seq", "1000")
        directory = os.path.dirname(log_path("turn"))
        self.assertEqual(len([name for name in os.listdir(directory) if "-json.log" in name]), 3)
        self.assertEqual(run("docker", "logs", "turn").split(), [str(i) for i in range(682, 1001)])
        self.assertEqual(run("docker", "logs", "--tail", "200", "turn").split(), [str(i) for i in range(801, 1001)])

    def test_follower_outlives_the_daemon(self):
        run("docker", "run", "-d", "--name", "slow", *FILES, "busybox", "sh", "-c", "for i in 1 2 3 4; do echo $i; sleep 1; done")
        with subprocess.Popen(["docker", "logs", "-f", "slow"], stdout=subprocess.PIPE) as follower:
            time.sleep(1)
            daemon_kill()
            self.assertEqual(follower.communicate(timeout=30)[0], b"1\n2\n3\n4\n")

    def test_attributes(self):
        """Labels, variables and the tag: in files as dockerd writes them, in the journal as fields."""
        options = ("--network", "none", "--label", "who=a b", "--label", "x.y=1", "--label", "other=no", "-e", "ENV1=v/1", "-e", "ENV2=no",
                   "--log-opt", "labels=who", "--log-opt", "labels-regex=^x", "--log-opt", "env=ENV1", "--log-opt", "tag={{.Name}}/{{ .ImageName }}")
        run("docker", "run", "--name", "marked", "--log-driver", "json-file", *options, "busybox", "echo", "text")
        with open(log_path("marked"), encoding="utf-8") as lines:
            record = json.loads(lines.readline())
        self.assertEqual(record["attrs"], {"who": "a b", "x.y": "1", "ENV1": "v/1", "tag": "marked/busybox"})
        self.assertEqual(run("docker", "logs", "--details", "marked"), "ENV1=v%2F1,tag=marked%2Fbusybox,who=a+b,x.y=1 text\n")
        run("docker", "run", "--name", "listed", *options, "busybox", "echo", "text")
        entry = json.loads(run("journalctl", "CONTAINER_NAME=listed", "-o", "json", "-n", "1"))
        self.assertEqual([entry.get(key) for key in ("WHO", "X_Y", "ENV1", "CONTAINER_TAG", "SYSLOG_IDENTIFIER", "OTHER", "ENV2")],
                         ["a b", "1", "v/1", "listed/busybox", "listed/busybox", None, None])
        self.assertEqual(run("docker", "logs", "listed"), "text\n")

    def test_without_effect(self):
        """Taken, as files of Compose have it, with a word about it."""
        for driver in ("json-file", "local"):
            made = subprocess.run(["docker", "create", "--log-driver", driver, "--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=4m",
                                   "busybox", "true"], capture_output=True, check=True)
            self.assertIn(b"no effect", made.stderr)

    def test_local(self):
        """What dockerd would find there, and that all readers agree."""
        script = "echo out; echo err >&2; head -c 40000 /dev/zero | tr '\\0' x; echo; printf part"
        run("docker", "run", "--name", "own", "--network", "none", "--log-driver", "local", "busybox", "sh", "-c", script)
        with open(local_path("own"), "rb") as file:
            records = parse_local(file.read())
        found = [(fields[1], len(fields[3]), fields.get(4), (fields.get(5) or b"")[-2:]) for fields in records]
        # The order is each stream's own.
        self.assertEqual([record for record in found if record[0] == b"stderr"], [(b"stderr", 3, None, b"")])
        self.assertEqual([record[1:] for record in found if record[0] == b"stdout"],
                         [(3, None, b""), (16384, 1, b"\x18\x01"), (16384, 1, b"\x18\x02"), (7232, 1, b"\x18\x03"), (4, 1, b"\x18\x01")])
        pieces = [fields[5] for fields in records if 5 in fields][:3]
        self.assertEqual(len({piece[-68:-4] for piece in pieces}), 1, "one line, one identifier")
        for client in ("docker", "berth"):
            answer = subprocess.run([client, "logs", "own"], capture_output=True, check=True)
            self.assertEqual((answer.stdout.decode(), answer.stderr), ("out\n" + "x" * 40000 + "\npart", b"err\n"))
            self.assertEqual(run(client, "logs", "--tail", "1", "own"), "part")
        self.assertEqual(json.loads(run("docker", "inspect", "own"))[0]["LogPath"], "")
        self.assertEqual(json.loads(run("docker", "inspect", "own"))[0]["HostConfig"]["LogConfig"], {"Type": "local", "Config": {}})
        self.assertIn("local", json.loads(run("docker", "info", "-f", "json"))["Plugins"]["Log"])

    def rotate(self, name, driver, count, *more):
        """Runs a container whose log has many files, and goes on until all but the newest are compressed."""
        script = f"seq {count}; until [ -e /done ]; do sleep 0.1; done"
        run("docker", "run", "-d", "--name", name, "--network", "none", "--log-driver", driver, *more, "busybox", "sh", "-c", script)
        return local_path(name) if driver == "local" else log_path(name)

    def test_compressed(self):
        for driver, options in (("json-file", ("max-size=100k", "max-file=4", "compress=true")), ("local", ("max-size=100k", "max-file=4"))):
            with self.subTest(driver):
                words = [word for option in options for word in ("--log-opt", option)]
                path = self.rotate(driver, driver, 30000, *words)
                base = os.path.basename(path)
                wanted = [base] + [f"{base}.{number}.gz" for number in (1, 2, 3)]
                hosted.wait_until(lambda path=path, wanted=wanted: logs_of(path) == wanted, 30, "all older files compressed", 0.1)
                for number in (1, 2, 3):
                    with gzip.open(f"{path}.{number}.gz") as file:
                        self.assertGreater(len(file.read()), 90000)
                lines = run("docker", "logs", driver).split()
                first = int(lines[0])
                self.assertLess(first, 29000)
                self.assertEqual(lines, [str(number) for number in range(first, 30001)])
                for client in ("docker", "berth"):
                    for tail in (1, 100, 5000):
                        self.assertEqual(run(client, "logs", "--tail", str(tail), driver).split(), lines[-tail:])
                run("docker", "exec", driver, "touch", "/done")
                self.assertEqual(run("docker", "wait", driver).strip(), "0")

    def test_followed_while_files_turn(self):
        for driver in ("json-file", "local"):
            with self.subTest(driver):
                script = "i=0; while [ $i -lt 40 ]; do seq $((i * 500 + 1)) $((i * 500 + 500)); i=$((i + 1)); sleep 0.05; done"
                run("docker", "run", "-d", "--name", driver, "--network", "none", "--log-driver", driver, "--log-opt", "max-size=200k",
                    "--log-opt", "max-file=20", "--log-opt", "compress=true", "busybox", "sh", "-c", script)
                followed = run("docker", "logs", "-f", driver).split()
                self.assertEqual(followed, [str(number) for number in range(1, 20001)])
                self.assertEqual(run("berth", "logs", driver).split(), followed)

    def test_times(self):
        """--since and --until over files, of which most need not be read."""
        for driver in ("json-file", "local"):
            with self.subTest(driver):
                script = "for i in 1 2 3; do seq ${i}0001 ${i}9999; sleep 1.2; done"
                run("docker", "run", "--name", driver, "--network", "none", "--log-driver", driver, "--log-opt", "max-size=100k",
                    "--log-opt", "max-file=90", "--log-opt", "compress=true", "busybox", "sh", "-c", script)
                lines = [line.split() for line in run("docker", "logs", "-t", driver).splitlines()]
                self.assertEqual(len(lines), 3 * 9999)
                times = dict((text, stamp) for stamp, text in lines)
                since, until = times["20001"], times["29999"]
                middle = [text for stamp, text in lines if since <= stamp <= until]
                self.assertIn("25000", middle)
                self.assertEqual(run("docker", "logs", "--since", since, "--until", until, driver).split(), middle)
                self.assertEqual(run("docker", "logs", "--since", since, "--until", until, "--tail", "10", driver).split(), middle[-10:])
                self.assertEqual(run("docker", "logs", "--since", times["30001"], driver).split()[0], "30001")

    def test_monitor_killed_while_it_compresses(self):
        """No line that was taken is lost, whatever the kill leaves; the next run tidies up."""
        for driver in ("json-file", "local"):
            with self.subTest(driver):
                options = ("--log-opt", "max-size=300k", "--log-opt", "max-file=50", "--log-opt", "compress=true")
                run("docker", "run", "-d", "--name", driver, "--network", "none", "--log-driver", driver, *options, "busybox", "sh", "-c",
                    "[ ! -e /again ] || exec sleep 1000; touch /again; seq 1 100000000")
                path = local_path(driver) if driver == "local" else log_path(driver)
                hosted.wait_until(lambda path=path: len(logs_of(path)) > 8, 30, "files that turn", 0.02)
                for pid in monitors(identify(driver)):
                    kill(pid)
                hosted.wait_until(lambda driver=driver: not json.loads(run("docker", "inspect", driver))[0]["State"]["Running"], 30, "the end", 0.1)
                # What a compressing that was cut off leaves.
                with open(f"{path}.gz.next", "wb") as file:
                    file.write(b"\x1f\x8b\x08 rubbish")
                lines = run("docker", "logs", driver).split()
                first = int(lines[0])
                self.assertEqual(lines, [str(number) for number in range(first, first + len(lines))])
                # Both of one file, as where the power went between the two steps.
                plain = next((name for name in logs_of(path) if name[-1].isdigit()), None)
                if plain:
                    with gzip.open(os.path.join(os.path.dirname(path), plain + ".gz"), "wb") as file:
                        file.write(b"half")
                    self.assertEqual(run("docker", "logs", driver).split(), lines)
                run("docker", "start", driver)
                hosted.wait_until(lambda path=path: not [name for name in logs_of(path) if name[-1].isdigit() or "next" in name], 300,
                                  "all older files compressed", 0.1)
                self.assertEqual(run("docker", "logs", driver).split(), lines)
                run("docker", "rm", "-f", driver)

    def test_non_blocking(self):
        """journald takes nothing: the program is not held up, and the log says how much is missing, and where."""
        name = new_name("drops")
        options = ("--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=200k")
        with journald_stopped():
            run("berth", "run", "--name", name, "--network", "none", *options, "--attach", "stderr", "busybox", "seq", "1", "100000", timeout=60)
        lines = run("docker", "logs", name).splitlines() + subprocess.run(["docker", "logs", name], capture_output=True, check=True).stderr.decode().splitlines()
        kept = [int(line) for line in lines if line.isdigit()]
        lost = [int(line.split()[-7]) for line in lines if "lines of output are lost here" in line]
        self.assertEqual(kept, sorted(set(kept)))
        self.assertGreater(sum(lost), 0, lines[-3:])
        self.assertEqual(len(kept) + sum(lost), 100000)

    def test_refusals_of_local(self):
        """In dockerd's words, which says most of them when the container starts."""
        for options, message in ((("tag=x",), "unknown log opt 'tag' for log driver local"), (("max-size=x",), "invalid value for max-size: x: invalid size: 'x'"),
                                 (("max-file=1",), "compression cannot be enabled when max file count is 1"),
                                 (("max-file=x",), 'invalid value for max-file: x: strconv.Atoi: parsing "x": invalid syntax'),
                                 (("compress=x",), 'error reading compress log option: strconv.ParseBool: parsing "x": invalid syntax')):
            with self.subTest(options):
                arguments = [word for option in options for word in ("--log-opt", option)]
                answer = subprocess.run(["docker", "create", "--log-driver", "local", *arguments, "busybox"], capture_output=True, check=False)
                self.assertIn(message, answer.stderr.decode())

    def test_one_file(self):
        """And none at all, which dockerd takes for one."""
        for files in ("0", "1"):
            run("docker", "run", "--name", f"files{files}", "--network", "none", "--log-driver", "local", "--log-opt", f"max-file={files}",
                "--log-opt", "compress=false", "--log-opt", "max-size=10k", "--log-opt", "cache-disabled=true", "busybox", "seq", "1000")
            self.assertEqual(logs_of(local_path(f"files{files}")), ["container.log"])
            self.assertEqual(run("docker", "logs", "--tail", "1", f"files{files}"), "1000\n")

    def test_refusals(self):
        for options, message in ((("x=y",), "unknown log opt 'x' for json-file log driver"),
                                 (("mode=foo",), "logger: logging mode not supported: foo"),
                                 (("max-buffer-size=1m",), "only supported with 'mode=non-blocking'"),
                                 (("mode=non-blocking", "max-buffer-size=z"), "error parsing option max-buffer-size: invalid size: 'z'"),
                                 (("compress=x",), 'strconv.ParseBool: parsing "x": invalid syntax'),
                                 (("compress=true",), "compress cannot be true when max-file is less than 2 or max-size is not set"),
                                 (("labels-regex=(",), "error parsing regexp"), (("tag={{.Foo}}",), "can't evaluate field Foo"),
                                 (("tag={{.Name",), "unclosed action"), (("max-size=x",), "invalid size: 'x'"),
                                 (("max-file=0",), "max-file cannot be less than 1")):
            with self.subTest(options):
                arguments = [word for option in options for word in ("--log-opt", option)]
                answer = subprocess.run(["docker", "create", *FILES, *arguments, "busybox"], capture_output=True, check=False)
                self.assertIn(message, answer.stderr.decode())


if __name__ == "__main__":
    unittest.main(verbosity=2)
