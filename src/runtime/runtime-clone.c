/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting init. A fork would copy the page tables of what is still the engine, pay a fault for every page that either
 * side touches, and have the copy torn down by the exec a millisecond later; that was two thirds of a start's time. So
 * init borrows the parent's memory, on a stack of its own, as vfork(2) lends it: the parent stands still until init has
 * executed the user's program or has ended. Everything else (descriptors, credentials, signal handlers, working
 * directory) is a copy. Whatever init allocates is the parent's to lose at its own exec.
 *
 * Where the entry on the new stack is not written for the processor, and under the address sanitizer, which would take
 * the frames that never return for live ones, it is an ordinary fork. */
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "runtime-private.h"

#if (defined(__x86_64__) || defined(__aarch64__)) && !defined(__SANITIZE_ADDRESS__)
#define SHARES_MEMORY 1
#else
#define SHARES_MEMORY 0
#endif

#define STACK_SIZE ((size_t) 512 * 1024)
#define GUARD_SIZE ((size_t) 65536)

#if SHARES_MEMORY
static long clone_onto_stack(struct clone_args *args, void (*entry)(const void *), const void *argument)
{
#ifdef __x86_64__
        register void (*entry_register)(const void *) __asm__("r12") = entry;
        register const void *argument_register __asm__("r13") = argument;
        long r;

        __asm__ volatile("syscall\n\t"
                         "testq %%rax, %%rax\n\t"
                         "jnz 1f\n\t"
                         "xorl %%ebp, %%ebp\n\t"
                         "movq %[argument], %%rdi\n\t"
                         "callq *%[entry]\n\t"
                         "hlt\n"
                         "1:"
                         : "=a"(r)
                         : "0"(SYS_clone3), "D"(args),
                           "S"(sizeof(*args)), [entry] "r"(entry_register), [argument] "r"(argument_register)
                         : "rcx", "r11", "memory", "cc");
        return r;
#else
        register void (*entry_register)(const void *) __asm__("x19") = entry;
        register const void *argument_register __asm__("x20") = argument;
        register long number __asm__("x8") = SYS_clone3;
        register long r __asm__("x0") = (long) args;
        register size_t size __asm__("x1") = sizeof(*args);

        __asm__ volatile("svc #0\n\t"
                         "cbnz x0, 1f\n\t"
                         "mov x29, xzr\n\t"
                         "mov x30, xzr\n\t"
                         "mov x0, %[argument]\n\t"
                         "blr %[entry]\n\t"
                         "brk #0\n"
                         "1:"
                         : "+r"(r)
                         : "r"(number), "r"(size), [entry] "r"(entry_register), [argument] "r"(argument_register)
                         : "memory", "cc");
        return r;
#endif
}

static int clone_borrowing(struct clone_args *args, void (*entry)(const void *), const void *argument)
{
        char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

        if (stack == MAP_FAILED || mprotect(stack, GUARD_SIZE, PROT_NONE) < 0)
                return -errno;
        args->flags |= CLONE_VM | CLONE_VFORK;
        args->stack = (uintptr_t) stack;
        args->stack_size = STACK_SIZE;
        return (int) clone_onto_stack(args, entry, argument);
}
#endif

int runtime_clone(struct clone_args *args, void (*entry)(const void *), const void *argument)
{
#if SHARES_MEMORY
        return clone_borrowing(args, entry, argument);
#else
        pid_t pid = (pid_t) syscall(SYS_clone3, args, sizeof(*args));

        if (pid == 0)
                entry(argument);
        return pid < 0 ? -errno : pid;
#endif
}
