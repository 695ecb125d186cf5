#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs each command line with the docker client and with berth, each against a fake daemon of its own, and compares exit
status, both outputs and the requests that the daemon got. Words that differ by intent are made equal first.

usage: compare_clients.py [--berth PROGRAM] [--docker PROGRAM] [--verbose] [WORD]   (only cases that contain WORD)
Ends with 77 where there is no docker client.
"""
import argparse
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import fake_daemon

HERE = pathlib.Path(__file__).parent
# What either side's request may leave to the daemon's default: a member that says nothing.
EMPTY = ["null", '""', "0", "false", "[]", "{}"]
UNASKED = {"ConsoleSize": [0, 0], "NetworkMode": "default", "MemorySwappiness": -1}
MAPS = ("ExposedPorts", "Volumes", "Tmpfs", "Labels", "Annotations", "Options", "EndpointsConfig", "filters", "Config",
        "Sysctls", "StorageOpt", "DriverOpts", "PortBindings")
SETS = ("Binds", "Config", "Env", "ExtraHosts", "Mounts", "Ulimits", "CapAdd", "CapDrop", "DnsOptions")


def simplify(value, path=""):
    """A request without what is empty; lists that are sets in order."""
    if isinstance(value, dict):
        items = {key: simplify(item, key) for key, item in value.items()}
        if path == "EndpointsConfig" and items.get("default") == {}:
            items.pop("default")
        if path in MAPS:
            return items
        return {key: item for key, item in items.items()
                if (json.dumps(item) not in EMPTY or (key == "Init" and item is not None))
                and UNASKED.get(key) != item and item != {"EndpointsConfig": {}}}
    if isinstance(value, list):
        items = [simplify(item) for item in value]
        if path.startswith("Cap"):
            items = [item.upper() if item.upper() == "ALL" or item.startswith("CAP_") else "CAP_" + item.upper()
                     for item in items if isinstance(item, str)] or items
        return sorted(items, key=json.dumps) if path in SETS else items
    return value


def simplify_requests(requests, line):
    result = []
    detached = any(path == "/containers/create" and not body.get("AttachStdout") and not body.get("AttachStderr")
                   and not body.get("AttachStdin") for _, path, _, body in requests)
    for method, path, query, body in requests:
        if path == "/info" and len(requests) > 1:
            continue
        if detached and path.endswith("/wait"):
            continue  # berth has nothing to wait for then
        if path.endswith("/json") and path.count("/") == 3 and ("/logs" in str(requests) or "logs" in line):
            continue  # docker asks for the terminal, berth reads it off the answer
        if path.endswith("/logs"):
            path = "/logs"
        if path.startswith("/plugins/"):
            continue
        query = [[key, json.loads(value) if key in ("filters", "X-Registry-Auth") else value] for key, value in query
                 if value not in ("", "0") and not (key, value) in (("platform", ""),)]
        query = [[key, re.sub(r"^\d{10}(\.\d+)?$", "TIME", value) if isinstance(value, str) else value]
                 for key, value in query]
        if path == "/images/json" or path == "/images/create":
            query = [item for item in query if item[0] != "shared-size"]
        if path.endswith("/wait"):
            query = [item for item in query if item[1] != "not-running"]
        body = simplify(body) if body else body
        if isinstance(body, dict) and "bytes" in body and path == "/images/create":
            body = {"bytes": body["bytes"]}
        result.append(json.dumps([method, path, query, body], sort_keys=True))
    return sorted(result)


def normalise(text, program):
    text = text.replace("unix://" + os.environ["FAKE"], "HOST").replace("/config-" + program, "/config")
    if program == "docker":
        text = text.replace("docker:", "berth:").replace("'docker ", "'berth ").replace("Usage:  docker", "Usage:  berth")
        text = text.replace("command: docker", "command: berth").replace("See 'berth", "Run 'berth")
        text = text.replace("SRun", "Run")
        text = re.sub(r"DEPRECATED: The legacy builder.*?\n\n", "", text, flags=re.S)
        text = text.replace("Cannot connect to the Docker daemon at HOST. Is the docker daemon running?",
                            "Cannot connect to the Berth daemon at HOST. Is berth.socket running?")
    text = re.sub(r"Client:.*?(Server:)", r"\1", text, flags=re.S)
    return re.sub(r"[ \t]+$", "", text, flags=re.M)


def run(program, name, line, directory):
    path = f"{directory}/{name}.sock"
    os.environ["FAKE"] = path
    server = fake_daemon.serve(path)
    environment = dict(os.environ, DOCKER_HOST="unix://" + path, BERTH_HOST="", FOO="from-outside", HOME=directory,
                       TZ="UTC")
    command, _, stdin = line.removesuffix("<<<").partition(" <<< ")
    words = [word.replace("%D", directory) for word in shlex.split(command)]
    # Each has a configuration, which its logins change; the daemon cannot tell them apart.
    environment["DOCKER_CONFIG"] = f"{directory}/config-{name}"
    cid = pathlib.Path(directory, "cid")
    cid.unlink(missing_ok=True)
    try:
        done = subprocess.run([program, *words], input=stdin, capture_output=True, text=True, timeout=20,
                              env=environment, cwd=directory)
        outcome = (done.returncode, normalise(done.stdout, name), normalise(done.stderr, name))
    except subprocess.TimeoutExpired:
        outcome = ("timeout", "", "")
    server.shutdown()
    server.server_close()
    return {"exit": outcome[0], "stdout": outcome[1], "stderr": outcome[2],
            "requests": simplify_requests(server.engine.requests, line),
            "cid": cid.read_text() if cid.exists() else None}


def prepare(directory):
    files = {"env": "# comment\nA=1\n\nB=two words\nFOO\nNOTSET_ANYWHERE\n", "badenv": "A B=1\n", "labels": "a=1\nb\n",
             "tree/a": "x", "tree/sub/b": "y" * 5000, "seccomp.json": '{ "defaultAction": "SCMP_ACT_ALLOW" }', "image.tar": "x" * 3000000, "exists": "x"}
    for name, text in files.items():
        pathlib.Path(directory, name).parent.mkdir(exist_ok=True, parents=True)
        pathlib.Path(directory, name).write_text(text)
    pathlib.Path(directory, "tolink").symlink_to("tree")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--berth", default=str(HERE.parents[2] / "build/berth"))
    parser.add_argument("--docker", default=shutil.which("docker"))
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("word", nargs="?", default="")
    options = parser.parse_args()
    if not options.docker:
        print("no docker client here", file=sys.stderr)
        return 77
    cases = [line for line in HERE.joinpath("commands.txt").read_text().splitlines()
             if line and not line.startswith("#") and options.word in line]
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        prepare(directory)
        for line in cases:
            # "~stderr " in front: the text of standard error is berth's own
            ignored = re.match(r"((~\w+ )*)", line).group(0)
            line = line[len(ignored):]
            theirs = run(options.docker, "docker", line, directory)
            ours = run(options.berth, "berth", line, directory)
            wrong = [key for key in theirs if theirs[key] != ours[key] and "~" + key not in ignored]
            if wrong or options.verbose:
                print(("FAIL " if wrong else "ok   ") + line)
            for key in wrong:
                if key == "requests":
                    theirs[key], ours[key] = ([item for item in one if item not in other] for one, other in
                                              ((theirs[key], ours[key]), (ours[key], theirs[key])))
                print(f"  docker {key}: {theirs[key]!r}\n  berth  {key}: {ours[key]!r}")
            failed += bool(wrong)
    print(f"{len(cases) - failed} of {len(cases)} command lines behave alike")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
