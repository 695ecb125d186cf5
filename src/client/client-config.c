/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file is read whole, changed as an object and replaced whole, so that a failure leaves the old one. */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#include "berth/file.h"
#include "berth/json.h"
#include "client-config.h"
#include "client.h"

#define FILE_NAME "config.json"
#define FILE_MAX (4u * 1024 * 1024)

char *client_home(const char *below)
{
        const char *home = getenv("HOME");

        if (str_empty(home)) {
                const struct passwd *user = getpwuid(getuid());

                home = user ? user->pw_dir : "/";
        }
        return client_must(path_join(home, below));
}

static char *find_directory(void)
{
        const char *directory = getenv("DOCKER_CONFIG");

        return str_empty(directory) ? client_home(".docker") : client_must(strdup(directory));
}

static int check_auths(const json_t *root, Error *error)
{
        const char *server;
        json_t *entry, *auths = json_object_get(root, "auths");

        if (!auths || json_is_null(auths))
                return 0;
        if (!json_is_object(auths))
                return error_set(error, OUTCOME_BAD_REQUEST, "\"auths\" is no object");
        json_object_foreach(auths, server, entry) {
                if (!json_is_object(entry))
                        return error_set(error, OUTCOME_BAD_REQUEST, "what is kept for \"%s\" is no object", server);
        }
        return 0;
}

int client_config_parse(const char *text, size_t size, json_t **ret, Error *error)
{
        json_error_t reason;
        CLEANUP_JSON json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &reason);
        int r;

        if (!root)
                return error_set(error, OUTCOME_BAD_REQUEST, "line %d: %s", reason.line, reason.text);
        if (!json_is_object(root))
                return error_set(error, OUTCOME_BAD_REQUEST, "it is no object");
        r = check_auths(root, error);
        if (r == 0)
                *ret = TAKE_PTR(root);
        return r;
}

int client_config_load(ClientConfig *config, Error *error)
{
        CLEANUP_FREE char *directory = find_directory(), *text = NULL;
        CLEANUP_ERROR Error reason = {};
        size_t size;
        int r;

        config->path = client_must(path_join(directory, FILE_NAME));
        r = file_read_at(AT_FDCWD, config->path, FILE_MAX, &text, &size);
        if (r == 0 && size > 0)
                r = client_config_parse(text, size, &config->root, &reason);
        if (!config->root)
                config->root = client_must(json_object());
        if (r == 0 || r == -ENOENT || r == -ENOTDIR)
                return 0;
        return error_set(error, OUTCOME_FAILED, "Error loading config file: %s: %s", config->path,
                         r < 0 ? strerror(-r) : reason.message);
}

void client_config_load_or_warn(ClientConfig *config)
{
        CLEANUP_ERROR Error error = {};

        if (client_config_load(config, &error) != 0)
                client_complain("WARNING: %s", error.message);
}

void client_config_clear(ClientConfig *config)
{
        free(config->path);
        if (config->root)
                json_decref(config->root);
        *config = (ClientConfig) {};
}

/* Indented by tabs. A string holds no line end, so that what begins a line is indentation. */
static char *make_text(const json_t *root)
{
        CLEANUP_FREE char *text = client_must(json_dumps(root, JSON_INDENT(1)));
        bool begins = true;

        for (char *c = text; *c; c++) {
                if (begins && *c == ' ')
                        *c = '\t';
                else
                        begins = *c == '\n';
        }
        return TAKE_PTR(text);
}

int client_config_save(const ClientConfig *config, Error *error)
{
        CLEANUP_FREE char *text = make_text(config->root), *real = realpath(config->path, NULL);
        CLEANUP_FREE char *for_directory = client_must(strdup(real ?: config->path));
        CLEANUP_FREE char *for_name = client_must(strdup(real ?: config->path));
        const char *directory = dirname(for_directory);
        CLEANUP_CLOSE int fd = -EBADF;
        int r;

        r = path_make_directories(directory, 0700);
        if (r >= 0) {
                fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = fd < 0 ? -errno : file_replace_at(fd, basename(for_name), text, strlen(text), 0600);
        }
        if (r < 0)
                return error_set(error, OUTCOME_FAILED, "cannot save %s: %s", config->path, strerror(-r));
        return 0;
}

static char *option_or_member(const ClientArguments *arguments, const char *option, const char *key)
{
        CLEANUP_CONFIG ClientConfig config = {};

        if (*client_string(arguments, option))
                return client_must(strdup(client_string(arguments, option)));
        client_config_load_or_warn(&config);
        return client_must(strdup(json_get_string_or(config.root, key, "")));
}

char *client_config_format(const ClientArguments *arguments, const char *key)
{
        if (client_flag(arguments, "quiet"))
                return client_must(strdup(client_string(arguments, "format")));
        return option_or_member(arguments, "format", key);
}

char *client_config_detach_keys(const ClientArguments *arguments)
{
        return option_or_member(arguments, "detach-keys", "detachKeys");
}

static bool has_variable(const json_t *environment, const char *name)
{
        json_t *variable;
        size_t i;

        json_array_foreach(environment, i, variable) {
                const char *rest = str_after_prefix(json_string_value(variable) ?: "", name);

                if (rest && (!*rest || *rest == '='))
                        return true;
        }
        return false;
}

void client_config_add_proxies(const char *host, json_t *environment)
{
        static const struct {
                const char *member, *names[2];
        } proxies[] = {
                { "httpProxy", { "HTTP_PROXY", "http_proxy" } }, { "httpsProxy", { "HTTPS_PROXY", "https_proxy" } },
                { "noProxy", { "NO_PROXY", "no_proxy" } },       { "ftpProxy", { "FTP_PROXY", "ftp_proxy" } },
                { "allProxy", { "ALL_PROXY", "all_proxy" } },
        };
        CLEANUP_CONFIG ClientConfig config = {};
        const json_t *all, *mine;

        client_config_load_or_warn(&config);
        all = json_get_object(config.root, "proxies");
        mine = json_get_object(all, host) ?: json_get_object(all, "default");
        for (size_t i = 0; mine && i < ARRAY_SIZE(proxies); i++) {
                const char *value = json_get_string(mine, proxies[i].member);

                for (size_t j = 0; !str_empty(value) && j < 2; j++) {
                        CLEANUP_FREE char *variable = client_must(str_printf("%s=%s", proxies[i].names[j], value));

                        if (!has_variable(environment, proxies[i].names[j]))
                                client_must_zero(json_array_append_new(environment, json_string(variable)));
                }
        }
}
