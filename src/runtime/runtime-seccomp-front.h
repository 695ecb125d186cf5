/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The head of a system call filter: instructions in front of libseccomp's program that decide what needs no look at
 * arguments. libseccomp compares with one number after the other; here neighbouring numbers are one range, which leaves
 * a third of the instructions. The kernel checks and translates all of them for each process that gets the filter. */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECCOMP_ARCHITECTURES_MAX 8
#define SECCOMP_NUMBERS_MAX 1024u

/* System call numbers of x32 carry this bit. */
#define SECCOMP_X32_BIT 0x40000000u

typedef struct SeccompFrontArch {
        uint32_t token; /* of libseccomp */
        int highest;    /* number that the profile names, whatever it says of it; -1: none */
        uint64_t allowed[SECCOMP_NUMBERS_MAX / 64];
} SeccompFrontArch;

typedef struct SeccompFront {
        SeccompFrontArch archs[SECCOMP_ARCHITECTURES_MAX];
        size_t n;
        bool refuses_unknown; /* numbers above the highest are answered with ENOSYS */
} SeccompFront;

/* -E2BIG when there are too many. */
int seccomp_front_add_arch(SeccompFront *front, uint32_t token);

/* Keeps in mind that the profile knows NAME. */
void seccomp_front_note(SeccompFront *front, const char *name);

/* Allows NAME with any arguments, if it is a plain number or unknown on each architecture. False: it is not, and
 * nothing has changed. */
bool seccomp_front_allow(SeccompFront *front, const char *name);

/* The instructions; a call they do not decide runs on behind them. The caller frees the program. -E2BIG when it is
 * longer than the kernel takes. */
int seccomp_front_assemble(const SeccompFront *front, struct sock_filter **ret_program, size_t *ret_n);
