/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether a container's program is systemd, which then finds what it needs without privileges: its cgroups writable, as
 * they are its own, fresh /run, /run/lock and /tmp, and the environment by which it knows where it is
 * (https://systemd.io/CONTAINER_INTERFACE). The label berth.systemd says "true" or "false" where the program's name
 * does not tell. */
#include "berth/json.h"
#include "berth/string.h"
#include "engine-spec-private.h"

#define SYSTEMD_LABEL "berth.systemd"

bool spec_runs_systemd(const json_t *config, const char *program)
{
        static const char *const programs[] = {
                "/sbin/init",           "/usr/sbin/init",           "/usr/local/sbin/init",
                "/lib/systemd/systemd", "/usr/lib/systemd/systemd", "systemd"
        };
        const char *wanted = json_get_string(json_object_get(config, "Labels"), SYSTEMD_LABEL);

        if (wanted)
                return str_equal(wanted, "true");
        for (size_t i = 0; program && i < ARRAY_SIZE(programs); i++)
                if (str_equal(programs[i], program))
                        return true;
        return false;
}

int spec_systemd_environment(const Spec *spec, json_t *environment)
{
        const char *id = spec->input->id;
        bool whole = strlen(id) == ID_LENGTH;
        CLEANUP_FREE char *uuid =
                whole ? str_printf("container_uuid=%.8s-%.4s-%.4s-%.4s-%.12s", id, id + 8, id + 12, id + 16, id + 20)
                      : strdup("container_uuid=");
        const char *const more[] = { "container=oci", uuid };
        json_t *entry;
        size_t i;

        if (!uuid)
                return -ENOMEM;
        json_array_foreach(environment, i, entry)
                if (str_after_prefix(json_string_value(entry), "container="))
                        return 0;
        for (i = 0; i < ARRAY_SIZE(more); i++)
                if (json_array_append_new(environment, json_string(more[i])) < 0)
                        return -ENOMEM;
        return 0;
}
