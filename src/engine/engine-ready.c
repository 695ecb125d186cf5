/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether what a container needs at boot is there: other containers, mounts, addresses. Nothing here blocks: of the
 * file systems only the mount table and cached attributes are asked, of addresses only the kernel. */
#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

#define SECOND_US UINT64_C(1000000)
#define MOUNT_PATIENCE_US (600 * SECOND_US)
#define ADDRESS_PATIENCE_US (600 * SECOND_US)
#define PATH_PATIENCE_US (90 * SECOND_US)
/* For another container, beyond its own waiting. */
#define CONTAINER_PATIENCE_US (900 * SECOND_US)
#define MOUNT_TABLE_MAX (16u * 1024 * 1024)

#define PROJECT_LABEL "com.docker.compose.project"
#define SERVICE_LABEL "com.docker.compose.service"
#define DEPENDS_LABEL "com.docker.compose.depends_on"

/* --- Containers --------------------------------------------------------------------------------------------------- */

/* Another container that is to be started stands before this one. */
static bool other_is_due(const Container *container, const char *reference, size_t length)
{
        CLEANUP_FREE char *name = strndup(reference, length);
        Container *other;

        return name && *name && engine_container_find(container->engine, name, &other, NULL) == 0 &&
               other != container && engine_is_due(container->engine, other->id);
}

static bool joins_due(const Container *container)
{
        static const char *const modes[] = { "NetworkMode", "IpcMode", "PidMode" };
        const json_t *host = container_host_config(container);
        json_t *entry;
        size_t i;

        for (i = 0; i < ARRAY_SIZE(modes); i++) {
                const char *mode = json_get_string(host, modes[i]);
                const char *other = mode ? str_after_prefix(mode, "container:") : NULL;
                if (other && other_is_due(container, other, strlen(other)))
                        return true;
        }
        json_array_foreach(json_object_get(host, "VolumesFrom"), i, entry) {
                const char *text = json_string_value(entry);
                if (text && other_is_due(container, text, strcspn(text, ":")))
                        return true;
        }
        json_array_foreach(json_object_get(host, "Links"), i, entry) {
                const char *text = json_string_value(entry);
                if (text && other_is_due(container, text + (*text == '/'), strcspn(text + (*text == '/'), ":")))
                        return true;
        }
        return false;
}

static const char *label(const Container *container, const char *name)
{
        return json_get_string(json_object_get(container_config(container), "Labels"), name);
}

/* One container of the service is still to come, or is not what the condition asks for. */
static Readiness readiness_after(const Container *other, const char *condition)
{
        if (engine_is_due(other->engine, other->id))
                return READY_AFTER_DUE;
        return container_is_running(other) && str_equal(condition, "service_healthy") &&
                               str_equal(container_health_status(other), "starting")
                       ? READY_AFTER_OTHER
                       : READY;
}

/* Compose's "SERVICE:CONDITION:RESTART,...". */
static Readiness readiness_of_services(const Container *container)
{
        Readiness readiness = READY;

        const char *project = label(container, PROJECT_LABEL), *given = label(container, DEPENDS_LABEL);
        CLEANUP_FREE char *copy = given ? strdup(given) : NULL;
        char *rest = copy, *item;

        while (project && rest && (item = strsep(&rest, ","))) {
                const char *service = strsep(&item, ":"), *condition = item ? strsep(&item, ":") : "";
                const Container *other;

                LIST_FOREACH(other, &container->engine->containers, link)
                        if (other != container && other->record && str_equal(label(other, PROJECT_LABEL), project) &&
                            str_equal(label(other, SERVICE_LABEL), service))
                                readiness = MAX(readiness, readiness_after(other, condition));
        }
        return readiness;
}

/* --- Mounts ------------------------------------------------------------------------------------------------------- */

/* As systemd-escape --path does, with ".mount" behind it; owned by the caller. */
static char *mount_unit_name(const char *path)
{
        CLEANUP_BUFFER Buffer name = { 0 };

        for (const char *p = path + 1; *p; p++) {
                unsigned char c = (unsigned char) *p;
                if (c == '/')
                        buffer_append_string(&name, "-");
                else if (isalnum(c) || strchr(":_", c) || (c == '.' && p > path + 1))
                        buffer_append(&name, p, 1);
                else
                        buffer_printf(&name, "\\x%02x", c);
        }
        buffer_append_string(&name, ".mount");
        return buffer_take(&name);
}

/* True where a boot is to mount it. */
static bool is_wanted_mount(const char *unit)
{
        static const char *const directories[] = { "/run/systemd/generator", "/run/systemd/generator.late",
                                                   "/etc/systemd/system", "/run/systemd/system" };
        static const char *const targets[] = { "local-fs", "remote-fs", "multi-user" };
        static const char *const kinds[] = { "requires", "wants" };

        for (size_t d = 0; d < ARRAY_SIZE(directories); d++)
                for (size_t t = 0; t < ARRAY_SIZE(targets); t++)
                        for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
                                CLEANUP_FREE char *path =
                                        str_printf("%s/%s.target.%s/%s", directories[d], targets[t], kinds[k], unit);
                                if (path && faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
                                        return true;
                        }
        return false;
}

/* TABLE is /proc/self/mountinfo, whose fifth field is the mount point, with blanks and such in octal. */
static bool is_mounted(const char *table, const char *path)
{
        CLEANUP_BUFFER Buffer wanted = { 0 };

        buffer_append_string(&wanted, " ");
        for (const char *p = path; *p; p++)
                if (strchr(" \t\n\\", *p))
                        buffer_printf(&wanted, "\\%03o", (unsigned char) *p);
                else
                        buffer_append(&wanted, p, 1);
        if (buffer_append_string(&wanted, " ") < 0)
                return true;
        for (const char *line = table; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
                const char *field = line;
                for (int i = 0; field && i < 4; i++)
                        field = strchr(field + (i > 0), ' ');
                if (field && strncmp(field, wanted.data, wanted.size) == 0)
                        return true;
        }
        return false;
}

/* A mount that is to come lies on the way to the path. */
static bool mount_is_missing(const char *path, const char *table)
{
        CLEANUP_FREE char *part = strdup(path);

        for (char *end = part ? part + 1 : NULL; end && *end;) {
                end += strcspn(end, "/");
                char saved = *end;
                *end = 0;
                CLEANUP_FREE char *unit = mount_unit_name(part);
                if (unit && is_wanted_mount(unit) && !is_mounted(table, part))
                        return true;
                *end = saved;
                end += saved == '/';
        }
        return false;
}

static bool path_is_missing(const char *path)
{
        struct statx found;

        return statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &found) < 0 && errno == ENOENT;
}

static bool source_is_missing(const char *source, const char *table, uint64_t waited_us)
{
        if (source[0] != '/')
                return false;
        return (waited_us < MOUNT_PATIENCE_US && mount_is_missing(source, table)) ||
               (waited_us < PATH_PATIENCE_US && path_is_missing(source));
}

static bool binds_are_missing(const Container *container, uint64_t waited_us)
{
        const json_t *host = container_host_config(container);
        CLEANUP_FREE char *table = NULL;
        json_t *entry;
        size_t i;

        if (json_array_size(json_object_get(host, "Binds")) + json_array_size(json_object_get(host, "Mounts")) == 0 ||
            file_read_at(AT_FDCWD, "/proc/self/mountinfo", MOUNT_TABLE_MAX, &table, NULL) < 0)
                return false;
        json_array_foreach(json_object_get(host, "Binds"), i, entry) {
                const char *bind = json_string_value(entry);
                CLEANUP_FREE char *source = bind ? strndup(bind, strcspn(bind, ":")) : NULL;
                if (source && source_is_missing(source, table, waited_us))
                        return true;
        }
        json_array_foreach(json_object_get(host, "Mounts"), i, entry) {
                if (str_equal(json_get_string(entry, "Type"), "bind") &&
                    source_is_missing(json_get_string_or(entry, "Source", ""), table, waited_us))
                        return true;
        }
        return false;
}

/* --- Addresses ---------------------------------------------------------------------------------------------------- */

static bool address_is_missing(const char *text)
{
        struct sockaddr_in v4 = { .sin_family = AF_INET };
        struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
        bool is_v4 = inet_pton(AF_INET, text, &v4.sin_addr) == 1;

        if (!is_v4 && inet_pton(AF_INET6, text, &v6.sin6_addr) != 1)
                return false;
        CLEANUP_CLOSE int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        const struct sockaddr *address = is_v4 ? (const struct sockaddr *) &v4 : (const struct sockaddr *) &v6;
        return fd >= 0 && bind(fd, address, is_v4 ? sizeof(v4) : sizeof(v6)) < 0 && errno == EADDRNOTAVAIL;
}

static bool addresses_are_missing(const Container *container)
{
        json_t *bindings, *binding;
        const char *port;
        size_t i;

        json_object_foreach(json_object_get(container_host_config(container), "PortBindings"), port, bindings)
                json_array_foreach(bindings, i, binding) {
                        const char *address = json_get_string(binding, "HostIp");
                        if (!str_empty(address) && address_is_missing(address))
                                return true;
                }
        return false;
}

Readiness container_readiness(Container *container, uint64_t waited_us)
{
        if (waited_us < ADDRESS_PATIENCE_US && addresses_are_missing(container))
                return READY_AFTER_OTHER;
        if (binds_are_missing(container, waited_us))
                return READY_AFTER_OTHER;
        if (waited_us >= CONTAINER_PATIENCE_US)
                return READY;
        return joins_due(container) ? READY_AFTER_DUE : readiness_of_services(container);
}
