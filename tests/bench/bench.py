#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Berth beside Docker and Podman on one host. Every row does the same with each engine in turn, again and again, and
shows the medians; the last column is Docker's divided by Berth's. Runs as root in a test host.

usage: bench.py [ROW...]    rows: run crun start calls load cp exec many memory logs files pull push save commit
                           layers images activation disk parallel stats health build stages context compile
                           network latency
BENCH_N      rounds of a quick row (15)
BENCH_SLOW   rounds of a slow one (3)
BENCH_MANY   containers in the row of many (50)
BENCH_LINES  lines of the burst (200000)
BENCH_FILES  files of the context in the row context (50000)
BENCH_NETWORK, BENCH_SECONDS  rounds of the rows network and latency, and how long each lasts (5, 1)
BENCH_AT_ONCE, BENCH_WATCHED, BENCH_CHECKED  containers in the rows parallel, stats and health (30, 20, 100)"""
import functools
import glob
import json
import os
import statistics
import subprocess
import sys
import time

import bench_build
import bench_images
import bench_network
import bench_parallel

N = int(os.environ.get("BENCH_N", 15))
SLOW = int(os.environ.get("BENCH_SLOW", 3))
MANY = int(os.environ.get("BENCH_MANY", 50))
LINES = int(os.environ.get("BENCH_LINES", 200000))
DOCKER_SOCKET = "unix:///run/dockerd.sock"
NULL = os.open("/dev/null", os.O_RDWR)
LOG = os.open("/tmp/bench.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)


class Engine:
    def __init__(self, name, monitor, daemons, **options):
        self.name = name
        self.monitor = monitor  # the process beside each container
        self.daemons = daemons
        self.options = options  # by command

    def argv(self, arguments):
        command, *rest = arguments
        return [self.name, command, *self.options.get(command, []), *rest]

    def time(self, *arguments):
        """Milliseconds that a command takes; it must succeed."""
        argv = self.argv(arguments)
        actions = [(os.POSIX_SPAWN_DUP2, NULL, 0), (os.POSIX_SPAWN_DUP2, NULL, 1), (os.POSIX_SPAWN_DUP2, LOG, 2)]
        start = time.monotonic()
        pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        taken = time.monotonic() - start
        if status != 0:
            with open("/tmp/bench.log", encoding="utf-8", errors="replace") as log:
                sys.exit(f"{argv}: exit status {status}\n{log.read()[-2000:]}")
        return taken * 1000

    def output(self, *arguments):
        return subprocess.run(self.argv(arguments), check=True, capture_output=True, stdin=NULL).stdout.decode()

    def remove_all(self):
        names = self.output("ps", "-aq").split()
        if names:
            self.time("rm", "-f", *names)


BERTH = Engine("berth", "berth-monitor", ["berthd", "berth-monitor"])
DOCKER = Engine("docker", "containerd-shim", ["dockerd", "containerd", "containerd-shim"])
# The host has no pids controller, and limits cannot be raised in it; and where the others kill, "podman rm -f" stops, for ten seconds.
PODMAN = Engine("podman", "conmon", ["podman", "conmon"], run=["--pids-limit=0"], rm=["--time=0"],
                build=["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"])
ENGINES = [DOCKER, PODMAN, BERTH]


def processes(names):
    found = []
    for path in glob.glob("/proc/[0-9]*"):
        try:
            with open(path + "/comm", encoding="ascii", errors="replace") as comm:
                # The kernel keeps 15 characters of a name.
                if comm.read().strip() in [name[:15] for name in names]:
                    found.append(path)
        except OSError:
            pass
    return found


def sum_kib(paths, file, field):
    total = 0
    for path in paths:
        try:
            with open(f"{path}/{file}", encoding="ascii") as lines:
                total += sum(int(line.split()[1]) for line in lines if line.startswith(field + ":"))
        except OSError:
            pass
    return total


def show(what, unit, values, ratio=True, more_is_better=False):
    cells = "".join(f"{'-' if values.get(engine) is None else f'{values[engine]:.{digits(values[engine])}f}':>10}" for engine in ENGINES)
    docker, berth = values.get(DOCKER), values.get(BERTH)
    if more_is_better:
        docker, berth = berth, docker
    quotient = f"{docker / berth:9.{1 if unit == 'ms' else 2}f}x" if ratio and docker and berth else f"{'-':>10}"
    print(f"{what:<46}{unit:>6}{cells}{quotient}", flush=True)


def digits(value):
    return 0 if value == int(value) or value >= 100 else 1 if value >= 10 else 2


# Before each measurement: what an engine still does behind the back of its client is not the next one's time.
SETTLE = 0.5


def alternate(rounds, measure, engines=None):
    """The medians of MEASURE for each engine."""
    values = {engine: [] for engine in engines or ENGINES}
    for _ in range(rounds):
        for engine, list_of_values in values.items():
            time.sleep(SETTLE)
            list_of_values.append(measure(engine))
    return {engine: statistics.median(list_of_values) for engine, list_of_values in values.items()}


def warm_up(measure):
    for engine in ENGINES:
        measure(engine)


def row_run():
    for network in ("bridge", "none", "host"):
        def measure(engine, network=network):
            return engine.time("run", "--rm", "--network", network, "busybox", "true")
        warm_up(measure)
        show(f"run --rm --network {network} busybox true", "ms", alternate(N, measure))

    def measure_first(engine):
        """Where nothing of the engine runs, nor is a scope ready. For dockerd, which always runs, as above."""
        if engine is BERTH:
            subprocess.run(["systemctl", "stop", "berth.service"], check=True, stderr=NULL)
            time.sleep(SETTLE)
        return engine.time("run", "--rm", "busybox", "true")
    show("the first after a rest, bridge", "ms", alternate(N, measure_first))


BUNDLE = "/var/lib/bench-bundle"


def prepare_bundle():
    """What crun needs for the same container, made beforehand: no image, no layer, no record."""
    os.makedirs(BUNDLE + "/rootfs", exist_ok=True)
    export = subprocess.run(["tar", "-xOf", "/root/busybox.tar", "manifest.json"], check=True, capture_output=True).stdout
    for layer in json.loads(export)[0]["Layers"]:
        archive = subprocess.run(["tar", "-xOf", "/root/busybox.tar", layer], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-xf", "-", "-C", BUNDLE + "/rootfs"], input=archive, check=True)
    if not os.path.exists(BUNDLE + "/config.json"):
        subprocess.run(["crun", "spec"], cwd=BUNDLE, check=True)
    with open(BUNDLE + "/config.json", encoding="utf-8") as file:
        config = json.load(file)
    config["process"].update(args=["true"], terminal=False)
    with open(BUNDLE + "/config.json", "w", encoding="utf-8") as file:
        json.dump(config, file)


def row_crun():
    prepare_bundle()
    berth, crun = [], []

    def run_crun():
        start = time.monotonic()
        subprocess.run(["crun", "--systemd-cgroup", "run", "--bundle", BUNDLE, "bench"], check=True, stdin=NULL,
                       stdout=subprocess.DEVNULL)
        return (time.monotonic() - start) * 1000
    for _ in range(N + 1):
        time.sleep(SETTLE)
        crun.append(run_crun())
        time.sleep(SETTLE)
        berth.append(BERTH.time("run", "--rm", "--network", "none", "busybox", "true"))
    ours, theirs = statistics.median(berth[1:]), statistics.median(crun[1:])
    print(f"crun alone under systemd, a prepared bundle: {theirs:.1f} ms; "
          f"berth run --rm --network none: {ours:.1f} ms, {ours / theirs:.2f} of it", flush=True)


def row_start():
    def measure(engine):
        taken = engine.time("run", "-d", "--name", "bench", "busybox", "sleep", "1000")
        engine.time("rm", "-f", "bench")
        return taken
    warm_up(measure)
    show("run -d busybox sleep", "ms", alternate(N, measure))


def row_calls():
    for call in ("version", "ps"):
        def measure(engine, call=call):
            return engine.time(call)
        warm_up(measure)
        show(f"client start and one call: {call}", "ms", alternate(N, measure))


def row_load():
    def measure(engine):
        engine.time("rmi", "-f", "debian:13", "debian:trixie")
        return engine.time("load", "-i", "/root/debian.tar")
    for engine in ENGINES:
        engine.time("load", "-i", "/root/debian.tar")
    size = os.stat("/root/debian.tar").st_size // 1000000
    show(f"load of a Debian archive of {size} MB", "ms", alternate(SLOW, measure))


def row_cp():
    size = 200
    with open("/root/big", "wb") as file:
        for _ in range(size):
            file.write(os.urandom(1 << 20))
    for engine in ENGINES:
        engine.time("run", "-d", "--name", "cp", "--network", "none", "busybox", "sleep", "1000")

    def copy_in(engine):
        return engine.time("cp", "/root/big", "cp:/big")

    def copy_out(engine):
        return engine.time("cp", "cp:/big", "/root/back")

    def copy_small(engine):
        return engine.time("cp", "/etc/passwd", "cp:/tmp/small")
    for what, measure, rounds in ((f"cp of {size} MiB into a container", copy_in, SLOW),
                                  (f"cp of {size} MiB out of it", copy_out, SLOW), ("cp of a small file into it", copy_small, N)):
        warm_up(measure)
        show(what, "ms", alternate(rounds, measure))
    os.unlink("/root/big")
    os.unlink("/root/back")


def row_exec():
    for engine in ENGINES:
        engine.time("run", "-d", "--name", "exec", "--network", "none", "busybox", "sleep", "1000")

    def measure(engine):
        return engine.time("exec", "exec", "true")
    warm_up(measure)
    show("exec true", "ms", alternate(N, measure))
    for engine in ENGINES:
        engine.time("rm", "-f", "exec")


def row_many():
    names = [f"many{i}" for i in range(MANY)]
    ups = {engine: [] for engine in ENGINES}

    def measure(engine):
        ups[engine].append(sum(engine.time("run", "-d", "--name", name, "busybox", "sleep", "1000") for name in names))
        return engine.time("rm", "-f", *names)
    downs = alternate(max(1, SLOW // 3), measure)
    show(f"{MANY} containers up, one after the other", "ms", {engine: statistics.median(ups[engine]) for engine in ENGINES})
    show(f"rm -f of {MANY} running containers", "ms", downs)


def row_memory():
    print("(waiting until the daemon that nobody uses has gone)", flush=True)
    end = time.monotonic() + 30
    while processes(["berthd"]) and time.monotonic() < end:
        time.sleep(0.5)
    idle = {engine: processes(engine.daemons) for engine in ENGINES}
    show("idle, nobody connected: processes", "", {engine: len(idle[engine]) for engine in ENGINES}, ratio=False)
    show("idle, nobody connected: RSS", "MB", {engine: sum_kib(idle[engine], "status", "VmRSS") / 1000 for engine in ENGINES}, ratio=False)
    count = 10
    pss, rss = {}, {}
    for engine in ENGINES:
        for _ in range(count):
            engine.time("run", "-d", "busybox", "sleep", "1000")
        time.sleep(1)
        paths = processes([engine.monitor])
        pss[engine] = sum_kib(paths, "smaps_rollup", "Pss") / len(paths) if paths else None
        rss[engine] = sum_kib(paths, "status", "VmRSS") / len(paths) if paths else None
        engine.remove_all()
    show(f"beside each of {count} containers: PSS", "KiB", pss)
    show(f"beside each of {count} containers: RSS", "KiB", rss)


def row_logs():
    """The program's run, and from its start until the journal has all lines that it will get."""
    kept, stored = ({engine: [] for engine in ENGINES} for _ in range(2))

    def count(name):
        lines = subprocess.run(["journalctl", f"CONTAINER_NAME={name}", "-o", "cat"], check=True, capture_output=True).stdout
        # Podman adds entries of its own to the container's.
        return sum(line.isdigit() for line in lines.splitlines())

    def measure(engine):
        name = f"burst-{engine.name}-{len(kept[engine])}"
        driver = ["--log-driver", "journald", "--name", name]
        start = time.monotonic()
        engine.time("run", "-d", *driver, "busybox", "seq", str(LINES))
        engine.time("wait", name)
        taken = time.monotonic() - start
        # Docker's and Podman's have reached journald by now. "logs" of Berth waits for the rest.
        if engine is BERTH:
            engine.time("logs", "--tail", "1", name)
        subprocess.run(["journalctl", "--sync"], check=True)
        stored[engine].append((time.monotonic() - start) * 1000)
        kept[engine].append(count(name))
        engine.time("rm", "-f", name)
        return taken * 1000
    taken = alternate(SLOW, measure)
    show(f"burst of {LINES} lines: the program runs", "ms", taken)
    show("until all that is kept is in the journal", "ms", {engine: statistics.median(stored[engine]) for engine in ENGINES})
    show("of these lines kept, at the least", "", {engine: min(kept[engine]) for engine in ENGINES}, ratio=False)


FILE_DRIVERS = {DOCKER: "json-file", PODMAN: "k8s-file", BERTH: "json-file"}


def row_files():
    """The same into a file, which the engine's own reader reads back."""
    kept, read = ({engine: [] for engine in ENGINES} for _ in range(2))

    def measure(engine):
        name = f"file-{engine.name}-{len(kept[engine])}"
        start = time.monotonic()
        engine.time("run", "-d", "--log-driver", FILE_DRIVERS[engine], "--name", name, "busybox", "seq", str(LINES))
        engine.time("wait", name)
        taken = time.monotonic() - start
        start = time.monotonic()
        kept[engine].append(sum(line.isdigit() for line in engine.output("logs", name).splitlines()))
        read[engine].append((time.monotonic() - start) * 1000)
        engine.time("rm", "-f", name)
        return taken * 1000
    taken = alternate(SLOW, measure)
    show(f"burst of {LINES} lines into a file: the program runs", "ms", taken)
    show("reading them by logs", "ms", {engine: statistics.median(read[engine]) for engine in ENGINES})
    show("of these lines kept, at the least", "", {engine: min(kept[engine]) for engine in ENGINES}, ratio=False)


ROWS = {"run": row_run, "crun": row_crun, "start": row_start, "calls": row_calls, "load": row_load, "cp": row_cp, "exec": row_exec,
        "many": row_many, "memory": row_memory, "logs": row_logs, "files": row_files}
ROWS |= {name: functools.partial(row, sys.modules[__name__]) for name, row in
         (bench_images.ROWS | bench_parallel.ROWS | bench_build.ROWS | bench_network.ROWS).items()}


def start_docker():
    daemon = subprocess.Popen(["dockerd", "-H", DOCKER_SOCKET], stdin=NULL, stdout=LOG, stderr=LOG)
    os.environ["DOCKER_HOST"] = DOCKER_SOCKET
    end = time.monotonic() + 60
    while subprocess.run(["docker", "version"], capture_output=True, check=False).returncode != 0:
        if daemon.poll() is not None or time.monotonic() > end:
            with open("/tmp/bench.log", encoding="utf-8", errors="replace") as log:
                sys.exit(f"dockerd does not start\n{log.read()[-2000:]}")
        time.sleep(0.2)
    return daemon


def main():
    wanted = sys.argv[1:] or list(ROWS)
    if unknown := [row for row in wanted if row not in ROWS]:
        sys.exit(f"no such row: {unknown}, there are {list(ROWS)}")
    # berth looks at BERTH_HOST first, then at the variable that is docker's here.
    os.environ["BERTH_HOST"] = "unix:///run/berth.sock"
    daemon = start_docker()
    try:
        for engine in ENGINES:
            engine.time("load", "-i", "/root/busybox.tar")
        print(f"{'':<46}{'':>6}" + "".join(f"{engine.name:>10}" for engine in ENGINES) + f"{'ratio':>10}", flush=True)
        for row in wanted:
            ROWS[row]()
            for engine in ENGINES:
                engine.remove_all()
    finally:
        daemon.terminate()
        daemon.wait(30)


if __name__ == "__main__":
    main()
