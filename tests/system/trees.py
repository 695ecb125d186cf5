# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trees of every kind of file, as a container makes them, and all that can be known of a tree: for the tests of images."""
import hashlib
import json
import os
import stat

from hosted import BERTH, run, wait_until

STORE = "/var/lib/berth"
LAYERS = STORE + "/layer"

# What makes a tree of every kind of file, in a container.
ODD_TREE = r"""
mkdir /odd /odd/sub /odd/empty; chmod 2775 /odd/sub; chown 1234:5678 /odd/sub
echo one >/odd/first; ln /odd/first /odd/sub/second; ln -s ../../etc/passwd /odd/link; ln -s /nowhere/at/all /odd/broken
mkfifo /odd/fifo; mknod /odd/null c 1 3; mknod /odd/block b 7 200
dd if=/dev/urandom of=/odd/sparse bs=4096 count=1 seek=5000 2>/dev/null
cp /bin/busybox /odd/setuid; chmod 4755 /odd/setuid
long=$(printf '%0200d' 0); mkdir -p /odd/$long/$long; echo x >/odd/$long/$long/$long
printf y >"$(printf '/odd/not-\377-utf8')"; printf z >"/odd/new
line"; : >/odd/nothing
touch -d @-100 /odd/nothing; chown 3000000:4000000 /odd/first
rm /bin/ls; rm -rf /var/spool; mkdir /var/spool; echo s >/var/spool/s; echo more >>/etc/group
"""
# What a second container changes in it: whiteouts and opaque directories, kinds that change, links to what is below.
CHANGED_TREE = r"""
rm /odd/broken /odd/fifo; rm -rf /odd/sub; mkdir /odd/sub; echo new >/odd/sub/new
rm -rf /odd/empty; echo file >/odd/empty; rm /odd/nothing; mkdir /odd/nothing; mkdir /odd/nothing/in
ln /odd/first /odd/third; ln /odd/setuid /odd/again; mv /odd/null /odd/moved; chmod 600 /odd/sparse
rm -rf /odd/0*; mkdir -p /deep/deeper; ln -s . /deep/self; echo b >/deep/deeper/b; ln /deep/deeper/b /deep/c
rm -rf /var/spool; ln -s /deep /var/spool
"""


def describe(root, skip=()):
    """All that can be known of the files of a tree, by path; hard links by who they are linked with."""
    seen, inodes = {}, {}
    for directory, names, files in os.walk(os.fsencode(root)):
        names.sort()
        for name in sorted(names + files):
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, os.fsencode(root))
            if relative in skip or any(relative.startswith(prefix + b"/") for prefix in skip):
                continue
            seen[relative] = describe_one(path, relative, inodes)
    return seen


def describe_one(path, relative, inodes):
    st = os.lstat(path)
    entry = {"mode": st.st_mode, "owner": (st.st_uid, st.st_gid), "device": st.st_rdev}
    entry["attributes"] = {key: os.getxattr(path, key, follow_symlinks=False)
                           for key in sorted(os.listxattr(path, follow_symlinks=False))
                           if not key.startswith("trusted.overlay.") or key == "trusted.overlay.opaque"}
    if stat.S_ISREG(st.st_mode):
        entry["content"] = digest_of(path)
        entry["size"] = st.st_size
        entry["sparse"] = st.st_blocks * 512 + 65536 < st.st_size
    if stat.S_ISLNK(st.st_mode):
        entry["target"] = os.readlink(path)
    if stat.S_ISCHR(st.st_mode) and st.st_rdev == 0:
        del entry["mode"], entry["owner"]
        return entry
    entry["time"] = st.st_mtime_ns
    if st.st_nlink > 1 and not stat.S_ISDIR(st.st_mode):
        inodes.setdefault((st.st_dev, st.st_ino), []).append(relative)
        entry["links"] = inodes[st.st_dev, st.st_ino]
    return entry


def digest_of(path):
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def without(tree, *members):
    """A described tree as if nothing was known of these."""
    return {path: {key: value for key, value in entry.items() if key not in members} for path, entry in tree.items()}


def decorate(upper):
    """What no applet of busybox can give to the odd tree: attributes, an ACL, times to the nanosecond."""
    os.setxattr(upper + "/odd/setuid", "user.note", b"\0binary\xff")
    os.setxattr(upper + "/odd/first", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    os.setxattr(upper + "/odd/sub", "system.posix_acl_default",
                bytes.fromhex("02000000 01000700ffffffff 02000500e8030000 04000500ffffffff 10000500ffffffff 20000500ffffffff"))
    os.setxattr(upper + "/odd/sparse", "system.posix_acl_access",
                bytes.fromhex("02000000 01000600ffffffff 02000400e8030000 04000400ffffffff 10000400ffffffff 20000400ffffffff"))
    os.utime(upper + "/odd/link", ns=(1, 1600000000123456789), follow_symlinks=False)
    os.utime(upper + "/odd/null", ns=(1, 1500000000000000001))


def inspect(name, socket=BERTH):
    return json.loads(run("docker", "-H", f"unix://{socket}", "image", "inspect", name))[0]


def layer_tree(name):
    """The directory of an image's topmost layer."""
    return f"{LAYERS}/{inspect(name)['RootFS']['Layers'][-1][7:27]}/fs"


def check():
    """The daemon rests, and nothing is wrong with what it keeps."""
    run("systemctl", "stop", "berth.service")
    wait_until(lambda: not any(name.startswith("trash-") for name in os.listdir(STORE + "/staging")), 20, "empty trash")
    return run("/usr/libexec/berth/berthd", "--check")
