/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an answer looks like in an older version of the API. The engine gives the newest shape, with every member some
 * version has; here members are taken away or written in the older way. */
#include "api-private.h"

#include <strings.h>

static void remove_before(json_t *object, int minor, int first, const char *key)
{
        if (minor < first)
                json_object_del(object, key);
}

static void remove_from(json_t *object, int minor, int first, const char *key)
{
        if (minor >= first)
                json_object_del(object, key);
}

/* A container's configuration in an image: up to 1.49 every member is there, as in a container; from 1.50 on only those
 * of the OCI image specification, and only where they say something. */
static const struct {
        const char *name, *zero;
        bool of_container;
} config_members[] = {
        { "Hostname", "\"\"", true },      { "Domainname", "\"\"", true },    { "User", "\"\"", false },
        { "AttachStdin", "false", true },  { "AttachStdout", "false", true }, { "AttachStderr", "false", true },
        { "Tty", "false", true },          { "OpenStdin", "false", true },    { "StdinOnce", "false", true },
        { "Env", "null", false },          { "Cmd", "null", false },          { "Image", "\"\"", true },
        { "Volumes", "null", false },      { "WorkingDir", "\"\"", false },   { "Entrypoint", "null", false },
        { "NetworkDisabled", NULL, true }, { "MacAddress", NULL, true },      { "StopTimeout", NULL, true },
        { "OnBuild", "null", false },      { "Labels", "null", false },
};

static bool says_nothing(const json_t *value)
{
        return json_is_null(value) || json_is_false(value) ||
               (json_is_string(value) && json_string_length(value) == 0) ||
               (json_is_array(value) && json_array_size(value) == 0) ||
               (json_is_object(value) && json_object_size(value) == 0);
}

static json_t *image_config(const json_t *config, int minor)
{
        json_t *shaped = json_is_object(config) ? json_copy((json_t *) config) : json_object();

        for (size_t i = 0; shaped && i < ARRAY_SIZE(config_members); i++) {
                json_t *value = json_object_get(shaped, config_members[i].name);

                if (minor < 50) {
                        if (!value && config_members[i].zero)
                                json_object_set_new(shaped, config_members[i].name,
                                                    json_loads(config_members[i].zero, JSON_DECODE_ANY, NULL));
                } else if (value && (config_members[i].of_container || says_nothing(value)))
                        json_object_del(shaped, config_members[i].name);
        }
        return shaped;
}

void api_shape_image(json_t *image, int minor)
{
        if (minor < 44)
                json_object_set(image, "VirtualSize", json_object_get(image, "Size"));
        json_object_set_new(image, "Config", image_config(json_object_get(image, "Config"), minor));
        if (minor < 45)
                json_object_set_new(image, "ContainerConfig",
                                    image_config(json_object_get(image, "ContainerConfig"), minor));
        remove_from(image, minor, 45, "Container");
        remove_from(image, minor, 45, "ContainerConfig");
}

void api_shape_images(json_t *images, int minor)
{
        json_t *image;
        size_t i;

        if (minor >= 44)
                return;
        json_array_foreach(images, i, image) {
                json_t *tags = json_object_get(image, "RepoTags"), *digests = json_object_get(image, "RepoDigests");

                json_object_set(image, "VirtualSize", json_object_get(image, "Size"));
                if (minor >= 43)
                        continue;
                if (json_array_size(tags) == 0 && json_array_size(digests) == 0) {
                        json_array_append_new(tags, json_string("<none>:<none>"));
                        json_array_append_new(digests, json_string("<none>@<none>"));
                } else if (json_array_size(digests) == 0)
                        json_object_set_new(image, "RepoDigests", json_null());
                else if (json_array_size(tags) == 0)
                        json_object_set_new(image, "RepoTags", json_null());
        }
}

/* "name=seccomp,profile=builtin" was "seccomp". */
static json_t *security_names(const json_t *options)
{
        json_t *names = json_array(), *option;
        size_t i;

        json_array_foreach((json_t *) options, i, option) {
                const char *name = str_after_prefix(json_string_value(option), "name=");
                if (name)
                        json_array_append_new(names, json_stringn(name, strcspn(name, ",")));
        }
        return names;
}

void api_shape_info(json_t *info, int minor)
{
        if (minor >= 25)
                return;
        json_object_set_new(info, "ExecutionDriver", json_string("<not supported>"));
        json_object_set_new(info, "SecurityOptions", security_names(json_object_get(info, "SecurityOptions")));
}

void api_shape_container(json_t *container, int minor)
{
        json_t *networks = json_object_get(json_object_get(container, "NetworkSettings"), "Networks"), *endpoint;
        const char *name;

        json_object_foreach(networks, name, endpoint)
                remove_before(endpoint, minor, 48, "GwPriority");
}

/* Before 1.40 another container could join a container's IPC namespace unless that was forbidden. */
void api_shape_create(json_t *body, int minor)
{
        json_t *host = NULL, *value;
        const char *key;

        if (minor >= 40 || !json_is_object(body))
                return;
        json_object_foreach(body, key, value) {
                if (strcasecmp(key, "HostConfig") == 0)
                        host = value;
        }
        if (!host) {
                host = json_object();
                json_object_set_new(body, "HostConfig", host);
        }
        if (json_is_object(host) && str_empty(json_get_string(host, "IpcMode")))
                json_object_set_new(host, "IpcMode", json_string("shareable"));
}
