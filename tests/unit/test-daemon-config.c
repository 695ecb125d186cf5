/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* daemon.json: what is taken, and that a refusal names the file and the key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "berth/config.h"
#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"

static char top[64], file[96];

static int setup(void **state)
{
        (void) state;
        strcpy(top, "/tmp/berth-config-XXXXXX");
        if (!mkdtemp(top))
                return -1;
        snprintf(file, sizeof(file), "%s/daemon.json", top);
        return 0;
}

static int teardown(void **state)
{
        (void) state;
        return path_remove_tree_at(AT_FDCWD, top);
}

static int read_text(const char *text, Config *config, char ***warnings, char **message)
{
        CLEANUP_CLOSE int fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        assert_int_equal(config_init(config), 0);
        assert_int_equal(file_replace_volatile_at(fd, "daemon.json", text, strlen(text), 0600), 0);
        return config_read(config, file, warnings, message);
}

static void test_defaults(void **state)
{
        CLEANUP_CONFIG Config config = { 0 };
        CLEANUP_STRV char **warnings = NULL;
        CLEANUP_FREE char *message = NULL;
        (void) state;

        assert_int_equal(config_init(&config), 0);
        assert_int_equal(config_read(&config, "/nonexistent/daemon.json", &warnings, &message), 0);
        assert_string_equal(config.data_root, "/var/lib/berth");
        assert_int_equal(config.idle_timeout_us, 10000000);
}

static void test_values_and_drop_in(void **state)
{
        CLEANUP_CONFIG Config config = { 0 };
        CLEANUP_STRV char **warnings = NULL;
        CLEANUP_FREE char *message = NULL, *directory = str_printf("%s.d", file);
        struct in_addr gateway;
        (void) state;

        assert_int_equal(mkdir(directory, 0755), 0);
        CLEANUP_CLOSE int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(file_replace_volatile_at(fd, "10-more.json", "{\"debug\":true}", 14, 0600), 0);
        assert_int_equal(read_text("{\"bip\":\"10.9.0.1/24\",\"dns\":[\"1.1.1.1\"],\"default-shm-size\":\"128m\","
                                   "\"default-ulimits\":{\"nofile\":{\"Name\":\"nofile\",\"Hard\":20,\"Soft\":10}},"
                                   "\"default-ipc-mode\":\"shareable\",\"default-cgroupns-mode\":\"host\","
                                   "\"idle-timeout\":-1,\"live-restore\":true}",
                                   &config, &warnings, &message),
                         0);
        assert_int_equal(inet_pton(AF_INET, "10.9.0.1", &gateway), 1);
        assert_int_equal(config.bridge_gateway.s_addr, gateway.s_addr);
        assert_int_equal(config.bridge_prefix, 24);
        assert_string_equal(config.dns[0], "1.1.1.1");
        assert_int_equal(config.shm_size, 128 * 1024 * 1024);
        assert_string_equal(config.ipc_mode, "shareable");
        assert_string_equal(config.cgroup_namespace, "host");
        assert_int_equal(json_get_int(json_object_get(config.ulimits, "nofile"), "Soft", 0), 10);
        assert_true(config.idle_timeout_us == UINT64_MAX);
        assert_true(config.debug);
        assert_int_equal(strv_length(warnings), 1);
        assert_non_null(strstr(warnings[0], "live-restore"));
        assert_int_equal(path_remove_tree_at(AT_FDCWD, directory), 0);
}

static void test_refusals(void **state)
{
        static const struct {
                const char *text, *word;
        } rows[] = {
                { "{\"no-such-key\":1}", "no-such-key" },
                { "{\"bip\":\"10.9.0.1\"}", "bip" },
                { "{\"bip\":5}", "bip" },
                { "{\"dns\":[1]}", "dns" },
                { "{\"dns\":\"1.1.1.1\"}", "dns" },
                { "{\"debug\":\"yes\"}", "debug" },
                { "{\"log-level\":\"loud\"}", "log-level" },
                { "{\"log-level\":true}", "log-level" },
                { "{\"data-root\":\"\"}", "data-root" },
                { "{\"log-driver\":\"syslog\"}", "log-driver" },
                { "{\"log-driver\":5}", "log-driver" },
                { "{\"log-driver\":\"local\",\"log-opts\":{\"tag\":\"x\"}}", "log-opts" },
                { "{\"log-driver\":\"json-file\",\"log-opts\":{\"max-size\":\"x\"}}", "log-opts" },
                { "{\"mtu\":70000}", "mtu" },
                { "{\"default-shm-size\":\"big\"}", "default-shm-size" },
                { "{\"default-ipc-mode\":\"host\"}", "default-ipc-mode" },
                { "{\"runtimes\":{\"x\":{\"path\":\"crun\"}}}", "runtimes" },
                { "{\"runtimes\":{\"x\":{\"path\":\"/crun\",\"runtimeArgs\":[1]}}}", "runtimes" },
                { "{\"default-cgroupns-mode\":\"odd\"}", "default-cgroupns-mode" },
                { "{\"default-ulimits\":{\"nofile\":{\"Hard\":1,\"Soft\":2}}}", "default-ulimits" },
                { "{\"idle-timeout\":\"10s\"}", "idle-timeout" },
                { "[]", "not a JSON object" },
                { "{", "daemon.json" },
                { "{\"debug\":true,\"debug\":false}", "daemon.json" },
        };
        (void) state;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                CLEANUP_CONFIG Config config = { 0 };
                CLEANUP_STRV char **warnings = NULL;
                CLEANUP_FREE char *message = NULL;
                assert_true(read_text(rows[i].text, &config, &warnings, &message) < 0);
                assert_non_null(strstr(message, "daemon.json"));
                assert_non_null(strstr(message, rows[i].word));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_values_and_drop_in),
                cmocka_unit_test(test_refusals),
        };

        return cmocka_run_group_tests_name("daemon-config", tests, setup, teardown);
}
