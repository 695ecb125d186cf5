/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A challenge is a scheme and then parameters, NAME=TOKEN or NAME="QUOTED", joined by commas, which also join
 * challenges: a word that no "=" follows begins the next one. */
#include "registry-challenge.h"

#include <string.h>
#include <strings.h>

#include "berth/buffer.h"
#include "berth/string.h"

#define VALUE_SIZE_MAX 4096

void registry_challenge_clear(RegistryChallenge *challenge)
{
        free(challenge->realm);
        free(challenge->service);
        free(challenge->scope);
        *challenge = (RegistryChallenge) { 0 };
}

static bool is_token(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               (c && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *skip_blanks(const char *p, bool commas)
{
        while (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n' || (commas && *p == ','))
                p++;
        return p;
}

/* What follows the "=": NULL where it is malformed. */
static const char *parse_value(const char *p, Buffer *value)
{
        p = skip_blanks(p, false);
        if (*p != '"') {
                const char *start = p;

                while (is_token(*p) || (*p && strchr("/:=", *p)))
                        p++;
                return p > start && buffer_append(value, start, (size_t) (p - start)) >= 0 ? p : NULL;
        }
        for (p++; *p && *p != '"'; p++) {
                if (*p == '\\' && p[1])
                        p++;
                if ((unsigned char) *p < ' ' || value->size >= VALUE_SIZE_MAX || buffer_append(value, p, 1) < 0)
                        return NULL;
        }
        return *p == '"' ? p + 1 : NULL;
}

static int set_parameter(RegistryChallenge *challenge, const char *name, size_t size, Buffer *value)
{
        struct {
                const char *name;
                char **member;
        } known[] = { { "realm", &challenge->realm },
                      { "service", &challenge->service },
                      { "scope", &challenge->scope } };

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (strlen(known[i].name) == size && strncasecmp(known[i].name, name, size) == 0 && !*known[i].member) {
                        *known[i].member = buffer_take(value);
                        return *known[i].member ? 0 : -ENOMEM;
                }
        return 0;
}

static RegistryScheme scheme_of(const char *name, size_t size)
{
        if (size == 6 && strncasecmp(name, "bearer", size) == 0)
                return REGISTRY_BEARER;
        return size == 5 && strncasecmp(name, "basic", size) == 0 ? REGISTRY_BASIC : REGISTRY_NO_SCHEME;
}

/* One challenge from P on. Returns where the next begins, NULL where nothing can be told any more; *ret_status is
 * negative when out of memory. */
static const char *parse_one(const char *p, RegistryChallenge *challenge, int *ret_status)
{
        const char *start = p;

        while (is_token(*p))
                p++;
        if (p == start)
                return NULL;
        challenge->scheme = scheme_of(start, (size_t) (p - start));
        for (;;) {
                CLEANUP_BUFFER Buffer value = { 0 };
                const char *name = skip_blanks(p, true);
                const char *end = name;

                while (is_token(*end))
                        end++;
                const char *equals = skip_blanks(end, false);
                if (end == name || *equals != '=')
                        return name;
                p = parse_value(equals + 1, &value);
                if (!p) {
                        challenge->scheme = REGISTRY_NO_SCHEME;
                        return NULL;
                }
                *ret_status = set_parameter(challenge, name, (size_t) (end - name), &value);
                if (*ret_status < 0)
                        return NULL;
        }
}

int registry_challenge_parse(const char *value, RegistryChallenge *ret)
{
        CLEANUP_REGISTRY_CHALLENGE RegistryChallenge best = { 0 };
        const char *p = value ? skip_blanks(value, true) : NULL;
        int r = 0;

        while (p && *p) {
                CLEANUP_REGISTRY_CHALLENGE RegistryChallenge one = { 0 };

                p = parse_one(p, &one, &r);
                if (r < 0)
                        return r;
                if (one.scheme == REGISTRY_BEARER && str_empty(one.realm))
                        one.scheme = REGISTRY_NO_SCHEME;
                if (one.scheme > best.scheme) {
                        registry_challenge_clear(&best);
                        best = one;
                        one = (RegistryChallenge) { 0 };
                }
        }
        *ret = best;
        best = (RegistryChallenge) { 0 };
        return 0;
}
