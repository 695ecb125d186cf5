/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berthd: sockets in, engine and API up, ready, loop, out when idle. */
#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "berth/api.h"
#include "berth/file.h"
#include "berth/log.h"
#include "berth/runtime.h"
#include "berth/store.h"
#include "berth/string.h"
#include "daemon-autostart.h"

#define CONFIG_FILE BERTH_SYSCONFDIR "/berth/daemon.json"

typedef struct Daemon {
        Config config;
        sd_event *event;
        Engine *engine;
        Api *api;
        sd_event_source *idle;
        const char *config_file;
        char **listen;
} Daemon;

static void daemon_clear(Daemon *daemon)
{
        daemon->idle = sd_event_source_disable_unref(daemon->idle);
        /* The engine first: operations that end now still answer their requests. */
        engine_free(daemon->engine);
        api_free(daemon->api);
        sd_event_unref(daemon->event);
        strv_free(daemon->listen);
        config_clear(&daemon->config);
}

static bool is_busy(const Daemon *daemon)
{
        return http_server_busy(api_server(daemon->api)) || engine_busy(daemon->engine);
}

static void on_activity(void *userdata)
{
        Daemon *daemon = userdata;
        if (!daemon->idle)
                return;
        if (is_busy(daemon)) {
                sd_event_source_set_enabled(daemon->idle, SD_EVENT_OFF);
                return;
        }
        /* The loop's own time is that of its last turn, which what has just ended may have taken seconds of. */
        uint64_t now_us = (uint64_t) time_monotonic_ns() / 1000;
        uint64_t timeout_us = daemon->config.idle_timeout_us;
        sd_event_source_set_time(daemon->idle, timeout_us < UINT64_MAX - now_us ? now_us + timeout_us : UINT64_MAX);
        sd_event_source_set_enabled(daemon->idle, SD_EVENT_ONESHOT);
}

static int on_idle(sd_event_source *source, uint64_t usec, void *userdata)
{
        Daemon *daemon = userdata;
        (void) source;
        (void) usec;

        log_debug("Idle, exiting");
        engine_rest(daemon->engine);
        sd_notify(0, "STOPPING=1");
        return sd_event_exit(daemon->event, 0);
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
        Daemon *daemon = userdata;
        CLEANUP_CONFIG Config fresh = { 0 };
        CLEANUP_STRV char **warnings = NULL;
        CLEANUP_FREE char *message = NULL;
        (void) source;
        (void) info;

        sd_notify(0, "RELOADING=1");
        if (config_init(&fresh) < 0 || config_read(&fresh, daemon->config_file, &warnings, &message) < 0)
                log_error("The configuration is not reloaded: %s", message ? message : "out of memory");
        else {
                daemon->config.debug = fresh.debug;
                daemon->config.log_level = fresh.log_level;
                daemon->config.idle_timeout_us = fresh.idle_timeout_us;
                strv_free(daemon->config.labels);
                daemon->config.labels = TAKE_PTR(fresh.labels);
                log_set_max_level(config_log_level(&daemon->config));
        }
        sd_notify(0, "READY=1");
        return 0;
}

static int add_listener(Daemon *daemon, const char *address)
{
        const char *path = str_after_prefix(address, "unix://");
        if (!path) {
                log_error("Cannot listen on \"%s\": only unix:// addresses are supported", address);
                return -EINVAL;
        }
        int fd = socket_listen_unix(path, SOCK_STREAM | SOCK_NONBLOCK, 0660);
        if (fd < 0)
                return log_error_errno(fd, "Cannot listen on %s", path);
        const struct group *group = getgrnam(daemon->config.group);
        if (group && chown(path, (uid_t) -1, group->gr_gid) < 0)
                log_warning_errno(errno, "Cannot give %s to the group %s", path, daemon->config.group);
        return http_server_add_listener(api_server(daemon->api), fd);
}

/* Sockets systemd passes, and descriptors it kept for the daemon before this one. */
static int take_descriptors(Daemon *daemon, size_t *ret_listeners)
{
        CLEANUP_STRV char **names = NULL;
        int n = sd_listen_fds_with_names(1, &names);

        *ret_listeners = 0;
        for (int i = 0; i < n; i++) {
                int fd = SD_LISTEN_FDS_START + i;
                if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) > 0) {
                        int r = http_server_add_listener(api_server(daemon->api), fd);
                        if (r < 0)
                                return log_error_errno(r, "Cannot serve the socket %s", names[i]);
                        (*ret_listeners)++;
                } else
                        engine_restore_kept(daemon->engine, names[i], fd);
        }
        return n < 0 ? n : 0;
}

/* "fd://" stands for what systemd passed, as in Docker's configuration. */
static int listen_on(Daemon *daemon, char *const *addresses, size_t *n)
{
        for (; addresses && *addresses; addresses++) {
                if (str_equal(*addresses, "fd://"))
                        continue;
                int r = add_listener(daemon, *addresses);
                if (r < 0)
                        return r;
                (*n)++;
        }
        return 0;
}

static int open_sockets(Daemon *daemon)
{
        size_t n = 0;
        int r = take_descriptors(daemon, &n);

        if (r >= 0)
                r = listen_on(daemon, daemon->listen, &n);
        if (r >= 0)
                r = listen_on(daemon, daemon->config.hosts, &n);
        if (r >= 0 && n == 0) {
                log_error("No socket to serve: start berth.socket, or name one with --listen");
                return -EINVAL;
        }
        return r;
}

static int read_config(Daemon *daemon)
{
        CLEANUP_STRV char **warnings = NULL;
        CLEANUP_FREE char *message = NULL;
        int r = config_read(&daemon->config, daemon->config_file, &warnings, &message);

        if (r < 0) {
                log_error("%s", message ? message : strerror(-r));
                return r;
        }
        for (char **warning = warnings; warning && *warning; warning++)
                log_warning("%s", *warning);
        log_set_max_level(config_log_level(&daemon->config));
        return 0;
}

static int set_up_loop(Daemon *daemon)
{
        sigset_t signals;

        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGHUP);
        sigprocmask(SIG_BLOCK, &signals, NULL);
        signal(SIGPIPE, SIG_IGN);
        int r = sd_event_default(&daemon->event);
        if (r >= 0)
                r = sd_event_add_signal(daemon->event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(daemon->event, NULL, SIGINT, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(daemon->event, NULL, SIGHUP, on_reload, daemon);
        if (r >= 0)
                r = sd_event_set_watchdog(daemon->event, true);
        return r < 0 ? r : 0;
}

static int run(Daemon *daemon)
{
        int r = read_config(daemon);

        if (r >= 0)
                r = set_up_loop(daemon);
        if (r >= 0)
                r = engine_new(daemon->event, &daemon->config, &daemon->engine);
        if (r >= 0)
                r = api_new(daemon->event, daemon->engine, on_activity, daemon, &daemon->api);
        if (r >= 0)
                r = open_sockets(daemon);
        if (r >= 0 && daemon->config.idle_timeout_us != UINT64_MAX)
                r = sd_event_add_time_relative(daemon->event, &daemon->idle, CLOCK_MONOTONIC,
                                               daemon->config.idle_timeout_us, 0, on_idle, daemon);
        if (r < 0)
                return r;
        engine_set_activity(daemon->engine, on_activity, daemon);
        on_activity(daemon);
        sd_notify(0, "READY=1");
        return sd_event_loop(daemon->event);
}

static void print_fault(void *userdata, const char *text)
{
        (void) userdata;
        printf("%s\n", text);
}

/* 0 where all is well, 1 where not. */
static int check(Daemon *daemon)
{
        StoreCheck result;
        int r = read_config(daemon);

        if (r >= 0)
                r = store_check(daemon->config.data_root, print_fault, NULL, &result);
        if (r < 0) {
                log_error_errno(r, "Cannot check %s", daemon->config.data_root);
                return 1;
        }
        printf("%zu images, %zu layers, %zu blobs, %zu references: %zu faults\n", result.images, result.layers,
               result.blobs, result.references, result.faults);
        return result.faults > 0;
}

static void usage(void)
{
        printf("Usage: berthd [OPTIONS]\n\nThe Berth container engine's daemon. systemd starts it by berth.socket.\n\n"
               "Options:\n"
               "  -c, --config-file FILE    configuration (default %s)\n"
               "  -l, --listen unix://PATH  serve this socket too; may be given more than once\n"
               "      --autostart           have the containers started that are due at boot, and exit\n"
               "      --check               check all images and layers, print each fault, and exit\n"
               "  -r, --missing-routes      list the API's routes that this version does not have\n"
               "  -h, --help                show this help\n"
               "  -v, --version             show the version\n",
               CONFIG_FILE);
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                { "config-file", required_argument, NULL, 'c' },
                { "listen", required_argument, NULL, 'l' },
                { "missing-routes", no_argument, NULL, 'r' },
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'v' },
                { "autostart", no_argument, NULL, 'A' },
                { "check", no_argument, NULL, 'C' },
                { 0 },
        };
        CLEANUP(daemon_clear) Daemon daemon = { .config_file = CONFIG_FILE };
        bool checking = false, autostart = false;
        int option;

        if (config_init(&daemon.config) < 0)
                return 1;
        while ((option = getopt_long(argc, argv, "c:l:rhv", options, NULL)) >= 0) {
                switch (option) {
                case 'c':
                        daemon.config_file = optarg;
                        break;
                case 'l':
                        strv_append(&daemon.listen, optarg);
                        break;
                case 'A':
                        autostart = true;
                        break;
                case 'C':
                        checking = true;
                        break;
                case 'r':
                        api_print_missing_routes(stdout);
                        return 0;
                case 'h':
                        usage();
                        return 0;
                case 'v':
                        printf("berthd %s\n", BERTH_VERSION);
                        return 0;
                default:
                        return 2;
                }
        }
        if (checking)
                return check(&daemon);
        if (autostart)
                return read_config(&daemon) < 0 ? 1 : daemon_autostart(&daemon.config);
        int r = runtime_protect_program(argv);
        if (r < 0)
                log_warning_errno(r, "The daemon's program could not be protected from containers");
        return run(&daemon) < 0 ? 1 : 0;
}
