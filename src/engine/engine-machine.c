/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Containers as machines of systemd-machined, where daemon.json asks for it. Nothing depends on it: a failure is
 * logged. */
#include <ctype.h>

#include "berth/log.h"
#include "engine-private.h"

#define MACHINE_NAME_MAX 64

static void failed(const char *reason)
{
        log_warning("A container could not be registered with systemd-machined: %s", reason);
}

/* A host's name: labels of letters, digits and inner dashes, between dots. */
static void machine_name(const char *name, char ret_name[static MACHINE_NAME_MAX + 1])
{
        size_t n = 0;

        for (; *name && n < MACHINE_NAME_MAX; name++) {
                char c = isalnum((unsigned char) *name) || *name == '.' ? *name : '-';
                bool begins = n == 0 || ret_name[n - 1] == '.';

                if (c == '.' && n > 0 && ret_name[n - 1] == '-')
                        n--;
                if (begins && (c == '-' || c == '.'))
                        continue;
                ret_name[n++] = c;
        }
        while (n > 0 && (ret_name[n - 1] == '-' || ret_name[n - 1] == '.'))
                n--;
        ret_name[n] = 0;
}

void container_register_machine(const Container *container)
{
        CLEANUP_FREE char *root = container_runtime_path(container, "rootfs");
        char name[MACHINE_NAME_MAX + 1];
        uint8_t uuid[16];

        for (size_t i = 0; i < sizeof(uuid); i++) {
                char byte[3] = { container->id[2 * i], container->id[2 * i + 1], 0 };
                uuid[i] = (uint8_t) strtoul(byte, NULL, 16);
        }
        machine_name(container->name, name);
        UnitMachine machine = {
                .name = name, .uuid = uuid, .leader = container->pid, .root = root ? root : "", .failed = failed
        };
        int r = unit_machine_register(container->engine->units, &machine);
        if (r < 0)
                failed(strerror(-r));
}
