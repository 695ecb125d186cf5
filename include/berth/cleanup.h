/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Scope-bound release of memory, descriptors and library objects, by the compiler's cleanup attribute. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Runs FUNC with a pointer to the variable when the variable leaves scope. That is a use, which clang does not see. */
#define CLEANUP(func) __attribute__((cleanup(func), unused))

/* Moves the value out of a variable and leaves its empty value behind, so that its cleanup finds nothing. */
#define TAKE_PTR(ptr)                       \
        ({                                  \
                __typeof__(ptr) _p = (ptr); \
                (ptr) = NULL;               \
                _p;                         \
        })
#define TAKE_FD(fd)             \
        ({                      \
                int _fd = (fd); \
                (fd) = -EBADF;  \
                _fd;            \
        })

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Defines TYPE_cleanup() for a destructor FUNC that takes NULL. */
#define DEFINE_CLEANUP(name, type, func) \
        static inline void name(type *p) \
        {                                \
                if (*p)                  \
                        func(*p);        \
        }

static inline void cleanup_free_ptr(void *p)
{
        int saved = errno;

        free(*(void **) p);
        errno = saved;
}

/* Closes a descriptor that is not negative; errno is preserved. Returns -EBADF, to be assigned back. */
static inline int fd_close(int fd)
{
        if (fd >= 0) {
                int saved = errno;

                close(fd);
                errno = saved;
        }
        return -EBADF;
}

static inline void cleanup_close_fd(int *fd)
{
        fd_close(*fd);
}

DEFINE_CLEANUP(cleanup_fclose_ptr, FILE *, fclose)
DEFINE_CLEANUP(cleanup_closedir_ptr, DIR *, closedir)
DEFINE_CLEANUP(cleanup_json_ptr, json_t *, json_decref)

#define CLEANUP_FREE CLEANUP(cleanup_free_ptr)
#define CLEANUP_CLOSE CLEANUP(cleanup_close_fd)
#define CLEANUP_FCLOSE CLEANUP(cleanup_fclose_ptr)
#define CLEANUP_CLOSEDIR CLEANUP(cleanup_closedir_ptr)
#define CLEANUP_JSON CLEANUP(cleanup_json_ptr)
