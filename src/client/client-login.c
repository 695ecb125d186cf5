/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth login and logout. The daemon asks the registry whether the credentials are good before they are kept. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "berth/json.h"
#include "client-auth.h"
#include "client-prompt.h"
#include "client.h"

#define PASSWORD_MAX (1024u * 1024)

/* What SERVER's credentials are kept under; owned by the caller. */
static char *server_key(const char *server)
{
        CLEANUP_FREE char *host = client_auth_hostname(server);

        if (!*host || strcmp(host, "docker.io") == 0 || strcmp(host, "index.docker.io") == 0)
                return client_must(strdup(CLIENT_AUTH_HUB));
        return TAKE_PTR(host);
}

/* Checks AUTH with the daemon. RET_STATUS: what it says; owned by the caller. */
static int check_auth(Client *client, const json_t *auth, char **ret_status, char **ret_token, Error *error)
{
        CLEANUP_REPLY ClientReply reply = {};
        int r = client_call(client, "POST", "/auth", auth, &reply, error);

        if (r != 0)
                return r;
        *ret_status = client_must(strdup(json_get_string_or(reply.json, "Status", "Login Succeeded")));
        *ret_token = client_must(strdup(json_get_string_or(reply.json, "IdentityToken", "")));
        return 0;
}

/* --- what the user knows --- */

static int read_password(char **ret, Error *error)
{
        CLEANUP_BUFFER Buffer text = {};
        ssize_t n;

        while ((n = buffer_read(&text, STDIN_FILENO, 4096)) != 0) {
                if (n < 0 && n != -EINTR)
                        return error_set(error, OUTCOME_FAILED, "cannot read the password: %s", strerror(-(int) n));
                if (text.size > PASSWORD_MAX)
                        return error_set(error, OUTCOME_BAD_REQUEST, "the password on standard input is too long");
        }
        for (size_t i = 0; i < 2; i++)
                if (text.size > 0 && text.data[text.size - 1] == "\n\r"[i])
                        text.data[--text.size] = 0;
        *ret = client_must(buffer_take(&text));
        return 0;
}

/* What is missing is asked for. KNOWN is the name of an earlier login, which an empty line takes. */
static int ask_user(const char *key, const char *known, char **user, char **password, Error *error)
{
        if (!isatty(STDIN_FILENO))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "Error: Cannot perform an interactive login from a non TTY device");
        if (str_empty(*user)) {
                CLEANUP_FREE char *prompt =
                        client_must(*known ? str_printf("Username (%s): ", known) : strdup("Username: "));

                if (strcmp(key, CLIENT_AUTH_HUB) == 0)
                        puts("Log in with your Docker ID or email address to push and pull images from Docker Hub.");
                free(*user);
                *user = client_prompt_line(prompt, false);
                if (*user && !**user && *known) {
                        free(*user);
                        *user = client_must(strdup(known));
                }
                if (str_empty(*user))
                        return error_set(error, OUTCOME_BAD_REQUEST, "Error: Non-null Username Required");
        }
        if (!**password) {
                free(*password);
                *password = client_prompt_line("Password: ", true);
                if (str_empty(*password))
                        return error_set(error, OUTCOME_BAD_REQUEST, "Error: Password Required");
        }
        return 0;
}

static int take_options(const ClientArguments *arguments, char **ret_user, char **ret_password, Error *error)
{
        const ClientValue *user = client_value(arguments, "username"), *password = client_value(arguments, "password");
        bool from_stdin = client_flag(arguments, "password-stdin");

        if (password->set && from_stdin)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "conflicting options: cannot specify both --password and --password-stdin");
        if (from_stdin && str_empty(user->string))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "the --password-stdin option requires --username to be set");
        if (password->set)
                client_complain("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
        *ret_user = client_must(strdup(user->string ?: ""));
        if (from_stdin)
                return read_password(ret_password, error);
        *ret_password = client_must(strdup(password->string ?: ""));
        return 0;
}

/* --- login --- */

static json_t *make_auth(const char *user, const char *password, const char *key)
{
        return client_must(json_pack("{s:s,s:s,s:s}", "username", user, "password", password, "serveraddress", key));
}

static int keep(ClientConfig *config, json_t *auth, const char *token, Error *error)
{
        bool plain;
        int r;

        if (*token) {
                client_must_zero(json_set_string(auth, "identitytoken", token));
                client_must_zero(json_set_string(auth, "password", NULL));
        }
        r = client_auth_store(config, auth, &plain, error);
        if (r != 0)
                return error_set(error, OUTCOME_FAILED, "Error saving credentials: %s", error->message);
        if (plain)
                client_complain("\nWARNING! Your credentials are stored unencrypted in '%s'.\nConfigure a credential "
                                "helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
                                config->path);
        return 0;
}

/* An earlier login is tried first, where the user names nobody. 0: it is still good, or there was none. */
static bool login_again(Client *client, const json_t *auth, char **ret_status)
{
        CLEANUP_FREE char *token = NULL;
        CLEANUP_ERROR Error error = {};

        if (str_empty(json_get_string(auth, "username")) && str_empty(json_get_string(auth, "identitytoken")))
                return false;
        client_complain(
                "Authenticating with existing credentials... [Username: %s]\n\n Info -> To login with a different "
                "account, run 'berth logout' followed by 'berth login'\n\n",
                json_get_string_or(auth, "username", ""));
        if (check_auth(client, auth, ret_status, &token, &error) == 0)
                return true;
        client_complain("Login did not succeed, error: %s", error.message);
        return false;
}

static int login(Client *client, ClientConfig *config, const ClientArguments *arguments, const char *key,
                 char **ret_status, Error *error)
{
        CLEANUP_FREE char *user = NULL, *password = NULL, *known = NULL, *token = NULL;
        CLEANUP_JSON json_t *auth = NULL;
        int r = take_options(arguments, &user, &password, error);

        if (r == 0)
                r = client_auth_get(config, key, &auth, error);
        if (r != 0)
                return r;
        known = client_must(strdup(json_get_string_or(auth, "username", "")));
        if (str_empty(user) && str_empty(password) && login_again(client, auth, ret_status))
                return 0;
        if (str_empty(user) || str_empty(password))
                r = ask_user(key, known, &user, &password, error);
        if (r != 0)
                return r;
        json_decref(auth);
        auth = make_auth(user, password, key);
        r = check_auth(client, auth, ret_status, &token, error);
        return r != 0 ? r : keep(config, auth, token, error);
}

static int run_login(Client *client, const ClientArguments *arguments)
{
        CLEANUP_FREE char *key = server_key(arguments->n_words > 0 ? arguments->words[0] : ""), *status = NULL;
        CLEANUP_CONFIG ClientConfig config = {};
        CLEANUP_ERROR Error error = {};
        int r = client_config_load(&config, &error);

        if (r == 0)
                r = login(client, &config, arguments, key, &status, &error);
        if (r != 0)
                return client_fail(&error);
        if (*status)
                puts(status);
        return 0;
}

static const ClientOption login_options[] = {
        { 'p', "password", OPTION_STRING, "string", NULL, "Password or access token", NULL, NULL, false },
        { 0, "password-stdin", OPTION_BOOL, NULL, NULL, "Take the password from STDIN", NULL, NULL, false },
        { 'u', "username", OPTION_STRING, "string", NULL, "Username", NULL, NULL, false },
        {},
};

const ClientCommand client_login = {
        .usage = "[OPTIONS] [SERVER]",
        .summary = "Authenticate to a registry",
        .options = login_options,
        .max_words = 1,
        .run = run_login,
};

/* --- logout --- */

static int run_logout(Client *client, const ClientArguments *arguments)
{
        const char *server = arguments->n_words > 0 ? arguments->words[0] : "";
        CLEANUP_FREE char *key = server_key(server);
        CLEANUP_CONFIG ClientConfig config = {};
        CLEANUP_ERROR Error error = {};
        const char *spellings[] = { key, NULL, NULL, NULL };
        CLEANUP_FREE char *plain = client_must(str_printf("http://%s", key));
        CLEANUP_FREE char *secure = client_must(str_printf("https://%s", key));
        bool hub = strcmp(key, CLIENT_AUTH_HUB) == 0;

        (void) client;
        if (client_config_load(&config, &error) != 0)
                return client_fail(&error);
        if (!hub) {
                /* As the user wrote it, and as older clients kept it. */
                spellings[1] = plain;
                spellings[2] = secure;
                spellings[3] = server;
        }
        printf("Removing login credentials for %s\n", key);
        fflush(stdout);
        for (size_t i = 0; i < ARRAY_SIZE(spellings); i++)
                if (spellings[i] && client_auth_erase(&config, spellings[i], &error) != 0) {
                        client_complain("WARNING: could not erase credentials:\n%s: %s", spellings[i], error.message);
                        error_clear(&error);
                }
        return 0;
}

const ClientCommand client_logout = {
        .usage = "[SERVER]",
        .summary = "Log out from a registry",
        .max_words = 1,
        .run = run_logout,
};
