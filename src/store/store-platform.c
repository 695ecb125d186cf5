/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's names of machines and Go's, which images use. */
#include "store-platform.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "berth/json.h"
#include "berth/string.h"

static const struct {
        const char *machine, *architecture, *variant;
} machines[] = {
        { "x86_64", "amd64", "" },        { "aarch64", "arm64", "" },   { "armv7l", "arm", "v7" },
        { "armv6l", "arm", "v6" },        { "i686", "386", "" },        { "i586", "386", "" },
        { "riscv64", "riscv64", "" },     { "ppc64le", "ppc64le", "" }, { "s390x", "s390x", "" },
        { "loongarch64", "loong64", "" }, { "mips64", "mips64le", "" },
};

/* Other spellings people use for an architecture. */
static const char *normal_architecture(const char *name)
{
        for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
                if (str_equal(name, machines[i].machine))
                        return machines[i].architecture;
        return name;
}

static int platform_of_machine(StorePlatform *ret)
{
        struct utsname name;

        if (uname(&name) < 0)
                return -errno;
        *ret = (StorePlatform) { .os = "linux" };
        snprintf(ret->architecture, sizeof(ret->architecture), "%.31s", normal_architecture(name.machine));
        for (size_t i = 0; i < ARRAY_SIZE(machines); i++)
                if (str_equal(name.machine, machines[i].machine))
                        snprintf(ret->variant, sizeof(ret->variant), "%s", machines[i].variant);
        return 0;
}

static bool is_among(const char *word, const char *const *words, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (str_equal(word, words[i]))
                        return true;
        return false;
}

/* One word: an operating system, or an architecture. */
static int parse_one(const char *word, StorePlatform *platform, Error *error)
{
        static const char *const systems[] = { "linux",   "windows", "darwin",  "freebsd", "netbsd",
                                               "openbsd", "solaris", "illumos", "android", "aix" },
                                 *const architectures[] = { "amd64",   "arm64",    "arm",     "386",  "riscv64",
                                                            "ppc64le", "ppc64",    "s390x",   "mips", "mipsle",
                                                            "mips64",  "mips64le", "loong64", "wasm" };
        StorePlatform machine;
        int r = platform_of_machine(&machine);

        if (r < 0)
                return r;
        if (is_among(word, systems, ARRAY_SIZE(systems))) {
                *platform = machine;
                snprintf(platform->os, sizeof(platform->os), "%s", word);
                return 0;
        }
        if (!is_among(normal_architecture(word), architectures, ARRAY_SIZE(architectures)))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "\"%s\": unknown operating system or architecture: invalid argument", word);
        snprintf(platform->os, sizeof(platform->os), "linux");
        snprintf(platform->architecture, sizeof(platform->architecture), "%.31s", normal_architecture(word));
        return 0;
}

static int check_word(const char *word, size_t position, const char *text, Error *error)
{
        if (*word && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == strlen(word))
                return 0;
        if (position == 0)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "\"%s\" is an invalid OS component of \"%s\": OSAndVersion specifier component must "
                                 "match \"^([A-Za-z0-9_-]+)(?:\\\\(([A-Za-z0-9_.-]*)\\\\))?$\": invalid argument",
                                 word, text);
        return error_set(error, OUTCOME_BAD_REQUEST,
                         "\"%s\" is an invalid component of \"%s\": platform specifier component must match "
                         "\"^[A-Za-z0-9_-]+$\": invalid argument",
                         word, text);
}

int store_platform_parse(const char *text, StorePlatform *ret, Error *error)
{
        char copy[64], *words[3], *rest = copy;
        StorePlatform platform = {};
        size_t n = 0;
        int r = 0;

        if (str_empty(text))
                return platform_of_machine(ret);
        if (strlen(text) >= sizeof(copy))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid platform: \"%s\"", text);
        snprintf(copy, sizeof(copy), "%s", text);
        for (char *word; (word = strsep(&rest, "/"));) {
                if (n == ARRAY_SIZE(words))
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "\"%s\": cannot parse platform specifier: invalid argument", text);
                words[n++] = word;
        }
        for (size_t i = 0; i < n && r == 0; i++) {
                r = check_word(words[i], i, text, error);
                for (char *c = words[i]; *c; c++)
                        *c = (char) tolower((unsigned char) *c);
        }
        if (r == 0 && n == 1)
                r = parse_one(words[0], &platform, error);
        if (r != 0)
                return r;
        if (n > 1) {
                snprintf(platform.os, sizeof(platform.os), "%.31s", words[0]);
                snprintf(platform.architecture, sizeof(platform.architecture), "%.31s", normal_architecture(words[1]));
        }
        if (n > 2)
                snprintf(platform.variant, sizeof(platform.variant), "%.15s", words[2]);
        *ret = platform;
        return 0;
}

int store_platform_match(const StorePlatform *want, const json_t *platform)
{
        const char *variant = json_get_string_or(platform, "variant", "");

        if (!str_equal(json_get_string(platform, "os"), want->os) ||
            !str_equal(json_get_string(platform, "architecture"), want->architecture))
                return 0;
        if (str_equal(variant, want->variant))
                return 3;
        /* An older variant of the architecture runs on a newer machine; "v8" is what arm64 has anyhow. */
        if (*variant == 0 || *want->variant == 0)
                return 2;
        return strcmp(variant, want->variant) < 0 ? 1 : 0;
}
