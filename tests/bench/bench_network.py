# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rows of bench.py about what containers send: iperf3's throughput over one connection, and the time that half a round
trip takes by sockperf. Each function gets bench.py's names as BENCH. The programs are the host's, in busybox."""
import json
import os
import re
import subprocess

SECONDS = os.environ.get("BENCH_SECONDS", "1")
ROUNDS = int(os.environ.get("BENCH_NETWORK", 5))
NETWORK = "bench-network"
# Another host, beyond a link of this one.
BEYOND, OWN, THEIRS = "bench-beyond", "10.79.0.1", "10.79.0.2"
THROUGHPUT_PORT, LATENCY_PORT = 5201, 11111
PROGRAMS = [word for source, target in (("/usr", "/usr"), ("/usr/lib", "/lib"), ("/usr/lib64", "/lib64")) if os.path.isdir(source)
            for word in ("-v", f"{source}:{target}:ro")]


def published(bench, engine, port):
    """Each engine has ports of its own on the host."""
    return port + 1 + bench.ENGINES.index(engine)


def throughput(output):
    return json.loads(output)["end"]["sum_received"]["bits_per_second"] / 1e9


def latency(output):
    return float(re.search(r"percentile 50\.000 =\s+([0-9.]+)", output).group(1))


def ask_throughput(address, port):
    return ["iperf3", "-J", "-t", SECONDS, "-c", address, "-p", str(port)]


def ask_latency(address, port):
    return ["sockperf", "ping-pong", "--tcp", "-t", SECONDS, "-i", address, "-p", str(port)]


# What asks, what finds the figure in its answer, the server's port, the unit, whether more is better.
KINDS = {"network": (ask_throughput, throughput, THROUGHPUT_PORT, "Gbit/s", True),
         "latency": (ask_latency, latency, LATENCY_PORT, "us", False)}


def start(bench, engine):
    """The servers in one container, and another beside it that asks."""
    ports = [word for port in (THROUGHPUT_PORT, LATENCY_PORT) for word in ("-p", f"{published(bench, engine, port)}:{port}")]
    servers = f"iperf3 -s >/dev/null & exec sockperf server --tcp -p {LATENCY_PORT} >/dev/null"
    engine.time("network", "create", NETWORK)
    engine.time("run", "-d", "--name", "server", "--network", NETWORK, *ports, *PROGRAMS, "busybox", "sh", "-c", servers)
    engine.time("run", "-d", "--name", "asker", "--network", NETWORK, *PROGRAMS, "busybox", "sleep", "100000")


def address_of(engine):
    return engine.output("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "server").strip()


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def make_beyond():
    ip("netns", "add", BEYOND)
    ip("link", "add", BEYOND, "type", "veth", "peer", "name", "eth0", "netns", BEYOND)
    ip("address", "add", f"{OWN}/24", "dev", BEYOND)
    ip("link", "set", BEYOND, "up")
    ip("-n", BEYOND, "address", "add", f"{THEIRS}/24", "dev", "eth0")
    ip("-n", BEYOND, "link", "set", "eth0", "up")
    # Docker's rules drop what is for Podman's bridges.
    subprocess.run(["iptables", "-P", "FORWARD", "ACCEPT"], check=True)


def output_of(argv):
    result = subprocess.run(argv, check=False, capture_output=True, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        raise SystemExit(f"{argv}: {result.stdout.decode()[-1000:]} {result.stderr.decode()[-1000:]}")
    return result.stdout.decode()


def row(bench, kind):
    ask, read, port, unit, more = KINDS[kind]

    def inside(engine):
        return read(output_of([*engine.argv(["exec", "asker"]), *ask(address_of(engine), port)]))

    def outside(engine):
        return read(output_of(["ip", "netns", "exec", BEYOND, *ask(OWN, published(bench, engine, port))]))

    def host(engine):
        return read(output_of(ask(OWN, published(bench, engine, port))))

    def loopback(engine):
        return read(output_of(ask("127.0.0.1", published(bench, engine, port))))
    make_beyond()
    if not os.path.exists("/etc/resolv.conf"):  # without it Podman's name server does not start
        with open("/etc/resolv.conf", "w", encoding="ascii") as file:
            file.write("nameserver 192.0.2.53\n")
    for engine in bench.ENGINES:
        start(bench, engine)
    for what, measure in (("from container to container", inside), ("from another host to a published port", outside),
                          ("from this host to it", host), ("from this host to it on 127.0.0.1", loopback)):
        bench.warm_up(measure)
        bench.show(what, unit, bench.alternate(ROUNDS, measure), more_is_better=more)
    for engine in bench.ENGINES:
        engine.time("rm", "-f", "server", "asker")
        engine.time("network", "rm", NETWORK)
    ip("netns", "del", BEYOND)


def row_network(bench):
    row(bench, "network")


def row_latency(bench):
    row(bench, "latency")


ROWS = {"network": row_network, "latency": row_latency}
