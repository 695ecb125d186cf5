/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "runtime-seccomp-front.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>

#include "berth/cleanup.h"
#include "berth/string.h"

/* A conditional jump passes so many instructions at the most. */
#define JUMP_MAX 255u
#define PROGRAM_MAX ((size_t) BPF_MAXINSNS)
/* The numbers of two tables, each range of one number, and what is around them. */
#define RANGES_MAX (2 * SECCOMP_NUMBERS_MAX + 4)

typedef enum Verdict {
        VERDICT_LATER, /* libseccomp's program decides */
        VERDICT_ALLOW,
        VERDICT_UNKNOWN,
} Verdict;

/* From this number up to the next range's. */
typedef struct Range {
        uint32_t first;
        Verdict verdict;
} Range;

typedef struct Ranges {
        Range items[RANGES_MAX];
        size_t n;
} Ranges;

typedef struct Assembly {
        struct sock_filter *code; /* owned, of PROGRAM_MAX instructions */
        size_t n;
        bool overflow;
        /* The last instruction that gives each verdict. */
        size_t at[VERDICT_UNKNOWN + 1];
        bool has[VERDICT_UNKNOWN + 1];
} Assembly;

static void assembly_clear(Assembly *assembly)
{
        free(assembly->code);
}

int seccomp_front_add_arch(SeccompFront *front, uint32_t token)
{
        if (front->n >= ARRAY_SIZE(front->archs))
                return -E2BIG;
        front->archs[front->n++] = (SeccompFrontArch) { .token = token, .highest = -1 };
        return 0;
}

/* Negative: the architecture has no such call, or none with a number of its own. */
static int number_of(const SeccompFrontArch *arch, const char *name)
{
        int number = seccomp_syscall_resolve_name_arch(arch->token, name);

        return arch->token == SCMP_ARCH_X32 && number > 0 ? (int) ((unsigned int) number & ~SECCOMP_X32_BIT) : number;
}

void seccomp_front_note(SeccompFront *front, const char *name)
{
        for (size_t i = 0; i < front->n; i++)
                front->archs[i].highest = MAX(front->archs[i].highest, number_of(&front->archs[i], name));
}

/* libseccomp has negative numbers of its own for calls that an architecture does not have, and for those it has by way
 * of another (socket() by socketcall()), which its rules treat as both. */
static bool is_plain(const SeccompFrontArch *arch, const char *name)
{
        int number = number_of(arch, name);

        if (number >= 0)
                return (unsigned int) number < SECCOMP_NUMBERS_MAX;
        return number != __NR_SCMP_ERROR && seccomp_syscall_resolve_name_rewrite(arch->token, name) == number;
}

bool seccomp_front_allow(SeccompFront *front, const char *name)
{
        for (size_t i = 0; i < front->n; i++)
                if (!is_plain(&front->archs[i], name))
                        return false;
        for (size_t i = 0; i < front->n; i++) {
                int number = number_of(&front->archs[i], name);

                if (number >= 0)
                        front->archs[i].allowed[number / 64] |= UINT64_C(1) << (number % 64);
        }
        return true;
}

/* --- ranges ------------------------------------------------------------------------------------------------------- */

static void ranges_add(Ranges *ranges, uint32_t first, Verdict verdict)
{
        Range *last = ranges->n > 0 ? &ranges->items[ranges->n - 1] : NULL;

        if (last && last->verdict == verdict)
                return;
        if (last && last->first == first) {
                last->verdict = verdict;
                return;
        }
        ranges->items[ranges->n++] = (Range) { first, verdict };
}

static void ranges_add_arch(Ranges *ranges, const SeccompFront *front, const SeccompFrontArch *arch, uint32_t base)
{
        for (uint32_t number = 0; number < SECCOMP_NUMBERS_MAX; number++) {
                bool unknown = front->refuses_unknown && arch->highest >= 0 && number > (uint32_t) arch->highest;
                bool allowed = arch->allowed[number / 64] >> (number % 64) & 1;

                ranges_add(ranges, base + number, allowed ? VERDICT_ALLOW : unknown ? VERDICT_UNKNOWN : VERDICT_LATER);
        }
        if (front->refuses_unknown && arch->highest >= 0)
                ranges_add(ranges, base + MAX((uint32_t) arch->highest + 1, SECCOMP_NUMBERS_MAX), VERDICT_UNKNOWN);
}

static uint32_t audit_arch(uint32_t token)
{
        return token == SCMP_ARCH_X32 ? (uint32_t) AUDIT_ARCH_X86_64 : token;
}

/* All numbers of an architecture as the kernel tells them apart: x86_64 and x32 are one. */
static void ranges_make(Ranges *ranges, const SeccompFront *front, uint32_t arch)
{
        ranges->n = 0;
        ranges_add(ranges, 0, VERDICT_LATER);
        for (size_t i = 0; i < front->n; i++)
                if (front->archs[i].token == arch)
                        ranges_add_arch(ranges, front, &front->archs[i], 0);
        if (arch != AUDIT_ARCH_X86_64)
                return;
        ranges_add(ranges, SECCOMP_X32_BIT, VERDICT_LATER);
        for (size_t i = 0; i < front->n; i++)
                if (front->archs[i].token == SCMP_ARCH_X32)
                        ranges_add_arch(ranges, front, &front->archs[i], SECCOMP_X32_BIT);
}

/* --- instructions, from the last to the first, as jumps lead forwards --------------------------------------------- */

static size_t emit(Assembly *assembly, struct sock_filter instruction)
{
        if (assembly->n < PROGRAM_MAX)
                assembly->code[assembly->n++] = instruction;
        else
                assembly->overflow = true;
        return assembly->n - 1;
}

/* TARGET, or a jump there, so that the next instruction and the one after it reach it by a conditional jump. */
static size_t within_reach(Assembly *assembly, size_t target)
{
        if (assembly->n - target < JUMP_MAX)
                return target;
        return emit(assembly, (struct sock_filter) BPF_STMT(BPF_JMP | BPF_JA, (uint32_t) (assembly->n - target - 1)));
}

/* An instruction that gives this verdict: one that is near or a new one. */
static size_t emit_verdict(Assembly *assembly, Verdict verdict)
{
        const struct sock_filter verdicts[] = {
                [VERDICT_LATER] = BPF_STMT(BPF_JMP | BPF_JA, (uint32_t) assembly->n),
                [VERDICT_ALLOW] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                [VERDICT_UNKNOWN] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        };

        if (!assembly->has[verdict] || assembly->n - assembly->at[verdict] >= JUMP_MAX) {
                assembly->at[verdict] = emit(assembly, verdicts[verdict]);
                assembly->has[verdict] = true;
        }
        return assembly->at[verdict];
}

/* A binary search for the range of the number in the accumulator; the recursion is as deep as the logarithm of N. */
static size_t emit_tree(Assembly *assembly, const Range *ranges, size_t n)
{
        if (n == 1)
                return emit_verdict(assembly, ranges->verdict);
        size_t right = emit_tree(assembly, ranges + n / 2, n - n / 2);
        size_t left = emit_tree(assembly, ranges, n / 2);

        right = within_reach(assembly, right);
        left = within_reach(assembly, left);
        return emit(assembly, (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, ranges[n / 2].first,
                                                            (uint8_t) (assembly->n - right - 1),
                                                            (uint8_t) (assembly->n - left - 1)));
}

/* In front of it the accumulator has the architecture; another one's way leads to NEXT. */
static size_t emit_arch(Assembly *assembly, const Ranges *ranges, uint32_t arch, size_t next)
{
        size_t tree = emit_tree(assembly, ranges->items, ranges->n), load;

        if (tree != assembly->n - 1)
                emit(assembly, (struct sock_filter) BPF_STMT(BPF_JMP | BPF_JA, (uint32_t) (assembly->n - tree - 1)));
        load = emit(assembly,
                    (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
        next = within_reach(assembly, next);
        return emit(assembly,
                    (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, (uint8_t) (assembly->n - load - 1),
                                                  (uint8_t) (assembly->n - next - 1)));
}

static bool seen_before(const SeccompFront *front, size_t i)
{
        for (size_t j = 0; j < i; j++)
                if (audit_arch(front->archs[j].token) == audit_arch(front->archs[i].token))
                        return true;
        return false;
}

static void turn_round(Assembly *assembly)
{
        for (size_t i = 0; i < assembly->n / 2; i++) {
                struct sock_filter first = assembly->code[i];

                assembly->code[i] = assembly->code[assembly->n - i - 1];
                assembly->code[assembly->n - i - 1] = first;
        }
}

int seccomp_front_assemble(const SeccompFront *front, struct sock_filter **ret_program, size_t *ret_n)
{
        CLEANUP(assembly_clear) Assembly assembly = { .code = calloc(PROGRAM_MAX, sizeof(struct sock_filter)) };
        CLEANUP_FREE Ranges *ranges = malloc(sizeof(*ranges));
        size_t next;

        if (!assembly.code || !ranges)
                return -ENOMEM;
        next = emit_verdict(&assembly, VERDICT_LATER);
        for (size_t i = front->n; i-- > 0;) {
                if (seen_before(front, i))
                        continue;
                ranges_make(ranges, front, audit_arch(front->archs[i].token));
                next = emit_arch(&assembly, ranges, audit_arch(front->archs[i].token), next);
        }
        emit(&assembly, (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
        if (assembly.overflow)
                return -E2BIG;
        turn_round(&assembly);
        *ret_program = TAKE_PTR(assembly.code);
        *ret_n = assembly.n;
        return 0;
}
