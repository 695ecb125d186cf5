#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the same command lines with the docker client and with berth against one real dockerd, and compares exit status
and both outputs. To be run as root in a disposable host that has the image busybox:latest. %N is a name of the client's
own, so that each side has its own containers; names, IDs and times are made equal before comparing.

usage: compare_real.py [--berth PROGRAM] [--socket PATH]"""
import argparse
import re
import shlex
import subprocess
import sys

# Two blanks in front: what it prints is not compared, only its status.
COMMANDS = r"""
version --format '{{json .Server}}'
info --format '{{.ServerVersion}} {{.Driver}} {{.NCPU}} {{.MemTotal}} {{.OSType}} {{json .Plugins}} {{.SecurityOptions}}'
images
images --digests --no-trunc
images --format json
images -q busybox
inspect busybox
inspect -f '{{.Config.Cmd}} {{.Size}} {{.RootFS.Layers}} {{json .Config.Env}}' busybox
inspect nosuch
image inspect nosuch
run --rm busybox echo hi
run --rm busybox sh -c 'echo out; echo err >&2; exit 3'
run --rm busybox nosuchprogram
run --rm busybox /etc/passwd
run --rm busybox /tmp
run --rm --entrypoint '' busybox true
run --rm -w relative busybox true
run --rm -u nosuchuser busybox true
run --rm busybox sh -c 'kill -9 $$'
run --rm -i busybox cat <<< some input
run --rm -i busybox sh -c 'read x; echo got $x' <<< some input
run --rm -e A=1 -e B busybox env
run --rm --hostname h1 --add-host x:1.2.3.4 busybox sh -c 'hostname; grep x$ /etc/hosts'
run --rm --network none busybox ls /sys/class/net
run --rm --read-only --tmpfs /t busybox sh -c 'touch /t/x; touch /x'
run --rm -v /etc/hostname:/h:ro busybox sh -c 'cat /h | wc -l; echo x > /h'
run --rm -t busybox sh -c 'test -t 0; echo $?'
run --rm --ulimit nofile=100:200 busybox sh -c 'ulimit -n; ulimit -Hn'
run --rm --init busybox sh -c 'cat /proc/1/comm'
run -d --name %N-1 -p 18%P0:80 --label a=1 --restart unless-stopped busybox sleep 1000
run -d --name %N-1 busybox
create --name %N-2 -it busybox sh
create --name %N-3 -v /anon busybox echo from create
ps --filter name=%N
ps -a --filter name=%N
ps -a --filter name=%N --no-trunc
ps -a --filter name=%N -s
ps -a --filter name=%N --format 'table {{.Names}}\t{{.Status}}\t{{.Ports}}\t{{.Labels}}\t{{.Networks}}\t{{.Mounts}}'
ps -a --filter name=%N --format json
ps -a --filter label=a=1 --filter name=%N -q
ps -n 1 --filter name=%N --format '{{.Names}}'
ps -l --format '{{.State}}'
ps --filter nosuch=1
inspect %N-1
inspect -s %N-3
inspect -f '{{.State.Status}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.PortBindings}} {{.Config.Labels}}' %N-1
inspect -f '{{range $p, $c := .NetworkSettings.Ports}}{{$p}} {{(index $c 0).HostIp}}{{end}}' %N-1
inspect -f '{{.Mounts}} {{.Config.Cmd}} {{.Config.Entrypoint}} {{.HostConfig.Binds}} {{.Path}} {{.Args}}' %N-1
inspect --type network -f '{{.Name}} {{json .IPAM.Config}} {{json .Options}}' bridge
start -a %N-3
start %N-3 %N-nosuch
wait %N-3
logs %N-3
logs --tail 1 %N-3
logs --tail 0 %N-3
logs %N-nosuch
rename %N-2 %N-4
rename %N-2 %N-5
start %N-4
stop -t 1 %N-4
kill %N-4
kill -s NOSUCH %N-1
kill -s USR1 %N-1
restart -t 0 %N-1
  attach --no-stdin %N-4
attach %N-nosuch
rm %N-1
rm %N-nosuch %N-3
rm -fv %N-1 %N-nosuch
tag busybox %N:new
tag nosuch %N:x
images %N
rmi busybox:nosuch
rmi %N:new
load -i /root/busybox.tar
load -i /etc/passwd
run --rm --memory 1k busybox true
run --rm --network nosuchnetwork busybox true
run --rm --name 'bad name' busybox true
run --rm --cap-add NOSUCH busybox true
run --rm --volumes-from nosuch busybox true
run --rm -p 99999:80 busybox true
  container prune -f
"""


def normalise(text, name, port):
    text = re.sub(r"\b[0-9a-f]{64}\b", "ID", text)
    text = re.sub(r"\b[0-9a-f]{12}\b", "SHORT", text)
    text = text.replace(name, "NAME").replace(f"18{port}0", "PORT")
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( [+-]\d{4})?( [A-Z]+|Z)?", "TIME", text)
    text = re.sub(r"\b(\d+ (seconds|minutes)|Less than a second|About a minute|1 second)\b", "SOON", text)
    text = re.sub(r'"(Pid|SandboxID|SandboxKey|IPAddress|MacAddress|NetworkID|EndpointID)": [^\n]*', r'"\1": X', text)
    text = re.sub(r"(berth|docker)( \w+)? --help", r"CLIENT\2 --help", text)
    text = re.sub(r"^(berth|docker): ", "CLIENT: ", text, flags=re.M)
    text = re.sub(r"Reclaimed space: .*|reclaimed space: .*", "space", text)
    # 26 says "See", 28 says "Run"
    text = text.replace("See 'CLIENT", "Run 'CLIENT").replace(" :::PORT->", " [::]:PORT->").replace(" :::PORT-\\u003e", " [::]:PORT-\\u003e")
    text = text.replace('"Platform":null,', "").replace("Invalid hostPort", "invalid hostPort")
    text = re.sub(r'"BuildTime":"[^"]*"', "BUILT", text)
    text = re.sub(r"[0-9a-f]{14}…", "SHORT…", text)
    text = re.sub(r"\.(\n*Run 'CLIENT)", r"\1", text)
    text = re.sub(r"\n*Run 'CLIENT[^\n]*\n?$", "\n", text)
    text = re.sub(r"^(CLIENT: .*)\.$", r"\1", text, flags=re.M)
    return re.sub(r" +", " ", text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--berth", default="berth")
    parser.add_argument("--socket", default="/run/docker.sock")
    options = parser.parse_args()
    failed = total = 0
    for line in COMMANDS.strip("\n").splitlines():
        results = []
        for program, name, port in (("docker", "qqx1", "1"), (options.berth, "qqx2", "2")):
            command, _, stdin = line.partition(" <<< ")
            words = [word.replace("%N", name).replace("%P", port) for word in shlex.split(command)]
            done = subprocess.run([program, "-H", "unix://" + options.socket, *words], input=stdin.encode(),
                                  capture_output=True, timeout=60)
            outcome = [done.returncode]
            if not line.startswith("  "):
                outcome += [normalise(done.stdout.decode(errors="replace"), name, port),
                            normalise(done.stderr.decode(errors="replace"), name, port)]
            results.append(outcome)
        total += 1
        if results[0] != results[1]:
            failed += 1
            print("FAIL " + line)
            for program, outcome in zip(("docker", "berth"), results):
                print(f"  {program:6} {outcome!r}")
    print(f"{total - failed} of {total} command lines behave alike")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
