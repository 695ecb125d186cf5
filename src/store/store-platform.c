/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's names of machines and Go's, which images use. */
#include "store-platform.h"

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

int store_platform_parse(const char *text, StorePlatform *ret, Error *error)
{
        StorePlatform platform = {};
        char architecture[32] = "";
        int n;

        if (str_empty(text))
                return platform_of_machine(ret);
        if (strlen(text) >= 64 ||
            strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") < strlen(text))
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid platform: \"%s\"", text);
        n = sscanf(text, "%31[^/]/%31[^/]/%15[^/]", platform.os, architecture, platform.variant);
        if (n < 1)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid platform: \"%s\"", text);
        if (n == 1) {
                /* Only an operating system, or only an architecture. */
                StorePlatform machine;
                int r = platform_of_machine(&machine);

                if (r < 0)
                        return r;
                if (str_equal(platform.os, "linux"))
                        snprintf(architecture, sizeof(architecture), "%s", machine.architecture);
                else {
                        snprintf(architecture, sizeof(architecture), "%s", platform.os);
                        snprintf(platform.os, sizeof(platform.os), "linux");
                }
        }
        snprintf(platform.architecture, sizeof(platform.architecture), "%.31s", normal_architecture(architecture));
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
