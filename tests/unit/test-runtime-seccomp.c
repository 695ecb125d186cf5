/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The compiled filter beside one that libseccomp makes alone of the same rules: both are interpreted for every number
 * of every architecture, with several arguments, and must agree; but that numbers above all that the profile names are
 * unknown, not forbidden. */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "berth/json.h"
#include "berth/string.h"
#include "runtime-private.h"
#include "runtime-seccomp-front.h"

#define NUMBERS 1200u

typedef struct Program {
        struct sock_filter *code; /* owned */
        size_t n;
} Program;

static void program_clear(Program *program)
{
        free(program->code);
}

/* What seccomp(2) makes of a call; the instructions libseccomp and the front are made of, and no others. */
static uint32_t interpret(const Program *program, const struct seccomp_data *data)
{
        uint32_t accumulator = 0;

        for (size_t i = 0; i < program->n; i++) {
                const struct sock_filter *at = &program->code[i];

                switch (at->code) {
                case BPF_LD | BPF_W | BPF_ABS:
                        assert_in_range(at->k, 0, sizeof(*data) - 4);
                        memcpy(&accumulator, (const char *) data + at->k, sizeof(accumulator));
                        break;
                case BPF_ALU | BPF_AND | BPF_K:
                        accumulator &= at->k;
                        break;
                case BPF_JMP | BPF_JA:
                        i += at->k;
                        break;
                case BPF_JMP | BPF_JEQ | BPF_K:
                        i += accumulator == at->k ? at->jt : at->jf;
                        break;
                case BPF_JMP | BPF_JGT | BPF_K:
                        i += accumulator > at->k ? at->jt : at->jf;
                        break;
                case BPF_JMP | BPF_JGE | BPF_K:
                        i += accumulator >= at->k ? at->jt : at->jf;
                        break;
                case BPF_RET | BPF_K:
                        return at->k;
                default:
                        fail_msg("instruction %#x at %zu", at->code, i);
                }
        }
        fail_msg("the program has no end");
        return 0;
}

/* Rules of every kind: six of seven calls that have a name are allowed; of the others one in four has a condition on an
 * argument, one is refused with a number of its own, one is in two rules, and one is not named. */
static json_t *make_profile(void)
{
        json_t *plain = json_array(), *refused = json_array(), *twice = json_array(), *conditional = json_array();

        for (int number = 0; number < 450; number++) {
                CLEANUP_FREE char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
                json_t *lists[] = { refused, twice, conditional };

                if (name && number % 7 != 3)
                        json_array_append_new(plain, json_string(name));
                else if (name && number / 7 % 4 < 3)
                        json_array_append_new(lists[number / 7 % 4], json_string(name));
        }
        /* Names of other architectures, and calls that one of them has in two guises. */
        const char *const others[] = { "socketcall", "ipc", "chown32", "stat64", "_llseek", "nosuchcall" };
        for (size_t i = 0; i < ARRAY_SIZE(others); i++)
                json_array_append_new(plain, json_string(others[i]));
        return json_pack("{ss si s[sss] s[{so ss} {so ss si} {sO ss} {so ss s[{si sI sI ss}]} {so ss s[{si sI ss}]}]}",
                         "defaultAction", "SCMP_ACT_ERRNO", "defaultErrnoRet", 1, "architectures", "SCMP_ARCH_X86_64",
                         "SCMP_ARCH_X86", "SCMP_ARCH_X32", "syscalls", "names", plain, "action", "SCMP_ACT_ALLOW",
                         "names", refused, "action", "SCMP_ACT_ERRNO", "errnoRet", 38, "names", twice, "action",
                         "SCMP_ACT_ALLOW", "names", twice, "action", "SCMP_ACT_ALLOW", "args", "index", 0, "value",
                         (json_int_t) 0x7e020000, "valueTwo", (json_int_t) 0, "op", "SCMP_CMP_MASKED_EQ", "names",
                         conditional, "action", "SCMP_ACT_ALLOW", "args", "index", 0, "value", (json_int_t) 40, "op",
                         "SCMP_CMP_NE");
}

static void add_rules(scmp_filter_ctx filter, const json_t *entry)
{
        bool allow = str_equal(json_get_string(entry, "action"), "SCMP_ACT_ALLOW");
        uint32_t action = allow ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(json_get_int(entry, "errnoRet", EPERM));
        json_t *args = json_get_array(entry, "args"), *name;
        size_t i;

        json_array_foreach(json_get_array(entry, "names"), i, name) {
                int number = seccomp_syscall_resolve_name(json_string_value(name)), r = 0;
                bool masked = str_equal(json_get_string(json_array_get(args, 0), "op"), "SCMP_CMP_MASKED_EQ");

                if (number == __NR_SCMP_ERROR)
                        continue;
                if (!args)
                        r = seccomp_rule_add(filter, action, number, 0);
                else if (masked)
                        r = seccomp_rule_add(filter, action, number, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, 0x7e020000, 0));
                else
                        r = seccomp_rule_add(filter, action, number, 1, SCMP_A0(SCMP_CMP_NE, 40, 0));
                assert_true(r == 0 || r == -EEXIST);
        }
}

static void make_reference(const json_t *profile, Program *ret)
{
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
        CLEANUP_CLOSE int fd = memfd_create("reference", MFD_CLOEXEC);
        struct stat st;
        json_t *entry;
        size_t i;

        assert_true(seccomp_arch_add(filter, SCMP_ARCH_X86_64) == 0 ||
                    seccomp_arch_exist(filter, SCMP_ARCH_X86_64) == 0);
        assert_int_equal(seccomp_arch_add(filter, SCMP_ARCH_X86), 0);
        assert_int_equal(seccomp_arch_add(filter, SCMP_ARCH_X32), 0);
        json_array_foreach(json_get_array(profile, "syscalls"), i, entry)
                add_rules(filter, entry);
        assert_int_equal(seccomp_export_bpf(filter, fd), 0);
        seccomp_release(filter);
        assert_int_equal(fstat(fd, &st), 0);
        ret->code = malloc((size_t) st.st_size);
        ret->n = (size_t) st.st_size / sizeof(*ret->code);
        assert_int_equal(pread(fd, ret->code, (size_t) st.st_size, 0), st.st_size);
}

static int highest_number(const json_t *profile, uint32_t token)
{
        int highest = -1;
        json_t *entry, *name;
        size_t i, j;

        json_array_foreach(json_get_array(profile, "syscalls"), i, entry)
                json_array_foreach(json_get_array(entry, "names"), j, name) {
                        int number = seccomp_syscall_resolve_name_arch(token, json_string_value(name));

                        highest = MAX(highest, number);
                }
        return highest;
}

static void compare(const Program *program, const Program *reference, uint32_t arch, uint32_t base, int highest)
{
        static const uint64_t arguments[] = { 0, 1, 40, 0x7e020000, 0x10000000, UINT64_MAX, UINT64_C(40) << 32 };

        for (uint32_t number = 0; number < NUMBERS; number++)
                for (size_t i = 0; i < ARRAY_SIZE(arguments); i++) {
                        struct seccomp_data data = { .arch = arch,
                                                     .nr = (int) (base + number),
                                                     .args = { arguments[i] } };
                        uint32_t got = interpret(program, &data), want = interpret(reference, &data);

                        if (highest >= 0 && (int) (base + number) > highest)
                                want = SECCOMP_RET_ERRNO | ENOSYS;
                        if (got != want)
                                fail_msg("architecture %#x, call %u, argument %#llx: %#x and not %#x", arch, number,
                                         (unsigned long long) arguments[i], got, want);
                }
}

static void test_agrees_with_libseccomp(void **state)
{
        CLEANUP_JSON json_t *profile = make_profile();
        CLEANUP(program_clear) Program program = {}, reference = {};
        size_t size;

        (void) state;
        assert_non_null(profile);
        assert_int_equal(runtime_seccomp_compile(profile, (void **) &program.code, &size, NULL), 0);
        program.n = size / sizeof(*program.code);
        make_reference(profile, &reference);
        assert_true(program.n < reference.n * 3 / 4);
        compare(&program, &reference, AUDIT_ARCH_X86_64, 0, highest_number(profile, SCMP_ARCH_X86_64));
        compare(&program, &reference, AUDIT_ARCH_I386, 0, highest_number(profile, SCMP_ARCH_X86));
        compare(&program, &reference, AUDIT_ARCH_X86_64, SECCOMP_X32_BIT, highest_number(profile, SCMP_ARCH_X32));
        compare(&program, &reference, AUDIT_ARCH_S390X, 0, -1);
        /* What no number of either table is. */
        compare(&program, &reference, AUDIT_ARCH_X86_64, SECCOMP_X32_BIT - NUMBERS,
                highest_number(profile, SCMP_ARCH_X86_64));
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_agrees_with_libseccomp) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
