/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The grammar: [DOMAIN[:PORT]/]NAME[/NAME...][:TAG][@ALGORITHM:HEX]. The first part is a domain if it has a dot or a
 * colon in it, is "localhost", or has capitals. */
#include <ctype.h>
#include <string.h>

#include "berth/string.h"
#include "client-reference.h"
#include "client.h"

#define NAME_MAX_LENGTH 255
#define TAG_MAX_LENGTH 128

/* The length of the repository: up to a tag or digest. */
static size_t name_length(const char *reference)
{
        size_t n = strcspn(reference, "@");

        for (size_t i = n; i > 0 && reference[i - 1] != '/'; i--)
                if (reference[i - 1] == ':')
                        return i - 1;
        return n;
}

static bool is_domain(const char *name, size_t n)
{
        if (n == 9 && strncmp(name, "localhost", 9) == 0)
                return true;
        for (size_t i = 0; i < n; i++)
                if (name[i] == '.' || name[i] == ':' || isupper((unsigned char) name[i]))
                        return true;
        return false;
}

static const char *path_of(const char *reference, size_t n, size_t *ret_domain)
{
        const char *slash = memchr(reference, '/', n);

        *ret_domain = slash && is_domain(reference, slash - reference) ? (size_t) (slash - reference) : 0;
        return *ret_domain ? slash + 1 : reference;
}

char *client_reference_name(const char *reference)
{
        size_t n = name_length(reference);
        const char *short_name = reference;

        short_name = str_after_prefix(short_name, "docker.io/") ?: short_name;
        if (short_name != reference)
                short_name = str_after_prefix(short_name, "library/") ?: short_name;
        return client_must(strndup(short_name, reference + n - short_name));
}

/* Components of lower-case letters and digits, separated by one dot, one or two underscores, or dashes. */
static bool path_is_valid(const char *s, size_t n)
{
        bool separated = true;

        for (size_t i = 0; i < n;) {
                size_t run = i;

                if (islower((unsigned char) s[i]) || isdigit((unsigned char) s[i])) {
                        separated = false;
                        i++;
                        continue;
                }
                if (separated)
                        return false;
                while (run < n && s[run] == s[i])
                        run++;
                if ((s[i] == '.' && run - i > 1) || (s[i] == '_' && run - i > 2) || (s[i] == '/' && run - i > 1) ||
                    !strchr("._-/", s[i]))
                        return false;
                separated = true;
                i = run;
        }
        return !separated;
}

static bool tag_is_valid(const char *s, size_t n)
{
        if (n == 0 || n > TAG_MAX_LENGTH || s[0] == '.' || s[0] == '-')
                return false;
        for (size_t i = 0; i < n; i++)
                if (!isalnum((unsigned char) s[i]) && !strchr("._-", s[i]))
                        return false;
        return true;
}

int client_reference_check(const char *reference, Error *error)
{
        size_t n = name_length(reference), domain, tag = strcspn(reference, "@");
        const char *path = path_of(reference, n, &domain);
        size_t path_length = reference + n - path;

        if (id_is_prefix(reference) && strlen(reference) == ID_LENGTH)
                return 0;
        for (size_t i = 0; i < path_length; i++)
                if (isupper((unsigned char) path[i]))
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "invalid reference format: repository name (%s%.*s) must be lowercase",
                                         !domain && !memchr(path, '/', path_length) ? "library/" : "",
                                         (int) path_length, path);
        if (n > NAME_MAX_LENGTH || !path_is_valid(path, path_length) ||
            (tag > n && !tag_is_valid(reference + n + 1, tag - n - 1)) ||
            (reference[tag] == '@' && !strchr(reference + tag, ':')))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid reference format");
        return 0;
}

void client_reference_split(const char *reference, char **ret_name, char **ret_tag)
{
        size_t n = name_length(reference), domain;
        const char *path = path_of(reference, n, &domain), *at = strchr(reference, '@');
        bool bare = !memchr(path, '/', reference + n - path);

        if (domain)
                *ret_name = strndup(reference, n);
        else
                *ret_name = str_printf("docker.io/%s%.*s", bare ? "library/" : "", (int) n, reference);
        client_must(*ret_name);
        *ret_tag = client_must(strdup(at ? at + 1 : reference[n] == ':' ? reference + n + 1 : "latest"));
}

char *client_reference_familiar(const char *reference)
{
        CLEANUP_FREE char *name = NULL;
        size_t n = name_length(reference);

        if (id_is_prefix(reference) && strlen(reference) == ID_LENGTH)
                return NULL;
        name = client_reference_name(reference);
        return client_must(str_printf("%s%s", name, reference[n] ? reference + n : ":latest"));
}

bool client_reference_is_bare(const char *reference)
{
        return !reference[name_length(reference)];
}
