/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every command of `berth` is made of: a ClientCommand describes its options in a table, from which parsing and
 * --help both come; Client holds the one connection that plain calls share. Commands return the process's exit status.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "berth/buffer.h"
#include "berth/http-client.h"
#include "berth/outcome.h"
#include "berth/string.h"

/* The version of the API this client is written for. */
#define CLIENT_API_VERSION "1.51"

/* The exit status of `run` and of usage errors when the program in the container had no part in it. */
#define CLIENT_EXIT_FAILURE 125

typedef enum ClientOptionKind {
        OPTION_BOOL,
        OPTION_STRING,
        OPTION_LIST,  /* repeatable */
        OPTION_MAP,   /* repeatable, each value is "key=value" */
        OPTION_COMMA, /* repeatable, each value a comma-separated list */
        OPTION_INT,
        OPTION_UINT16,
        OPTION_BYTES,    /* "64m" */
        OPTION_DECIMAL,  /* "1.5", kept in thousand-millionths */
        OPTION_DURATION, /* "1m30s", kept in nanoseconds */
} ClientOptionKind;

typedef struct ClientOption {
        char letter;      /* 0: none */
        const char *name; /* NULL ends the table */
        ClientOptionKind kind;
        const char *label;    /* the kind of value, as --help shows it; NULL for booleans */
        const char *fallback; /* shown by --help and parsed as the value before the command line; NULL: empty */
        const char *help;     /* lines are wrapped by --help; an explicit newline is kept */
        const char *field;    /* of the create request: "HostConfig.Memory"; NULL where code decides */
        int (*check)(const char *value, Error *error); /* refuses a value while parsing */
        bool hidden;
} ClientOption;

typedef struct ClientValue {
        bool set;  /* on the command line */
        bool flag; /* OPTION_BOOL */
        int64_t number;
        char *string; /* the last value, owned */
        char **list;  /* every value, owned */
} ClientValue;

typedef struct Client Client;
typedef struct ClientCommand ClientCommand;

typedef struct ClientArguments {
        const ClientCommand *command;
        char *path;          /* as it was called, "berth container ls"; owned */
        ClientValue *values; /* parallel to the command's options, owned */
        char **words;        /* borrowed from argv */
        size_t n_words;
} ClientArguments;

struct ClientCommand {
        const char *usage; /* what follows the path: "[OPTIONS] IMAGE" */
        const char *summary;
        const ClientOption *options; /* NULL: only --help */
        int min_words, max_words;    /* max -1: any number */
        bool stops_at_word;          /* options end at the first word that is none */
        int (*run)(Client *client, const ClientArguments *arguments);
};

struct Client {
        char *host;       /* "unix:///run/berth.sock", owned */
        char *socket;     /* its path, owned */
        HttpClient *http; /* owned; NULL while not connected */
};

/* --- client-options.c: parsing and --help --- */

/* Fills ARGUMENTS from ARGV. 0; 1 when --help was asked for; a positive exit status + 1 after a message was printed. */
int client_arguments_parse(ClientArguments *arguments, const ClientCommand *command, char **argv, size_t n);
void client_arguments_clear(ClientArguments *arguments);
#define CLEANUP_ARGUMENTS CLEANUP(client_arguments_clear)

/* Parses from the front of ARGV without printing; ERROR tells what is wrong. ret_used: where the words begin when
 * stops_at_word. */
int client_options_parse(const ClientOption *options, ClientValue *values, char **argv, size_t n, bool stops_at_word,
                         char **words, size_t *ret_n_words, size_t *ret_used, Error *error);
size_t client_options_count(const ClientOption *options);

/* The value of an option that the command's table has. */
const ClientValue *client_value(const ClientArguments *arguments, const char *name);
bool client_flag(const ClientArguments *arguments, const char *name);
const char *client_string(const ClientArguments *arguments, const char *name);

/* The options part of --help. */
void client_options_print(FILE *file, const char *title, const ClientOption *options);

int client_check_filter(const char *value, Error *error);
#define CLIENT_HELP_EXIT 1

/* --- client-commands.c: the names of the commands --- */

/* Runs what ARGV asks for (ARGV[0] is the first word behind the global options). */
int client_commands_run(Client *client, char **argv, size_t n);
void client_commands_print_help(FILE *file);
int client_commands_help(char **argv, size_t n);
extern const ClientOption client_global_options[];

/* All names a command is known by, " berth container run, berth run"; NULL when there is only one. */
char *client_command_aliases(const ClientCommand *command);
void client_command_print_help(FILE *file, const ClientCommand *command, const char *path);

/* --- client-api.c: calls --- */

int client_init(Client *client, const char *host, Error *error);
void client_clear(Client *client);

typedef struct ClientReply {
        int status;
        json_t *json; /* owned; NULL where the body is none */
        Buffer body;  /* as it came */
} ClientReply;
void client_reply_clear(ClientReply *reply);
#define CLEANUP_REPLY CLEANUP(client_reply_clear)

/* Opens a connection of its own / the shared one. 0, or positive with ERROR set. */
int client_connect(const Client *client, HttpClient **ret, Error *error);

/* One call on the shared connection, with BODY (may be NULL) as JSON. TARGET is the path, without a version. 0, or
 * positive with ERROR set to what the user is to read; reply->status is the daemon's where it answered at all. */
int client_call(Client *client, const char *method, const char *target, const json_t *body, ClientReply *reply,
                Error *error);

/* The same with everything that a request can say. */
int client_request(Client *client, const HttpClientRequest *request, ClientReply *reply, Error *error);

/* Sends a request on a connection of its own and reads the head of the answer, which is no refusal on success. */
int client_open(const Client *client, const HttpClientRequest *request, HttpClient **ret, Error *error);

/* Writes the rest of the body to FD as it comes. */
int client_copy_body(const Client *client, HttpClient *http, int fd, Error *error);

/* Sends a request on HTTP (which stays the caller's) without waiting. */
int client_send(HttpClient *http, const char *method, const char *target, const json_t *body, bool upgrade,
                Error *error);

/* Turns a response of 400 and more, read to its end, into ERROR. */
int client_refusal(HttpClient *http, Error *error);

/* Turns a failure of the transport into ERROR. */
int client_transport_error(const Client *client, int r, Error *error);

/* Builds "path?key=value&..." ; a NULL value leaves the key out. Memory failures end the process. */
void target_add(Buffer *target, const char *key, const char *value);
#define target_clear buffer_clear

/* "/containers/ID/VERB" in a fresh buffer. */
Buffer target_make(const char *collection, const char *name, const char *verb);

/* The filters parameter from --filter values ("key=value"). NULL where there are none. */
json_t *client_filters(char *const *list);
void target_add_filters(Buffer *target, const json_t *filters);

/* --- messages --- */

/* One line on standard error. */
void client_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints the error's message and returns 1, the status of a failed command. */
int client_fail(const Error *error);

/* Checks an allocation whose failure leaves nothing sensible to do. */
void *client_must(void *pointer);
void client_must_zero(int r);

/* --- commands, by file --- */
extern const ClientCommand client_start, client_attach; /* client-attach.c */
extern const ClientCommand client_build;                /* client-build.c */
extern const ClientCommand client_commit;               /* client-commit.c */
extern const ClientCommand client_wait, client_stop, client_kill, client_restart, client_rename, client_rm,
        client_pause, client_unpause;                             /* client-container.c */
extern const ClientCommand client_cp;                             /* client-cp.c */
extern const ClientCommand client_df;                             /* client-df.c */
extern const ClientCommand client_events;                         /* client-events.c */
extern const ClientCommand client_exec;                           /* client-exec.c */
extern const ClientCommand client_history;                        /* client-history.c */
extern const ClientCommand client_images, client_tag, client_rmi; /* client-image.c */
extern const ClientCommand client_inspect, client_inspect_container, client_inspect_image, client_inspect_network,
        client_inspect_volume;                                   /* client-inspect.c */
extern const ClientCommand client_load, client_import;           /* client-load.c */
extern const ClientCommand client_login, client_logout;          /* client-login.c */
extern const ClientCommand client_logs;                          /* client-logs.c */
extern const ClientCommand client_top, client_port, client_diff; /* client-look.c */
extern const ClientCommand client_network_ls, client_network_rm, client_network_connect,
        client_network_disconnect;                /* client-network.c */
extern const ClientCommand client_network_create; /* client-network-create.c */
extern const ClientCommand client_prune, client_builder_prune, client_image_prune, client_network_prune,
        client_volume_prune, client_system_prune;                                    /* client-prune.c */
extern const ClientCommand client_ps;                                                /* client-ps.c */
extern const ClientCommand client_pull_command, client_push_command;                 /* client-pull.c */
extern const ClientCommand client_run, client_create;                                /* client-run.c */
extern const ClientCommand client_save, client_export;                               /* client-save.c */
extern const ClientCommand client_search;                                            /* client-search.c */
extern const ClientCommand client_stats;                                             /* client-stats.c */
extern const ClientCommand client_version, client_info;                              /* client-system.c */
extern const ClientCommand client_unit;                                              /* client-unit.c */
extern const ClientCommand client_update;                                            /* client-update.c */
extern const ClientCommand client_volume_create, client_volume_ls, client_volume_rm; /* client-volume.c */
