/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* OCI linux.seccomp to a BPF program, by libseccomp, with a front of our own for the calls that are allowed whatever
 * their arguments. A system call newer than every one the profile names gets ENOSYS there where the profile would
 * refuse it, so that a C library newer than the profile falls back instead of failing. A compiled program can be kept
 * in a file and loaded from there. */
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "runtime-private.h"
#include "runtime-seccomp-front.h"

DEFINE_CLEANUP(cleanup_seccomp_ptr, scmp_filter_ctx, seccomp_release)

#define PROGRAM_MAX (BPF_MAXINSNS * sizeof(struct sock_filter))

static const struct {
        const char *name;
        uint32_t action; /* without errno */
        bool has_errno;
} actions[] = {
        { "SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD, false },
        { "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD, false },
        { "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS, false },
        { "SCMP_ACT_TRAP", SCMP_ACT_TRAP, false },
        { "SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0), true },
        { "SCMP_ACT_TRACE", SCMP_ACT_TRACE(0), true },
        { "SCMP_ACT_LOG", SCMP_ACT_LOG, false },
        { "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW, false },
};

static const struct {
        const char *name;
        enum scmp_compare op;
} operators[] = {
        { "SCMP_CMP_NE", SCMP_CMP_NE },
        { "SCMP_CMP_LT", SCMP_CMP_LT },
        { "SCMP_CMP_LE", SCMP_CMP_LE },
        { "SCMP_CMP_EQ", SCMP_CMP_EQ },
        { "SCMP_CMP_GE", SCMP_CMP_GE },
        { "SCMP_CMP_GT", SCMP_CMP_GT },
        { "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
};

static const struct {
        const char *name;
        unsigned int flag;
} filter_flags[] = {
        { "SECCOMP_FILTER_FLAG_TSYNC", 0 }, /* one thread */
        { "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
        { "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
};

static int action_parse(const char *name, int64_t number, uint32_t *ret, Error *ret_error)
{
        for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
                if (str_equal(actions[i].name, name)) {
                        *ret = actions[i].action | (actions[i].has_errno ? (uint32_t) number & 0xffffu : 0);
                        return 0;
                }
        return runtime_error(ret_error, EINVAL, "seccomp: invalid action \"%s\"", name ? name : "");
}

/* A profile on its way to a program. */
typedef struct Compilation {
        scmp_filter_ctx filter;
        SeccompFront front;
        json_t *uses; /* owned; in how many rules each name is */
        uint32_t default_action;
} Compilation;

static void compilation_clear(Compilation *compilation)
{
        cleanup_seccomp_ptr(&compilation->filter);
        json_decref(compilation->uses);
}

static int arch_add(Compilation *compilation, uint32_t token)
{
        int r = seccomp_arch_add(compilation->filter, token);

        return r < 0 && r != -EEXIST ? r : seccomp_front_add_arch(&compilation->front, token);
}

static int architectures_add(const json_t *seccomp, Compilation *compilation, Error *ret_error)
{
        json_t *name;
        uint32_t native = seccomp_arch_native();
        size_t i;
        int r = arch_add(compilation, native);

        json_array_foreach(json_get_array(seccomp, "architectures"), i, name) {
                char lower[32] = "";
                const char *word = str_after_prefix(json_string_value(name), "SCMP_ARCH_");
                uint32_t token;

                for (size_t j = 0; word && word[j] && j + 1 < sizeof(lower); j++)
                        lower[j] = (char) (word[j] >= 'A' && word[j] <= 'Z' ? word[j] - 'A' + 'a' : word[j]);
                token = seccomp_arch_resolve_name(lower);
                if (token == 0)
                        return runtime_error(ret_error, EINVAL, "seccomp: unknown architecture \"%s\"",
                                             json_is_string(name) ? json_string_value(name) : "");
                if (r >= 0 && token != native)
                        r = arch_add(compilation, token);
        }
        return r;
}

static int argument_parse(const json_t *object, struct scmp_arg_cmp *ret, Error *ret_error)
{
        const char *op = json_get_string(object, "op");
        int64_t index = json_get_int(object, "index", -1);

        if (index < 0 || index > 5)
                return runtime_error(ret_error, EINVAL, "seccomp: invalid argument index");
        for (size_t i = 0; i < ARRAY_SIZE(operators); i++)
                if (str_equal(operators[i].name, op)) {
                        *ret = (struct scmp_arg_cmp) {
                                .arg = (unsigned int) index,
                                .op = operators[i].op,
                                .datum_a = (scmp_datum_t) json_get_int(object, "value", 0),
                                .datum_b = (scmp_datum_t) json_get_int(object, "valueTwo", 0),
                        };
                        return 0;
                }
        return runtime_error(ret_error, EINVAL, "seccomp: invalid operator \"%s\"", op ? op : "");
}

/* Adds one name's rules. Conditions on different arguments must all hold; several on one argument are alternatives. */
static int rule_add(scmp_filter_ctx filter, uint32_t action, int number, const struct scmp_arg_cmp *arguments, size_t n)
{
        unsigned int seen = 0;
        bool alternatives = false;

        for (size_t i = 0; i < n; i++) {
                alternatives = alternatives || (seen & (1u << arguments[i].arg));
                seen |= 1u << arguments[i].arg;
        }
        if (!alternatives)
                return seccomp_rule_add_array(filter, action, number, (unsigned int) n, arguments);
        for (size_t i = 0; i < n; i++) {
                int r = seccomp_rule_add_array(filter, action, number, 1, arguments + i);

                if (r < 0)
                        return r;
        }
        return 0;
}

/* Of a name in several rules the library knows which of them counts. */
static bool is_allowed_plainly(Compilation *compilation, uint32_t action, const char *name, size_t n)
{
        return action == SCMP_ACT_ALLOW && n == 0 && json_get_int(compilation->uses, name, 0) == 1 &&
               seccomp_front_allow(&compilation->front, name);
}

static int name_add(Compilation *compilation, uint32_t action, const char *name, const struct scmp_arg_cmp *arguments,
                    size_t n)
{
        int number = seccomp_syscall_resolve_name(name), r;

        seccomp_front_note(&compilation->front, name);
        /* A name that the installed libseccomp does not know cannot be allowed; the program sees ENOSYS or EPERM. */
        if (number == __NR_SCMP_ERROR || is_allowed_plainly(compilation, action, name, n))
                return 0;
        r = rule_add(compilation->filter, action, number, arguments, n);
        /* The library's own refusal of a rule that says what the default says already. */
        return r == -EACCES || r == -EEXIST ? 0 : r;
}

static int entry_add(const json_t *entry, Compilation *compilation, Error *ret_error)
{
        struct scmp_arg_cmp arguments[6];
        json_t *names = json_get_array(entry, "names"), *args = json_get_array(entry, "args"), *item;
        uint32_t action;
        size_t i, n = json_array_size(args);
        int r;

        r = action_parse(json_get_string(entry, "action"), json_get_int(entry, "errnoRet", EPERM), &action, ret_error);
        if (r < 0)
                return r;
        if (n > ARRAY_SIZE(arguments))
                return runtime_error(ret_error, EINVAL, "seccomp: too many arguments in a rule");
        json_array_foreach(args, i, item) {
                r = argument_parse(item, arguments + i, ret_error);
                if (r < 0)
                        return r;
        }
        if (action == compilation->default_action)
                return 0;
        json_array_foreach(names, i, item) {
                const char *name = json_is_string(item) ? json_string_value(item) : "";

                r = name_add(compilation, action, name, arguments, n);
                if (r < 0)
                        return runtime_error(ret_error, -r, "seccomp: rule for %s", name);
        }
        return 0;
}

static int count_uses(const json_t *seccomp, Compilation *compilation)
{
        json_t *entry, *name;
        size_t i, j;

        compilation->uses = json_object();
        json_array_foreach(json_get_array(seccomp, "syscalls"), i, entry)
                json_array_foreach(json_get_array(entry, "names"), j, name) {
                        const char *text = json_is_string(name) ? json_string_value(name) : "";
                        int64_t uses = json_get_int(compilation->uses, text, 0) + 1;

                        if (json_object_set_new(compilation->uses, text, json_integer(uses)) < 0)
                                return -ENOMEM;
                }
        return 0;
}

/* libseccomp's program behind the front. */
static int export(const Compilation *compilation, void **ret_program, size_t *ret_size)
{
        CLEANUP_CLOSE int fd = memfd_create("seccomp", MFD_CLOEXEC);
        CLEANUP_FREE struct sock_filter *front = NULL;
        CLEANUP_FREE char *program = NULL;
        size_t front_size, n;
        struct stat st;
        int r;

        if (fd < 0)
                return -errno;
        r = seccomp_export_bpf(compilation->filter, fd);
        if (r >= 0)
                r = seccomp_front_assemble(&compilation->front, &front, &n);
        if (r < 0)
                return r;
        front_size = n * sizeof(*front);
        if (fstat(fd, &st) < 0)
                return -errno;
        if ((size_t) st.st_size + front_size > PROGRAM_MAX)
                return -E2BIG;
        program = malloc((size_t) st.st_size + front_size);
        if (!program)
                return -ENOMEM;
        memcpy(program, front, front_size);
        if (pread(fd, program + front_size, (size_t) st.st_size, 0) != st.st_size)
                return -EIO;
        *ret_size = (size_t) st.st_size + front_size;
        *ret_program = TAKE_PTR(program);
        return 0;
}

int runtime_seccomp_compile(const json_t *seccomp, void **ret_program, size_t *ret_size, Error *ret_error)
{
        CLEANUP(compilation_clear) Compilation compilation = {};
        json_t *entry;
        int64_t default_errno = json_get_int(seccomp, "defaultErrnoRet", EPERM);
        size_t i;
        int r;

        r = action_parse(json_get_string(seccomp, "defaultAction"), default_errno, &compilation.default_action,
                         ret_error);
        if (r < 0)
                return r;
        compilation.front.refuses_unknown = compilation.default_action == SCMP_ACT_ERRNO(EPERM);
        compilation.filter = seccomp_init(compilation.default_action);
        if (!compilation.filter)
                return -ENOMEM;
        /* A binary tree over the numbers; libraries too old for it build the long list. */
        (void) seccomp_attr_set(compilation.filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        r = count_uses(seccomp, &compilation);
        if (r >= 0)
                r = architectures_add(seccomp, &compilation, ret_error);
        json_array_foreach(json_get_array(seccomp, "syscalls"), i, entry) {
                if (r >= 0)
                        r = entry_add(entry, &compilation, ret_error);
        }
        if (r < 0)
                return r;
        r = export(&compilation, ret_program, ret_size);
        return r < 0 ? runtime_error(ret_error, -r, "seccomp: exporting the filter") : 0;
}

static int flags_parse(const json_t *seccomp, unsigned int *ret, Error *ret_error)
{
        json_t *list = json_get_array(seccomp, "flags"), *item;
        unsigned int flags = list ? 0 : SECCOMP_FILTER_FLAG_SPEC_ALLOW;
        size_t i;

        json_array_foreach(list, i, item) {
                size_t j = 0;

                while (j < ARRAY_SIZE(filter_flags) && !str_equal(filter_flags[j].name, json_string_value(item)))
                        j++;
                if (j == ARRAY_SIZE(filter_flags))
                        return runtime_error(ret_error, EINVAL, "seccomp: unknown flag \"%s\"",
                                             json_is_string(item) ? json_string_value(item) : "");
                flags |= filter_flags[j].flag;
        }
        *ret = flags;
        return 0;
}

int runtime_seccomp_load(const json_t *config, RuntimeSeccomp *ret, Error *ret_error)
{
        json_t *object = json_get_object(json_get_object(config, "linux"), "seccomp");
        const char *file = json_get_string(json_get_object(config, "annotations"), "berth.seccomp");
        RuntimeSeccomp seccomp = {};
        void *program = NULL;
        char *data = NULL;
        int r;

        *ret = seccomp;
        r = flags_parse(object, &seccomp.flags, ret_error);
        if (r < 0 || (!object && !file))
                return r;
        if (file && file_read_at(AT_FDCWD, file, PROGRAM_MAX, &data, &seccomp.size) >= 0) {
                if (seccomp.size == 0 || seccomp.size % sizeof(struct sock_filter) != 0) {
                        free(data);
                        return runtime_error(ret_error, EINVAL, "seccomp: %s is no program", file);
                }
                seccomp.program = (void *) data;
        } else if (object) {
                r = runtime_seccomp_compile(object, &program, &seccomp.size, ret_error);
                if (r < 0)
                        return r;
                seccomp.program = program;
        } else
                return runtime_error(ret_error, ENOENT, "seccomp: reading %s", file);
        *ret = seccomp;
        return 0;
}
