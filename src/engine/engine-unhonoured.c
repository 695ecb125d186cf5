/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What requests may ask for and this engine does not do: none of it passes without a word. */
#include <fcntl.h>

#include "berth/file.h"
#include "berth/json.h"
#include "engine-private.h"

int warnings_add(json_t *warnings, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        json_t *text = json_vsprintf(format, arguments);
        va_end(arguments);
        return json_array_append_new(warnings, text) < 0 ? -ENOMEM : 0;
}

/* --- Endpoints ---------------------------------------------------------------------------------------------------- */

/* The driver's options that other engines know. */
static const char *unknown_endpoint_option(const json_t *settings)
{
        const char *key;
        json_t *value;

        json_object_foreach(fields_member(settings, "DriverOpts"), key, value)
                if (str_after_prefix(key, "com.docker.network."))
                        return key;
        return NULL;
}

static bool has_link_local(const json_t *settings)
{
        return json_array_size(fields_member(fields_member(settings, "IPAMConfig"), "LinkLocalIPs")) > 0;
}

int unhonoured_endpoint_warn(const json_t *settings, const char *network, json_t *warnings)
{
        const char *option = unknown_endpoint_option(settings);
        int r = 0;

        if (has_link_local(settings))
                r = warnings_add(warnings, "Link-local addresses are not supported. Those for network %s discarded.",
                                 network);
        if (r == 0 && option)
                r = warnings_add(warnings, "Endpoint option %s is not supported. That for network %s discarded.",
                                 option, network);
        return r;
}

int unhonoured_endpoint_refuse(const json_t *settings, Error *error)
{
        const char *option = unknown_endpoint_option(settings);

        if (has_link_local(settings))
                return error_set(error, OUTCOME_BAD_REQUEST, "link-local addresses are not supported");
        if (option)
                return error_set(error, OUTCOME_BAD_REQUEST, "endpoint option %s is not supported", option);
        return 0;
}

/* --- Containers --------------------------------------------------------------------------------------------------- */

static bool host_has_apparmor(void)
{
        CLEANUP_FREE char *enabled = NULL;

        return file_read_at(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", 16, &enabled, NULL) >= 0 &&
               enabled[0] == 'Y';
}

static const char *after_name(const char *option, const char *name)
{
        const char *rest = str_after_prefix(option, name);

        return rest && (*rest == '=' || *rest == ':') ? rest + 1 : NULL;
}

static int warn_of_security(const json_t *host, json_t *warnings)
{
        json_t *entry;
        size_t i;
        int r = 0;

        json_array_foreach(fields_member(host, "SecurityOpt"), i, entry) {
                const char *option = json_string_value(entry) ?: "";
                const char *label = after_name(option, "label"), *profile = after_name(option, "apparmor");

                if (label && !str_equal(label, "disable"))
                        r = warnings_add(warnings, "SELinux labels are not supported. Label %s discarded.", label);
                if (profile && !str_equal(profile, "unconfined") && !host_has_apparmor())
                        r = warnings_add(warnings, "AppArmor is not enabled on this host. Profile %s discarded.",
                                         profile);
                if (r < 0)
                        return r;
        }
        return 0;
}

int unhonoured_container_warn(const json_t *host, json_t *warnings)
{
        static const struct {
                const char *key, *warning;
        } numbers[] = {
                { "KernelMemory", "Your kernel does not support kernel memory limit capabilities or the cgroup is not "
                                  "mounted. Limitation discarded." },
                { "KernelMemoryTCP", "Your kernel does not support kernel memory TCP limit capabilities or the cgroup "
                                     "is not mounted. Limitation discarded." },
                { "CpuCount", "linux does not support CPU count. Count discarded." },
        };
        const char *group = json_string_value(fields_member(host, "Cgroup"));
        int r = 0;

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(numbers); i++)
                if (json_integer_value(fields_member(host, numbers[i].key)) > 0)
                        r = warnings_add(warnings, "%s", numbers[i].warning);
        if (r == 0 && !str_empty(group))
                r = warnings_add(warnings,
                                 "Sharing a cgroup with another container is not supported. Cgroup %s discarded.",
                                 group);
        return r == 0 ? warn_of_security(host, warnings) : r;
}

/* --- Networks ----------------------------------------------------------------------------------------------------- */

static bool is_known_option(const char *driver, const char *option)
{
        static const struct {
                const char *driver, *option;
        } known[] = {
                { "bridge", "com.docker.network.bridge.name" },
                { "bridge", "com.docker.network.bridge.enable_icc" },
                { "bridge", "com.docker.network.bridge.enable_ip_masquerade" },
                { "bridge", "com.docker.network.bridge.gateway_mode_ipv4" },
                { "bridge", "com.docker.network.bridge.gateway_mode_ipv6" },
                { "bridge", "com.docker.network.bridge.host_binding_ipv4" },
                { "bridge", "com.docker.network.host_ipv4" },
                { NULL, "com.docker.network.driver.mtu" },
                { "macvlan", "parent" },
                { "macvlan", "macvlan_mode" },
                { "ipvlan", "parent" },
                { "ipvlan", "ipvlan_mode" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if ((!known[i].driver || str_equal(known[i].driver, driver)) && str_equal(known[i].option, option))
                        return true;
        return false;
}

static bool is_meant_for_driver(const char *driver, const char *option)
{
        return str_after_prefix(option, "com.docker.network.") ||
               (!str_equal(driver, "bridge") && str_after_prefix(option, driver));
}

int unhonoured_network_warning(const json_t *record, char **ret_warning)
{
        CLEANUP_BUFFER Buffer text = { 0 };
        const char *driver = json_get_string_or(record, "Driver", ""), *key;
        const char *ipam = json_get_string_or(json_object_get(record, "IPAM"), "Driver", "default");
        json_t *value;
        int r = 0;

        json_object_foreach(json_object_get(record, "Options"), key, value)
                if (r >= 0 && is_meant_for_driver(driver, key) && !is_known_option(driver, key))
                        r = buffer_printf(&text, "%sOption %s is not supported. Option discarded.",
                                          text.size > 0 ? " " : "", key);
        if (r >= 0 && !str_equal(ipam, "default"))
                r = buffer_printf(&text, "%sIPAM driver %s is not supported. Driver discarded.",
                                  text.size > 0 ? " " : "", ipam);
        if (r >= 0 && json_object_size(json_object_get(json_object_get(record, "IPAM"), "Options")) > 0)
                r = buffer_printf(&text, "%sOptions of the IPAM driver are not supported. Options discarded.",
                                  text.size > 0 ? " " : "");
        if (r < 0)
                return r;
        *ret_warning = strndup(text.data ? text.data : "", text.size);
        return *ret_warning ? 0 : -ENOMEM;
}
