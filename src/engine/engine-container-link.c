/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Links of containers on the default bridge, "name:alias" in a HostConfig: a second name of that container,
 * "/own/alias", which only the one with the link knows it by. */
#include <string.h>

#include "berth/json.h"
#include "engine-private.h"

int link_parse(const char *text, char **ret_name, char **ret_alias)
{
        size_t length = strcspn(text, ":");
        const char *alias = text[length] ? strrchr(text, ':') + 1 : text;
        const char *slash = strrchr(alias, '/');
        CLEANUP_FREE char *name = strndup(text, length), *copy = strdup(slash ? slash + 1 : alias);

        if (!name || !copy)
                return -ENOMEM;
        *ret_name = TAKE_PTR(name);
        *ret_alias = TAKE_PTR(copy);
        return 0;
}

static json_t *links_of(const Container *container)
{
        return str_equal(container_network_mode(container), "bridge")
                       ? json_object_get(container_host_config(container), "Links")
                       : NULL;
}

json_t *container_links(const Container *container)
{
        CLEANUP_JSON json_t *list = json_array();
        json_t *entry;
        size_t i;

        json_array_foreach(links_of(container), i, entry) {
                CLEANUP_FREE char *name = NULL, *alias = NULL;
                Container *target;

                if (link_parse(json_string_value(entry), &name, &alias) < 0)
                        return NULL;
                if (engine_container_find(container->engine, name, &target, NULL) == 0)
                        json_array_append_new(list, json_sprintf("/%s:/%s/%s", target->name, container->name, alias));
        }
        return json_array_size(list) > 0 ? TAKE_PTR(list) : json_null();
}

int engine_unlink(Engine *engine, const char *name, Error *error)
{
        const char *slash = strrchr(name, '/');
        CLEANUP_FREE char *parent = slash ? strndup(name, (size_t) (slash - name)) : NULL;
        Container *container;
        json_t *entry, *links;
        size_t i;

        if (!slash) {
                int r = engine_container_find(engine, name, &container, error);
                return r != 0 ? r
                              : error_set(error, OUTCOME_FAILED,
                                          "Conflict, cannot remove the default link name of the container");
        }
        if (!parent)
                return -ENOMEM;
        if (engine_container_find(engine, parent, &container, NULL) != 0)
                return error_set(error, OUTCOME_NOT_FOUND, "No such container: %s", name);
        links = links_of(container);
        json_array_foreach(links, i, entry) {
                CLEANUP_FREE char *target = NULL, *alias = NULL;
                int r = link_parse(json_string_value(entry), &target, &alias);

                if (r < 0)
                        return r;
                if (!str_equal(alias, slash + 1))
                        continue;
                json_array_remove(links, i);
                r = container_save(container, true);
                if (r >= 0 && container_is_running(container))
                        r = container_forget_host(container, alias);
                return r;
        }
        return error_set(error, OUTCOME_NOT_FOUND, "No such container: %s", name);
}
