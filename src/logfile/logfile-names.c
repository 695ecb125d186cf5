/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding the files of a log by listing their directory: gaps in the numbers do no harm. */
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/logfile.h"
#include "berth/string.h"

char *logfile_path(const char *name, unsigned number, bool compressed)
{
        return number == 0 ? strdup(name) : str_printf("%s.%u%s", name, number, compressed ? ".gz" : "");
}

/* True for a file of the log. */
static bool parse_name(const char *entry, const char *name, LogfileName *ret)
{
        const char *rest = str_after_prefix(entry, name);
        char number[12] = "";
        int64_t value;
        size_t n;

        *ret = (LogfileName) {};
        if (!rest || *rest == '\0')
                return rest != NULL;
        n = *rest == '.' ? strspn(rest + 1, "0123456789") : 0;
        if (n == 0 || n >= sizeof(number) || rest[1] == '0')
                return false;
        memcpy(number, rest + 1, n);
        ret->compressed = str_equal(rest + 1 + n, ".gz");
        if ((rest[1 + n] != '\0' && !ret->compressed) || str_to_int64(number, 1, INT32_MAX, &value) < 0)
                return false;
        ret->number = (unsigned) value;
        return true;
}

/* Oldest first, the plain one before the compressed one. */
static int compare(const void *a, const void *b)
{
        const LogfileName *x = a, *y = b;

        if (x->number != y->number)
                return x->number < y->number ? 1 : -1;
        return (int) x->compressed - (int) y->compressed;
}

static int add(int directory, const char *entry, LogfileName *found, LogfileName **names, size_t *n)
{
        struct stat st;
        LogfileName *grown;

        if (fstatat(directory, entry, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (!S_ISREG(st.st_mode))
                return 0;
        found->inode = st.st_ino;
        found->modified_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
        grown = reallocarray(*names, *n + 1, sizeof(**names));
        if (!grown)
                return -ENOMEM;
        *names = grown;
        grown[(*n)++] = *found;
        return 0;
}

int logfile_open_directory(const char *path, const char **ret_name)
{
        const char *slash = strrchr(path, '/');
        CLEANUP_FREE char *parent = slash ? strndup(path, (size_t) (slash - path) + 1) : strdup(".");
        int fd = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

        if (fd < 0)
                return parent ? -errno : -ENOMEM;
        *ret_name = slash ? slash + 1 : path;
        return fd;
}

int logfile_list(int directory, const char *name, LogfileName **ret_names, size_t *ret_n)
{
        CLEANUP_CLOSE int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CLEANUP_CLOSEDIR DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        CLEANUP_FREE LogfileName *names = NULL;
        struct dirent *entry;
        size_t n = 0, kept = 0;

        if (!dir)
                return -errno;
        TAKE_FD(fd);
        while ((entry = readdir(dir))) {
                LogfileName found;
                int r = parse_name(entry->d_name, name, &found) ? add(directory, entry->d_name, &found, &names, &n) : 0;

                if (r < 0)
                        return r;
        }
        if (n > 0)
                qsort(names, n, sizeof(*names), compare);
        for (size_t i = 0; i < n; i++)
                if (kept == 0 || names[kept - 1].number != names[i].number)
                        names[kept++] = names[i];
        *ret_names = TAKE_PTR(names);
        *ret_n = kept;
        return 0;
}
