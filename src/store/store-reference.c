/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Docker's names of images: [DOMAIN/]PATH[:TAG][@DIGEST]. What is in front of the first slash is a domain if it has a
 * dot, a colon or a capital letter, or is "localhost"; otherwise the domain is docker.io, whose official images may
 * leave their "library/" out. */
#include <ctype.h>
#include <string.h>

#include "berth/store.h"
#include "berth/string.h"

#define DEFAULT_DOMAIN "docker.io"
#define LEGACY_DEFAULT_DOMAIN "index.docker.io"
#define OFFICIAL_PREFIX "library/"
#define DEFAULT_TAG "latest"
#define PATH_LENGTH_MAX 255
#define TAG_LENGTH_MAX 128

void store_reference_clear(StoreReference *reference)
{
        free(reference->domain);
        free(reference->path);
        free(reference->tag);
        free(reference->digest);
        *reference = (StoreReference) {};
}

static bool is_lower_alnum(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
        return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c)
{
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Words of lower-case letters and digits; between them one of . or _, or two _, or any number of -. */
static bool component_is_valid(const char *s, size_t size)
{
        size_t i = 0;

        for (;;) {
                size_t start = i;

                while (i < size && is_lower_alnum(s[i]))
                        i++;
                if (i == start)
                        return false;
                if (i == size)
                        return true;
                if (s[i] == '.')
                        i++;
                else if (s[i] == '_')
                        i += i + 1 < size && s[i + 1] == '_' ? 2 : 1;
                else if (s[i] == '-')
                        while (i < size && s[i] == '-')
                                i++;
                else
                        return false;
        }
}

static bool path_is_valid(const char *path)
{
        for (;;) {
                size_t n = strcspn(path, "/");

                if (!component_is_valid(path, n))
                        return false;
                if (!path[n])
                        return true;
                path += n + 1;
        }
}

static bool host_is_valid(const char *s, size_t size)
{
        size_t i = 0;

        if (size > 2 && s[0] == '[') {
                for (i = 1; i < size - 1; i++)
                        if (!is_hex(s[i]) && s[i] != ':')
                                return false;
                return s[size - 1] == ']';
        }
        while (i < size) {
                size_t start = i;

                while (i < size && (is_alnum(s[i]) || s[i] == '-'))
                        i++;
                if (i == start || s[start] == '-' || s[i - 1] == '-')
                        return false;
                if (i < size && (s[i] != '.' || ++i == size))
                        return false;
        }
        return size > 0;
}

static bool domain_is_valid(const char *domain)
{
        const char *end = *domain == '[' ? strchr(domain, ']') : NULL, *colon = strchr(end ?: domain, ':');

        if (!colon)
                return host_is_valid(domain, strlen(domain));
        return colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1) &&
               host_is_valid(domain, (size_t) (colon - domain));
}

static bool tag_is_valid(const char *tag)
{
        size_t size = strlen(tag);

        if (size == 0 || size > TAG_LENGTH_MAX || *tag == '.' || *tag == '-')
                return false;
        for (size_t i = 0; i < size; i++)
                if (!is_alnum(tag[i]) && !strchr("_.-", tag[i]))
                        return false;
        return true;
}

/* ALGORITHM:HEX, where the algorithm's words are joined by one of + . - _ */
static bool digest_has_form(const char *digest)
{
        size_t i = 0, hex = 0;

        for (;;) {
                if (!is_alnum(digest[i]) || isdigit((unsigned char) digest[i]))
                        return false;
                while (is_alnum(digest[i]))
                        i++;
                if (digest[i] == ':')
                        break;
                if (!digest[i] || !strchr("+.-_", digest[i]))
                        return false;
                i++;
        }
        for (i++; is_hex(digest[i]); i++)
                hex++;
        return digest[i] == 0 && hex >= 32;
}

/* Of the algorithms that engines know. */
static int check_digest(const char *digest, Error *error)
{
        static const struct {
                const char *prefix;
                size_t length;
        } algorithms[] = { { "sha256:", 64 }, { "sha384:", 96 }, { "sha512:", 128 } };

        if (!digest_has_form(digest))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid reference format");
        for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
                const char *hex = str_after_prefix(digest, algorithms[i].prefix);

                if (!hex)
                        continue;
                if (strlen(hex) != algorithms[i].length)
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid checksum digest length");
                if (strspn(hex, "0123456789abcdef") != algorithms[i].length)
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid checksum digest format");
                return 0;
        }
        return error_set(error, OUTCOME_BAD_REQUEST, "unsupported digest algorithm");
}

static bool has_upper(const char *s, size_t size)
{
        for (size_t i = 0; i < size; i++)
                if (s[i] >= 'A' && s[i] <= 'Z')
                        return true;
        return false;
}

static bool is_domain(const char *s, size_t size)
{
        return memchr(s, '.', size) || memchr(s, ':', size) || has_upper(s, size) ||
               (size == 9 && memcmp(s, "localhost", 9) == 0);
}

static int split_domain(const char *text, char **ret_domain, char **ret_rest)
{
        const char *slash = strchr(text, '/');
        char *domain CLEANUP_FREE = NULL, *rest;

        if (slash && is_domain(text, (size_t) (slash - text))) {
                domain = strndup(text, (size_t) (slash - text));
                text = slash + 1;
        } else
                domain = strdup(DEFAULT_DOMAIN);
        if (!domain)
                return -ENOMEM;
        if (str_equal(domain, LEGACY_DEFAULT_DOMAIN))
                memmove(domain, DEFAULT_DOMAIN, sizeof(DEFAULT_DOMAIN));
        rest = str_printf("%s%s", str_equal(domain, DEFAULT_DOMAIN) && !strchr(text, '/') ? OFFICIAL_PREFIX : "", text);
        if (!rest)
                return -ENOMEM;
        *ret_domain = TAKE_PTR(domain);
        *ret_rest = rest;
        return 0;
}

/* Cuts tag and digest off the path, in place. */
static int split_path(StoreReference *reference, char *rest, Error *error)
{
        char *at = strchr(rest, '@'), *colon;

        if (at) {
                int r = check_digest(at + 1, error);

                if (r != 0)
                        return r;
                *at = 0;
                reference->digest = strdup(at + 1);
                if (!reference->digest)
                        return -ENOMEM;
        }
        colon = strchr(rest, ':');
        if (colon) {
                if (!tag_is_valid(colon + 1))
                        return error_set(error, OUTCOME_BAD_REQUEST, "invalid reference format");
                *colon = 0;
                reference->tag = strdup(colon + 1);
                if (!reference->tag)
                        return -ENOMEM;
        }
        reference->path = strdup(rest);
        return reference->path ? 0 : -ENOMEM;
}

int store_reference_parse(const char *text, StoreReference *ret, Error *error)
{
        StoreReference reference CLEANUP_REFERENCE = {};
        char *rest CLEANUP_FREE = NULL;
        size_t name_size;
        int r;

        if (*text == 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid reference format");
        if (strlen(text) == ID_LENGTH && id_is_prefix(text))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", text);
        r = split_domain(text, &reference.domain, &rest);
        if (r < 0)
                return r;
        name_size = strcspn(rest, ":");
        if (has_upper(rest, name_size))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "invalid reference format: repository name (%.*s) must be lowercase", (int) name_size,
                                 rest);
        r = split_path(&reference, rest, error);
        if (r != 0)
                return r;
        if (!domain_is_valid(reference.domain) || !path_is_valid(reference.path))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid reference format");
        if (strlen(reference.path) > PATH_LENGTH_MAX)
                return error_set(error, OUTCOME_BAD_REQUEST, "repository name must not be more than %d characters",
                                 PATH_LENGTH_MAX);
        *ret = reference;
        reference = (StoreReference) {};
        return 0;
}

int store_reference_default_tag(StoreReference *reference)
{
        if (reference->tag || reference->digest)
                return 0;
        reference->tag = strdup(DEFAULT_TAG);
        return reference->tag ? 0 : -ENOMEM;
}

int store_reference_set_tag(StoreReference *reference, const char *tag, Error *error)
{
        char *copy;

        if (!tag_is_valid(tag))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid tag format");
        copy = strdup(tag);
        if (!copy)
                return -ENOMEM;
        free(reference->tag);
        reference->tag = copy;
        return 0;
}

int store_reference_for_name(const char *repo, const char *tag, StoreReference *ret, Error *error)
{
        StoreReference reference CLEANUP_REFERENCE = {};
        int r = store_reference_parse(repo, &reference, error);

        if (r == 0 && reference.digest)
                r = error_set(error, OUTCOME_BAD_REQUEST, "cannot import digest reference");
        if (r == 0 && !str_empty(tag))
                r = store_reference_set_tag(&reference, tag, error);
        if (r == 0)
                r = store_reference_default_tag(&reference);
        if (r != 0)
                return r;
        *ret = reference;
        reference = (StoreReference) {};
        return 0;
}

int store_reference_from_query(const char *repo, const char *tag, StoreReference *ret, Error *error)
{
        StoreReference reference CLEANUP_REFERENCE = {};
        int r;

        r = store_reference_parse(repo, &reference, error);
        if (r == 0 && !str_empty(tag)) {
                if (strchr(tag, ':')) {
                        r = check_digest(tag, error);
                        if (r > 0)
                                error_clear(error);
                        if (r != 0)
                                return r < 0 ? r : error_set(error, OUTCOME_BAD_REQUEST, "invalid tag format");
                        free(reference.digest);
                        reference.digest = strdup(tag);
                        if (!reference.digest)
                                return -ENOMEM;
                } else
                        r = store_reference_set_tag(&reference, tag, error);
        }
        if (r == 0)
                r = store_reference_default_tag(&reference);
        if (r != 0)
                return r;
        *ret = reference;
        reference = (StoreReference) {};
        return 0;
}

char *store_reference_normal_name(const StoreReference *reference)
{
        return str_printf("%s/%s", reference->domain, reference->path);
}

char *store_reference_familiar_name(const StoreReference *reference)
{
        const char *rest;

        /* A path that would be taken for a domain without one in front keeps it. */
        if (!str_equal(reference->domain, DEFAULT_DOMAIN) ||
            (strchr(reference->path, '/') && is_domain(reference->path, strcspn(reference->path, "/"))))
                return store_reference_normal_name(reference);
        rest = str_after_prefix(reference->path, OFFICIAL_PREFIX);
        return strdup(rest && !strchr(rest, '/') ? rest : reference->path);
}

static char *with_suffix(const StoreReference *reference, char *name)
{
        char *owned CLEANUP_FREE = name;

        return owned ? str_printf("%s%s%s%s%s", owned, reference->tag ? ":" : "", reference->tag ?: "",
                                  reference->digest ? "@" : "", reference->digest ?: "")
                     : NULL;
}

char *store_reference_normal(const StoreReference *reference)
{
        return with_suffix(reference, store_reference_normal_name(reference));
}

char *store_reference_familiar(const StoreReference *reference)
{
        return with_suffix(reference, store_reference_familiar_name(reference));
}
