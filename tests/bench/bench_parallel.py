# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rows of bench.py about many containers at a time. Each function gets bench.py's names as BENCH. What work costs is
the processor time of the whole host, clients and containers included, as its control group counts it."""
import os
import statistics
import subprocess
import threading
import time

AT_ONCE = int(os.environ.get("BENCH_AT_ONCE", 30))
CHECKED = int(os.environ.get("BENCH_CHECKED", 100))
WATCHED = int(os.environ.get("BENCH_WATCHED", 20))
CHECK_INTERVAL = 5
WATCH_SECONDS = 10


def used_seconds():
    with open("/sys/fs/cgroup/cpu.stat", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("usage_usec ")) / 1e6


def share(seconds):
    """Per cent of one processor that the host uses from now on."""
    used, start = used_seconds(), time.monotonic()
    time.sleep(seconds)
    return 100 * (used_seconds() - used) / (time.monotonic() - start)


def run_containers(engine, prefix, count, *options):
    names = [f"{prefix}{i}" for i in range(count)]
    for name in names:
        engine.time("run", "-d", "--network", "none", "--name", name, *options, "busybox", "sleep", "1000")
    return names


def at_once(engine, commands):
    """Milliseconds that each of the commands takes, all begun together."""
    taken = [None] * len(commands)

    def one(i):
        taken[i] = engine.time(*commands[i])
    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(commands))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if None in taken:
        raise SystemExit(f"{engine.name}: {taken.count(None)} of {len(taken)} failed")
    return taken


def show_at_once(bench, what, measure):
    medians, slowest = {}, {}
    for engine in bench.ENGINES:
        time.sleep(bench.SETTLE)
        taken = measure(engine)
        medians[engine], slowest[engine] = statistics.median(taken), max(taken)
    bench.show(f"{AT_ONCE} {what} at once: the median", "ms", medians)
    bench.show(f"{AT_ONCE} {what} at once: the slowest", "ms", slowest)


def row_parallel(bench):
    names = [f"at-once{i}" for i in range(AT_ONCE)]

    def starts(engine):
        return at_once(engine, [["run", "-d", "--name", name, "busybox", "sleep", "1000"] for name in names])

    def execs(engine):
        return at_once(engine, [["exec", name, "true"] for name in names])

    def removals(engine):
        return at_once(engine, [["rm", "-f", name] for name in names])
    for what, measure in (("starts", starts), ("execs", execs), ("removals", removals)):
        show_at_once(bench, what, measure)


def row_stats(bench):
    """Once, and as a stream that is read for a while: in turn, as an engine works a little by itself now and then."""
    for engine in bench.ENGINES:
        run_containers(engine, "watched", WATCHED)

    def once(engine):
        return engine.time("stats", "--no-stream")

    def stream(engine):
        idle = share(WATCH_SECONDS)
        with subprocess.Popen(engine.argv(["stats"]), stdin=bench.NULL, stdout=bench.NULL, stderr=bench.LOG) as client:
            time.sleep(2)
            busy = share(WATCH_SECONDS)
            ended = client.poll()
            client.kill()
        if ended is not None:
            raise SystemExit(f"{engine.name} stats has ended with {ended}")
        return max(busy - idle, 0)
    bench.show(f"stats --no-stream of {WATCHED} containers", "ms", bench.alternate(bench.SLOW, once))
    bench.show(f"stats of {WATCHED} containers: of one processor", "%", bench.alternate(bench.SLOW, stream))


def row_health(bench):
    """Podman's checks are timers of systemd's, one a container."""
    values = {}
    for engine in bench.ENGINES:
        idle = share(CHECK_INTERVAL)
        names = run_containers(engine, "checked", CHECKED, "--health-cmd", "true", "--health-interval", f"{CHECK_INTERVAL}s")
        time.sleep(CHECK_INTERVAL)
        values[engine] = max(share(4 * CHECK_INTERVAL) - idle, 0)
        state = engine.output("inspect", "--format", "{{.State.Health.Status}}", names[-1]).strip()
        if state != "healthy":
            raise SystemExit(f"{engine.name}: the last of them is {state}")
        engine.time("rm", "-f", *names)
    bench.show(f"{CHECKED} checks every {CHECK_INTERVAL} s: of one processor", "%", values)


ROWS = {"parallel": row_parallel, "stats": row_stats, "health": row_health}
