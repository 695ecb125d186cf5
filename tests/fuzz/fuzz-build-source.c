/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A source of an ADD, and on a second line a Content-Disposition: a file's name is one, and what is given to git is no
 * option and one word. */
#include <stdint.h>
#include <stdlib.h>

#include "berth/build.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *url, const char *disposition)
{
        CLEANUP_FREE char *name = NULL;

        if (build_url_name(url, disposition, &name) != 0)
                return;
        if (strchr(name, '/') || str_equal(name, ".") || str_equal(name, "..") || strlen(name) > 255)
                abort();
        for (const char *p = name; *p; p++)
                if ((unsigned char) *p < ' ')
                        abort();
}

static void check_git(const char *source)
{
        CLEANUP(build_git_clear) BuildGit git = { 0 };
        CLEANUP_ERROR Error error = { 0 };

        if (!build_is_git(source) || build_git_parse(source, &git, &error) != 0)
                return;
        if (!str_after_prefix(git.remote, "http://") && !str_after_prefix(git.remote, "https://") &&
            !str_after_prefix(git.remote, "git://"))
                abort();
        if (strpbrk(git.remote, " \t\r\n#") || strpbrk(git.ref, " \t\r\n:^") || *git.ref == '-' || !*git.ref)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        CLEANUP_FREE char *text = strndup((const char *) data, size);
        char *disposition = strchr(text, '\n');

        if (disposition)
                *disposition++ = 0;
        check_name(text, disposition);
        check_git(text);
        return 0;
}
