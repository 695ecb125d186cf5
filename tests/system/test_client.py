# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the same command lines with the docker client and with berth against one engine, and compares exit status and both
outputs. To be run as root in a disposable host, where /root/busybox.tar is. CLIENT_SOCKET names the engine's socket; it is
dockerd's unless set. Where docker-registry is installed there is a registry at 127.0.0.1:5000, and one that wants a login
(user, secret) at 127.0.0.1:5001.

%N is a name of the client's own, so that each side has its own containers, %P a digit of its own, %D a directory of its
own. A line that begins with "$ " is for the shell, in that directory, with the client in $C. Two blanks in front: what it
prints is not compared, only its status. Names, IDs and times are made equal before comparing.

usage: test_client.py [--berth PROGRAM] [--docker PROGRAM] [WORD]   (only from the first line on that contains WORD)"""
import argparse
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

SOCKET = os.environ.get("CLIENT_SOCKET", "/run/docker.sock")

COMMANDS = r"""
version --format '{{json .Server}}'
info --format '{{.ServerVersion}} {{.Driver}} {{.NCPU}} {{.MemTotal}} {{.OSType}} {{json .Plugins}} {{.SecurityOptions}}'
images
images --digests --no-trunc
images --format json
images -q busybox
inspect -f '{{json .Id}} {{json .RepoTags}} {{json .RepoDigests}} {{json .Parent}} {{json .Comment}} {{json .Author}} {{json .Os}}' busybox
inspect -f '{{json .Architecture}} {{json .Created}} {{json .GraphDriver}} {{json .RootFS}} {{json .Metadata.LastTagTime}}' busybox
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
run -d --name %N-e -p 19%P1:80 -p 127.0.0.1:19%P2:81/udp --label a=1 busybox sleep 1000
exec %N-e echo hi
exec %N-e sh -c 'echo out; echo err >&2; exit 3'
exec -i %N-e cat <<< some input
exec -e A=1 -w /tmp %N-e sh -c 'echo $A; pwd'
exec -u 33:33 %N-e id -u
exec -t %N-e sh -c 'test -t 1 && echo yes'
exec -d %N-e touch /made
exec %N-e nosuchprogram
exec %N-e /etc/passwd
exec -w /nosuch %N-e true
exec %N-nosuch true
exec -it %N-e sh
exec %N-e sh -c 'kill -9 $$'
$ head -c 3000000 /dev/zero | $C exec -i %N-e sh -c 'cat > /input; wc -c < /input'
$ $C exec %N-e head -c 3000000 /dev/zero | wc -c
$ $C top %N-e | sed 's/  */ /g' | cut -d' ' -f1,8-
$ $C top %N-e -o pid,comm | sed 's/[0-9][0-9]*/N/; s/  */ /g'
top %N-nosuch
top %N-e --nosuch
$ $C stats --no-stream --format '{{.Name}} {{.PIDs}} {{.ID}}' %N-e
stats --no-stream %N-nosuch
$ $C stats --no-stream %N-e | head -n 1
port %N-e
port %N-e 80
port %N-e 81/udp
port %N-e 82
$ sleep 1; $C diff %N-e | sort
diff %N-nosuch
pause %N-e
pause %N-e
exec %N-e true
ps --filter name=%N-e --format '{{.Status}}'
unpause %N-e
unpause %N-e %N-nosuch
update --restart on-failure:2 %N-e
inspect -f '{{json .HostConfig.RestartPolicy}}' %N-e
update --restart sometimes %N-e
update --memory 1k %N-e
update %N-nosuch --cpus 1
update %N-e
$ mkdir -p tree/sub/deep && echo one > tree/a && echo two > tree/sub/deep/b && ln -s a tree/l && chmod 750 tree/sub && mkdir out
$ $C cp tree %N-e:/tmp/new && $C exec %N-e find /tmp/new
$ $C cp tree %N-e:/tmp && $C exec %N-e find /tmp/tree
$ $C cp tree/. %N-e:/tmp/dot && $C exec %N-e find /tmp/dot
$ $C cp tree/. %N-e:/opt && $C exec %N-e find /opt
$ $C cp tree/ %N-e:/tmp/slash/ && $C exec %N-e find /tmp/slash
$ $C cp tree/a %N-e:/tmp/file && $C exec %N-e cat /tmp/file
$ $C cp tree/a %N-e:/tmp/tree && $C exec %N-e cat /tmp/tree/a
$ $C cp tree/l %N-e:/tmp/link && $C exec %N-e ls -l /tmp/link | grep -o 'link.*'
$ $C cp -L tree/l %N-e:/tmp/followed && $C exec %N-e cat /tmp/followed
$ $C cp tree/a %N-e:/nosuch/file
$ $C cp tree/a %N-e:/tmp/nosuch/
$ $C cp tree %N-e:/tmp/file
$ $C cp tree/a %N-e:/tmp/tree/sub && $C exec %N-e ls /tmp/tree/sub
$ $C cp nosuch %N-e:/tmp
$ chown -R 33:33 tree; $C cp -a tree %N-e:/tmp/owned && $C exec %N-e stat -c '%u %n' /tmp/owned/a
$ $C cp tree %N-e:/tmp/unowned && $C exec %N-e stat -c '%u %n' /tmp/unowned/a
$ $C cp %N-e:/tmp/new out && find out -printf '%p %y %m %s %l\n' | sort
$ $C cp %N-e:/tmp/new out/renamed && find out -printf '%p %y %m %s %l\n' | sort
$ $C cp %N-e:/tmp/new/. out && find out -printf '%p %y %m %s %l\n' | sort
$ $C cp %N-e:/tmp/new/. out/dotted && find out/dotted -printf '%p %y %m %s %l\n' | sort
$ $C cp %N-e:/tmp/new/a out/file && cat out/file
$ $C cp %N-e:/tmp/new/a out && cat out/a
$ $C cp %N-e:/tmp/new/l out/l2 && readlink out/l2
$ $C cp -L %N-e:/tmp/new/l out/l3 && cat out/l3 && test ! -L out/l3
$ $C cp %N-e:/tmp/new/a out/nosuch/
$ $C cp %N-e:/tmp/new/a nosuch/file
$ $C cp %N-e:/tmp/new out/file
$ $C cp %N-e:/nosuch out
$ mkdir -p out/clash/a && $C cp %N-e:/tmp/new/a out/clash
$ ln -s out/target byname && $C cp %N-e:/tmp/new/a byname && cat out/target && test -L byname
$ $C cp %N-e:/tmp/new - | tar t | sort
$ tar c tree | $C cp - %N-e:/srv; $C exec %N-e mkdir /srv; tar c tree | $C cp - %N-e:/srv && $C exec %N-e find /srv
$ tar c tree | $C cp - %N-e:/tmp/file
cp %N-e:/a %N-e:/b
cp a b
$ $C cp /root/busybox.tar %N-e:/tmp/big && $C exec %N-e md5sum /tmp/big && $C cp %N-e:/tmp/big big && cmp big /root/busybox.tar
$ $C cp %N-e:/ out/root && ls out/root | head -n 3
commit %N-e %N:committed
commit -a me -m msg -c 'CMD ["echo","x"]' -c 'ENV Q=1' -p=false %N-e %N:other
run --rm %N:other
inspect -f '{{.Config.Cmd}} {{.Comment}} {{.Author}} {{.Config.Env}}' %N:other
commit %N-nosuch
commit -c 'FOO x' %N-e
commit %N-e BAD
history --format '{{.CreatedBy}} {{.Comment}} {{.CreatedSince}}' %N:other
history -q busybox
history -H=false --format '{{.Size}} {{.CreatedAt}}' busybox
history %N:nosuch
$ $C save %N:other | tar t | grep -c layer.tar
$ $C save -o saved busybox %N:other && tar tf saved | grep manifest && ls -l saved | cut -c1-10
save %N:nosuch
save -o /nosuch/x busybox
$ $C rmi %N:other >/dev/null; $C load -i saved | sort
$ $C load -q < saved | sort
$ $C export %N-e | tar t | grep -c ^bin/
$ $C export -o exported %N-e && tar tf exported | grep ^tmp/file
export %N-nosuch
$ $C import -m hello -c 'CMD ["true"]' exported %N:imported | cut -c1-7
$ cat exported | $C import - | cut -c1-7
run --rm %N:imported
import /nosuch
tag %N:imported %N:tagged
$ $C image ls %N --format '{{.Tag}}' | sort
rmi %N:tagged %N:imported %N:nosuch
network create %N-net
network create %N-net
network create --subnet 10.7%P.0.0/16 --gateway 10.7%P.0.1 --ip-range 10.7%P.5.0/24 --label a=b -o com.docker.network.bridge.name=b%P %N-sub
network create --subnet 10.7%P.0.0/16 %N-clash
network create -d nosuch %N-bad
network ls --filter name=%N
network ls -q --filter name=%N
network ls --filter label=a=b --filter name=%N --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}} {{.IPv6}} {{.Internal}}'
network ls --filter nosuch=1
network inspect -f '{{json .IPAM.Config}} {{json .Options}} {{json .Labels}} {{.Internal}}' %N-sub
network inspect %N-nosuch
network connect --alias other --ip 10.7%P.0.9 %N-sub %N-e
network connect %N-sub %N-e
network connect %N-nosuch %N-e
inspect -f '{{range $n, $c := .NetworkSettings.Networks}}{{$n}} {{if ne $n "bridge"}}{{$c.IPAddress}}{{end}} {{end}}' %N-e
network rm %N-sub
network disconnect %N-sub %N-e
network disconnect %N-sub %N-e
network disconnect -f %N-sub %N-e
network rm %N-sub %N-net
  network rm %N-nosuch
network rm -f %N-nosuch
volume create %N-v
volume create %N-v
volume create --label a=b -o type=tmpfs -o device=tmpfs -o o=size=1m %N-t
volume create 'bad name'
volume create -d nosuch %N-d
$ $C volume create | wc -c
volume ls --filter name=%N
volume ls -q --filter name=%N
volume ls --filter label=a=b --filter name=%N --format '{{.Name}} {{.Driver}} {{.Labels}} {{.Mountpoint}} {{.Scope}} {{.Size}} {{.Links}}'
volume inspect -f '{{.Name}} {{.Driver}} {{json .Options}} {{json .Labels}}' %N-t
volume inspect %N-nosuch
run --rm -v %N-v:/v busybox sh -c 'echo kept > /v/x'
run --rm -v %N-v:/v:ro busybox cat /v/x
run -d --name %N-h -v %N-v:/v busybox sleep 1000
volume rm %N-v
rm -f %N-h
volume rm %N-v %N-nosuch %N-t
volume rm -f %N-nosuch
volume prune --filter nosuch=1 -f
$ S=$(date +%s); $C run --rm --name %N-ev busybox true; sleep 1; $C events --since $S --until $(date +%s) -f container=%N-ev --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}' | grep -v -e attach -e resize
$ S=$(($(date +%s) - 30)); $C events --since $S --until $(date +%s) -f container=%N-ev -f event=die | sed 's/execDuration=[0-9]*//; s/[0-9a-f]\{64\}/ID/'
events --since x
events -f nosuch=1 --until 1
$ $C system df | sed 's/  */ /g' | cut -d' ' -f1 | head -n 5
$ $C system df --format '{{.Type}}'
$ $C system df -v | grep -e '^[A-Z]' -e ^$
system df --format json
system prune --volumes --filter until=1h
container prune --filter nosuch=1 -f
image prune --filter nosuch=1 -f
pull 127.0.0.1:1/nosuch
push 127.0.0.1:1/%N:nosuch
pull -a busybox:1
login -u user -p x 127.0.0.1:1
rm -f %N-e
  container prune -f
  image prune -f
  volume prune -f
  network prune -f
"""

# Only where docker-registry is installed.
REGISTRY_COMMANDS = r"""
tag busybox 127.0.0.1:5000/%N:1
push 127.0.0.1:5000/%N:1
push -q 127.0.0.1:5000/%N:1
push -a 127.0.0.1:5000/%N
rmi 127.0.0.1:5000/%N:1
pull 127.0.0.1:5000/%N:1
pull 127.0.0.1:5000/%N:1
pull -q 127.0.0.1:5000/%N:1
pull -a 127.0.0.1:5000/%N
pull 127.0.0.1:5000/%N
pull 127.0.0.1:5000/%N-nosuch:1
rmi 127.0.0.1:5000/%N:1
run --rm 127.0.0.1:5000/%N:1 echo pulled
rmi 127.0.0.1:5000/%N:1
run -q --rm 127.0.0.1:5000/%N:1 echo pulled
run --pull always --rm 127.0.0.1:5000/%N:1 echo again
run --pull never --rm 127.0.0.1:5000/%N:2 echo never
create 127.0.0.1:5000/%N:nosuch
tag busybox 127.0.0.1:5001/%N:1
push 127.0.0.1:5001/%N:1
$ echo secret | $C login -u user --password-stdin 127.0.0.1:5001 2>/dev/null
$ echo wrong | $C login -u user --password-stdin 127.0.0.1:5001
$ cat $DOCKER_CONFIG/config.json; stat -c %a $DOCKER_CONFIG/config.json
push 127.0.0.1:5001/%N:1
rmi 127.0.0.1:5001/%N:1
pull 127.0.0.1:5001/%N:1
  login 127.0.0.1:5001
logout 127.0.0.1:5001
$ cat $DOCKER_CONFIG/config.json
logout 127.0.0.1:5001
pull 127.0.0.1:5001/%N:1
$ mkdir bin; printf '#!/bin/sh\ncd $DOCKER_CONFIG\ncase $1 in store) cat > kept;; get) test -f kept && cat kept || { echo credentials not found in native keychain; exit 1; };; erase) rm -f kept;; esac\n' > bin/docker-credential-test; chmod 755 bin/docker-credential-test; echo '{"credHelpers":{"127.0.0.1:5001":"test"}}' > $DOCKER_CONFIG/config.json
$ echo secret | PATH=$PWD/bin:$PATH $C login -u user --password-stdin 127.0.0.1:5001
$ cd $DOCKER_CONFIG && python3 -m json.tool --sort-keys config.json && cat kept
$ PATH=$PWD/bin:$PATH $C push -q 127.0.0.1:5001/%N:1
$ PATH=$PWD/bin:$PATH $C logout 127.0.0.1:5001; ls $DOCKER_CONFIG
"""


def normalise(text, name, port):
    text = re.sub(r"\b[0-9a-f]{64}\b", "ID", text)
    text = re.sub(r"\b[0-9a-f]{12}\b", "SHORT", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( [+-]\d{4})?( [A-Z]+|Z)?", "TIME", text)
    text = text.replace(name, "NAME").replace(f"18{port}0", "PORT").replace(f"19{port}", "PORT").replace(f"10.7{port}.", "10.NET.")
    text = text.replace(f"b{port}\"", "BRIDGE\"")
    text = re.sub(r"\b(\d+ (seconds|minutes)|Less than a second|About a minute|1 second)\b", "SOON", text)
    text = re.sub(r'"(Pid|SandboxID|SandboxKey|IPAddress|MacAddress|NetworkID|EndpointID)": [^\n]*', r'"\1": X', text)
    text = re.sub(r"(berth|docker)( \w+)? --help", r"CLIENT\2 --help", text)
    text = re.sub(r"^(berth|docker): ", "CLIENT: ", text, flags=re.M)
    text = re.sub(r"Reclaimed space: .*|reclaimed space: .*", "space", text)
    text = re.sub(r'directory "([^"]*)" does not exist', r"stat \1: no such file or directory", text)
    text = re.sub(r"Mounted from \w+", "Pushed", text)
    # Each client speaks the newest version of the API that it knows.
    text = re.sub(r'"OomKillDisable": (false|null)', '"OomKillDisable": X', text)
    text = re.sub(r'\n *"GwPriority": 0,', "", text)
    text = re.sub(r'"Containers":"(N/A|0)"', '"Containers":X', text)  # newer clients are told how many
    # 26 says "See", 28 says "Run"
    text = text.replace("See 'CLIENT", "Run 'CLIENT").replace(" :::PORT->", " [::]:PORT->").replace(" :::PORT-\\u003e", " [::]:PORT-\\u003e")
    text = text.replace('"Platform":null,', "").replace("Invalid hostPort", "invalid hostPort")
    text = re.sub(r'"BuildTime":"[^"]*"', "BUILT", text)
    text = re.sub(r"[0-9a-f]{14}…", "SHORT…", text)
    text = re.sub(r"\.(\n*Run 'CLIENT)", r"\1", text)
    text = re.sub(r"\n*Run 'CLIENT[^\n]*\n?$", "\n", text)
    text = re.sub(r"^(CLIENT: .*)\.$", r"\1", text, flags=re.M)
    return re.sub(r" +", " ", text)


REGISTRY = """version: 0.1
storage: {filesystem: {rootdirectory: DIRECTORY/PORT}}
http: {addr: "127.0.0.1:PORT"}
"""
# "secret" by bcrypt
PASSWORDS = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"


def start_registries(directory):
    """One for everybody and one for those who log in; none where the program is not installed."""
    program = shutil.which("docker-registry")
    running = []
    for port in ("5000", "5001") if program else ():
        config = REGISTRY.replace("DIRECTORY", directory).replace("PORT", port)
        if port == "5001":
            pathlib.Path(directory, "passwords").write_text(PASSWORDS)
            config += f"auth: {{htpasswd: {{realm: test, path: {directory}/passwords}}}}\n"
        pathlib.Path(directory, port + ".yml").write_text(config)
        running.append(subprocess.Popen([program, "serve", f"{directory}/{port}.yml"], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL))
    time.sleep(1 if running else 0)
    return running


def run_line(line, program, name, digit, directory):
    """What one client makes of a line, in words that are the same for both."""
    line = line.replace("%N", name).replace("%P", digit).replace("%D", directory)
    text = line.strip()
    environment = dict(os.environ, DOCKER_CONFIG=directory + "/config", C=f"{program} -H unix://{SOCKET}", TZ="UTC")
    if text.startswith("$ "):
        words, stdin = ["sh", "-c", text[2:]], ""
    else:
        command, _, stdin = text.partition(" <<< ")
        words = [program, "-H", "unix://" + SOCKET, *shlex.split(command)]
    done = subprocess.run(words, input=stdin.encode(), capture_output=True, timeout=120, cwd=directory, env=environment)
    outcome = [done.returncode]
    if not line.startswith("  "):
        outcome += [normalise(text.decode(errors="replace").replace(directory, "DIRECTORY"), name, digit)
                    for text in (done.stdout, done.stderr)]
    return outcome


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--berth", default="berth")
    parser.add_argument("--docker", default="docker")
    parser.add_argument("word", nargs="?", default="")
    options = parser.parse_args()
    if not shutil.which(options.docker):
        print("no docker client here")
        return 77
    lines = COMMANDS.strip("\n").splitlines()
    if shutil.which("docker-registry"):
        lines += REGISTRY_COMMANDS.strip("\n").splitlines()
    while options.word and options.word not in lines[0]:
        lines.pop(0)
    docker = [options.docker, "-H", "unix://" + SOCKET]
    # Images of other tests are as old as they like, and clients differ in what is too old.
    images = subprocess.run([*docker, "images", "-aq"], check=True, capture_output=True).stdout.decode().split()
    for image in set(images):
        subprocess.run([*docker, "rmi", "-f", image], check=False, capture_output=True)
    subprocess.run([*docker, "load", "-qi", "/root/busybox.tar"], check=True)
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        registries = start_registries(directory)
        for side in "12":
            os.makedirs(f"{directory}/{side}/config")
        for line in lines:
            results = [run_line(line, program, f"qqx{side}", side, f"{directory}/{side}")
                       for program, side in ((options.docker, "1"), (options.berth, "2"))]
            if results[0] != results[1]:
                failed += 1
                print("FAIL " + line)
                for program, outcome in zip(("docker", "berth"), results):
                    print(f"  {program:6} {outcome!r}")
        for registry in registries:
            registry.terminate()
            registry.wait()
    print(f"{len(lines) - failed} of {len(lines)} command lines behave alike")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
