/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Git repositories as users write them: "https://host/path.git#ref:subdirectory", "git://...", "github.com/...". What
 * comes out of here is given to a program: nothing of it is an option, or more than one word. */
#include <ctype.h>

#include "berth/build.h"

#define LENGTH_MAX 4096

void build_git_clear(BuildGit *git)
{
        free(git->remote);
        free(git->ref);
        free(git->subdirectory);
        *git = (BuildGit) { 0 };
}

bool build_is_git(const char *source)
{
        size_t n = strcspn(source, "#");

        if (str_after_prefix(source, "git://") || str_after_prefix(source, "git@") ||
            str_after_prefix(source, "ssh://") || str_after_prefix(source, "github.com/"))
                return true;
        return build_is_url(source) && n > 4 && strncmp(source + n - 4, ".git", 4) == 0;
}

static bool is_one_word(const char *text)
{
        for (const char *p = text; *p; p++)
                if (iscntrl((unsigned char) *p) || isspace((unsigned char) *p))
                        return false;
        return strlen(text) <= LENGTH_MAX;
}

/* One that git could take for something else than a name is refused here, as it would be there. */
static bool is_ref(const char *ref)
{
        return *ref != '-' && *ref != '+' && is_one_word(ref) && !strpbrk(ref, "~^:?*[\\") && !strstr(ref, "..");
}

static bool is_remote(const char *remote)
{
        const char *host = strstr(remote, "://") + 3;

        return is_one_word(remote) && *host && *host != '-' && *host != '/';
}

int build_git_parse(const char *source, BuildGit *ret, Error *error)
{
        CLEANUP(build_git_clear) BuildGit git = { 0 };
        const char *fragment = strchr(source, '#') ? strchr(source, '#') + 1 : "";
        size_t n = strcspn(source, "#"), ref = strcspn(fragment, ":");

        if (str_after_prefix(source, "git@") || str_after_prefix(source, "ssh://"))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "Git repositories are fetched without keys, by http, https and git alone: %s", source);
        git.remote = str_printf("%s%.*s", str_after_prefix(source, "github.com/") ? "https://" : "", (int) n, source);
        git.ref = ref > 0 ? strndup(fragment, ref) : strdup("HEAD");
        git.subdirectory = strdup(fragment[ref] ? fragment + ref + 1 : "");
        if (!git.remote || !git.ref || !git.subdirectory)
                return -ENOMEM;
        if (!is_remote(git.remote))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid URL of a Git repository: %s", source);
        if (!is_ref(git.ref))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid refspec: %s", git.ref);
        *ret = git;
        git = (BuildGit) { 0 };
        return 0;
}
