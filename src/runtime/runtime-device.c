/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices: the cgroup program that decides about access, and the nodes of a fresh /dev. The rules are an ordered list
 * in which a later one overrides an earlier one; the program therefore tests them from the last to the first and leaves
 * at the first match. Without any match access is refused. */
#include <fcntl.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "berth/json.h"
#include "berth/string.h"
#include "runtime-private.h"

/* Type, access, major, minor and the two instructions of the verdict. */
#define RULE_INSTRUCTIONS_MAX 9
#define RULES_MAX 4096

static struct bpf_insn insn(uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
        return (struct bpf_insn) { .code = code, .dst_reg = dst & 0xf, .src_reg = src & 0xf, .off = off, .imm = imm };
}

/* r2 type, r3 access, r4 major, r5 minor. */
static size_t program_begin(struct bpf_insn *out)
{
        size_t n = 0;

        out[n++] = insn(BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(struct bpf_cgroup_dev_ctx, access_type), 0);
        out[n++] = insn(BPF_ALU | BPF_MOV | BPF_X, 3, 2, 0, 0);
        out[n++] = insn(BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
        out[n++] = insn(BPF_ALU | BPF_RSH | BPF_K, 3, 0, 0, 16);
        out[n++] = insn(BPF_LDX | BPF_MEM | BPF_W, 4, 1, offsetof(struct bpf_cgroup_dev_ctx, major), 0);
        out[n++] = insn(BPF_LDX | BPF_MEM | BPF_W, 5, 1, offsetof(struct bpf_cgroup_dev_ctx, minor), 0);
        return n;
}

static size_t program_end(struct bpf_insn *out, bool allow)
{
        out[0] = insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, allow);
        out[1] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
        return 2;
}

static int access_mask(const char *access)
{
        int mask = 0;

        for (; access && *access; access++)
                mask |= *access == 'r'   ? BPF_DEVCG_ACC_READ
                        : *access == 'w' ? BPF_DEVCG_ACC_WRITE
                        : *access == 'm' ? BPF_DEVCG_ACC_MKNOD
                                         : 0;
        return mask;
}

/* One rule. *RET_ALL: it matches everything, so none before it counts. */
static size_t program_rule(const json_t *rule, struct bpf_insn *out, bool *ret_all)
{
        const char *type = json_get_string_or(rule, "type", "a");
        const char *access = json_get_string_or(rule, "access", "rwm");
        int64_t major_number = json_get_int(rule, "major", -1), minor_number = json_get_int(rule, "minor", -1);
        const int all = BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE | BPF_DEVCG_ACC_MKNOD;
        int mask = access_mask(access);
        size_t n = 0, tests[4], n_tests = 0;

        if (*type == 'b' || *type == 'c') {
                tests[n_tests++] = n;
                out[n++] = insn(BPF_JMP32 | BPF_JNE | BPF_K, 2, 0, 0,
                                *type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
        }
        if (mask != all) {
                bool allow = json_get_bool(rule, "allow");

                out[n++] = insn(BPF_ALU | BPF_MOV | BPF_X, 1, 3, 0, 0);
                out[n++] = insn(BPF_ALU | BPF_AND | BPF_K, 1, 0, 0, allow ? ~mask & all : mask);
                tests[n_tests++] = n;
                /* Allowed is what asks for nothing else; denied is what asks for any of it. */
                out[n++] = insn(BPF_JMP32 | (allow ? BPF_JNE : BPF_JEQ) | BPF_K, 1, 0, 0, 0);
        }
        if (major_number >= 0) {
                tests[n_tests++] = n;
                out[n++] = insn(BPF_JMP32 | BPF_JNE | BPF_K, 4, 0, 0, (int32_t) major_number);
        }
        if (minor_number >= 0) {
                tests[n_tests++] = n;
                out[n++] = insn(BPF_JMP32 | BPF_JNE | BPF_K, 5, 0, 0, (int32_t) minor_number);
        }
        n += program_end(out + n, json_get_bool(rule, "allow"));
        for (size_t i = 0; i < n_tests; i++)
                out[tests[i]].off = (int16_t) (n - tests[i] - 1);
        *ret_all = n_tests == 0;
        return n;
}

static int program_load(const struct bpf_insn *program, size_t n)
{
        union bpf_attr attr;
        int fd;

        memset(&attr, 0, sizeof(attr));
        attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
        attr.insns = (uintptr_t) program;
        attr.insn_cnt = (uint32_t) n;
        attr.license = (uintptr_t) "GPL";
        fd = (int) syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
        return fd < 0 ? -errno : fd;
}

static int program_make(const json_t *rules, Error *ret_error)
{
        CLEANUP_FREE struct bpf_insn *program = NULL;
        size_t count = json_array_size(rules), n;
        bool all = false;
        int fd;

        if (count == 0)
                return -ENODATA;
        if (count > RULES_MAX)
                return runtime_error(ret_error, E2BIG, "too many device rules");
        program = reallocarray(NULL, count * RULE_INSTRUCTIONS_MAX + 8, sizeof(*program));
        if (!program)
                return -ENOMEM;
        n = program_begin(program);
        while (count > 0 && !all)
                n += program_rule(json_array_get(rules, --count), program + n, &all);
        if (!all)
                n += program_end(program + n, false);
        fd = program_load(program, n);
        return fd < 0 ? runtime_error(ret_error, -fd, "load device cgroup program") : fd;
}

/* Set in the engine, seen by its forks: verifying and translating the program is a tenth of a start. */
static struct {
        json_t *rules; /* owned; NULL: none */
        int fd;        /* owned */
} kept = { .fd = -EBADF };

int runtime_devices_kept(void)
{
        return kept.fd;
}

void runtime_warm_up(const json_t *config)
{
        json_t *resources = json_get_object(json_get_object(config, "linux"), "resources");
        json_t *rules = json_get_array(resources, "devices");
        int fd;

        mount_warm_up();
        if (!rules || json_equal(rules, kept.rules))
                return;
        fd = program_make(rules, NULL);
        if (fd < 0)
                return;
        fd_close(kept.fd);
        json_decref(kept.rules);
        kept.fd = fd;
        kept.rules = json_deep_copy(rules);
}

int runtime_devices_program(const json_t *resources, Error *ret_error)
{
        json_t *rules = json_get_array(resources, "devices");

        return kept.fd >= 0 && json_equal(rules, kept.rules) ? kept.fd : program_make(rules, ret_error);
}

int runtime_devices_attach(int cgroup_fd, int program_fd)
{
        union bpf_attr attr;

        memset(&attr, 0, sizeof(attr));
        attr.target_fd = (uint32_t) cgroup_fd;
        attr.attach_bpf_fd = (uint32_t) program_fd;
        attr.attach_type = BPF_CGROUP_DEVICE;
        attr.attach_flags = BPF_F_ALLOW_MULTI;
        return syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

static const struct {
        const char *name;
        unsigned int major, minor;
} default_devices[] = {
        { "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
};

static const struct {
        const char *name, *target;
} default_links[] = {
        { "ptmx", "pts/ptmx" },          { "fd", "/proc/self/fd" },       { "stdin", "/proc/self/fd/0" },
        { "stdout", "/proc/self/fd/1" }, { "stderr", "/proc/self/fd/2" }, { "core", "/proc/kcore" },
};

static int node_make(int dir_fd, const char *name, mode_t mode, dev_t device, uid_t uid, gid_t gid)
{
        if (mknodat(dir_fd, name, mode, device) < 0 && errno != EEXIST)
                return -errno;
        if ((uid != 0 || gid != 0) && fchownat(dir_fd, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        return 0;
}

/* A device of the configuration, at its path inside the root. */
static int device_make(int root_fd, const json_t *device)
{
        const char *path = json_get_string_or(device, "path", ""), *type = json_get_string_or(device, "type", "c");
        const char *slash = strrchr(path, '/');
        CLEANUP_FREE char *parent_path = NULL;
        CLEANUP_CLOSE int parent = -EBADF;
        mode_t kind = *type == 'b' ? S_IFBLK : *type == 'p' ? S_IFIFO : S_IFCHR;

        if (path[0] != '/' || slash[1] == '\0')
                return -EINVAL;
        parent_path = slash == path ? strdup("/") : strndup(path, (size_t) (slash - path));
        if (!parent_path)
                return -ENOMEM;
        parent = mount_path_make(root_fd, parent_path, true, 0755);
        if (parent < 0)
                return parent;
        return node_make(parent, slash + 1, kind | ((mode_t) json_get_int(device, "fileMode", 0666) & 07777),
                         makedev((unsigned int) json_get_int(device, "major", 0),
                                 (unsigned int) json_get_int(device, "minor", 0)),
                         (uid_t) json_get_int(device, "uid", 0), (gid_t) json_get_int(device, "gid", 0));
}

int runtime_devices_make(int root_fd, const json_t *config, Error *ret_error)
{
        CLEANUP_CLOSE int dev = mount_path_open(root_fd, "/dev", O_PATH | O_DIRECTORY);
        json_t *device;
        size_t i;
        int r = MIN(dev, 0);

        for (i = 0; r >= 0 && i < ARRAY_SIZE(default_devices); i++)
                r = node_make(dev, default_devices[i].name, S_IFCHR | 0666,
                              makedev(default_devices[i].major, default_devices[i].minor), 0, 0);
        for (i = 0; r >= 0 && i < ARRAY_SIZE(default_links); i++) {
                /* Not every kernel has the file that the last one is for. */
                if (str_equal(default_links[i].name, "core") && access("/proc/kcore", F_OK) < 0)
                        continue;
                if (symlinkat(default_links[i].target, dev, default_links[i].name) < 0 && errno != EEXIST)
                        r = -errno;
        }
        if (r < 0)
                return runtime_error(ret_error, -r, "create device nodes");
        json_array_foreach(json_get_array(json_get_object(config, "linux"), "devices"), i, device) {
                r = device_make(root_fd, device);
                if (r < 0)
                        return runtime_error(ret_error, -r, "error creating device node %s",
                                             json_get_string_or(device, "path", ""));
        }
        return 0;
}
