/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* spec_generate() against what dockerd 26 writes into a container's config.json for the same request, field by field,
 * and its refusals against dockerd's words. The expected values were read from dockerd on a booted host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "berth/json.h"
#include "berth/spec.h"
#include "berth/string.h"

static json_t *parse(const char *text)
{
        CLEANUP_FREE char *copy = strdup(text);
        json_error_t error;
        json_t *value;

        for (char *p = copy; *p; p++)
                *p = *p == '\'' ? '"' : *p;
        value = json_loads(copy, JSON_DECODE_ANY, &error);
        if (!value)
                fail_msg("%s: %s", error.text, copy);
        return value;
}

/* The engine's record for a Config and a HostConfig. */
static json_t *make_record(const char *config, const char *host)
{
        json_t *record = json_object(), *object = parse(config);

        json_object_set_new(record, "Path", json_string("/bin/true"));
        json_object_set_new(record, "Args", parse("['-x']"));
        if (!json_object_get(object, "Hostname"))
                json_object_set_new(object, "Hostname", json_string("0123456789ab"));
        json_object_set_new(record, "Config", object);
        json_object_set_new(record, "HostConfig", parse(host));
        return record;
}

static int generate_with(SpecInput input, const char *config, const char *host, json_t **ret, Error *error)
{
        CLEANUP_JSON json_t *record = make_record(config, host);

        input.id = "0123456789abcdef";
        input.record = record;
        input.rootfs = "/root/of/it";
        input.hostname_path = "/c/hostname";
        input.hosts_path = "/c/hosts";
        input.resolv_conf_path = "/c/resolv.conf";
        return spec_generate(&input, ret, error);
}

static json_t *generate(const char *config, const char *host)
{
        CLEANUP_ERROR Error error = {};
        json_t *result = NULL;
        int r = generate_with((SpecInput) {}, config, host, &result, &error);

        if (r != 0)
                fail_msg("%d: %s", r, error.message ? error.message : "no message");
        return result;
}

/* The value at a path like "linux/resources/cpu". */
static const json_t *at(const json_t *object, const char *path)
{
        CLEANUP_FREE char *copy = strdup(path);
        char *rest = copy;

        for (char *key; (key = strsep(&rest, "/"));)
                object = json_is_array(object) ? json_array_get(object, (size_t) atoi(key))
                                               : json_object_get(object, key);
        return object;
}

static void assert_at(const json_t *object, const char *path, const char *expected_text)
{
        CLEANUP_JSON json_t *expected = expected_text ? parse(expected_text) : NULL;
        const json_t *found = at(object, path);

        if (!expected ? !found : json_equal(found, expected))
                return;
        CLEANUP_FREE char *text = json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT);
        fprintf(stderr, "%s is %s\n", path, text ? text : "missing");
        assert_true(!expected ? !found : json_equal(found, expected));
}

static void assert_refused(const char *config, const char *host, int outcome, const char *message)
{
        CLEANUP_ERROR Error error = {};
        CLEANUP_JSON json_t *result = NULL;
        int r = generate_with((SpecInput) {}, config, host, &result, &error);

        assert_int_equal(r, outcome);
        assert_string_equal(error.message, message);
        assert_null(result);
}

/* --- tests --- */

static void test_default(void **state)
{
        CLEANUP_JSON json_t *config = generate("{}", "{}");

        (void) state;
        assert_at(config, "process/args", "['/bin/true','-x']");
        assert_at(config, "process/env",
                  "['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin','HOSTNAME=0123456789ab']");
        assert_at(config, "process/cwd", "'/'");
        assert_at(config, "process/terminal", "false");
        assert_at(config, "process/user", "{'username':''}");
        assert_at(config, "process/oomScoreAdj", "0");
        assert_at(config, "process/capabilities/ambient", NULL);
        assert_at(config, "process/capabilities/inheritable", NULL);
        assert_at(config, "root", "{'path':'/root/of/it','readonly':false}");
        assert_at(config, "hostname", "'0123456789ab'");
        assert_at(config, "linux/namespaces",
                  "[{'type':'mount'},{'type':'network'},{'type':'uts'},{'type':'pid'},"
                  "{'type':'ipc'},{'type':'cgroup'}]");
        assert_at(config, "linux/sysctl",
                  "{'net.ipv4.ip_unprivileged_port_start':'0',"
                  "'net.ipv4.ping_group_range':'0 2147483647'}");
        assert_at(config, "linux/readonlyPaths",
                  "['/proc/bus','/proc/fs','/proc/irq','/proc/sys','/proc/sysrq-trigger']");
        assert_at(config, "linux/rootfsPropagation", NULL);
        assert_at(config, "linux/devices", "[]");
        assert_at(config, "linux/resources/memory", "{}");
        assert_at(config, "linux/resources/cpu", "{}");
        assert_at(config, "linux/resources/pids", NULL);
}

static void test_default_mounts(void **state)
{
        CLEANUP_JSON json_t *config = generate("{}", "{}");

        (void) state;
        assert_at(
                config, "mounts",
                "[{'destination':'/proc','type':'proc','source':'proc','options':['nosuid','noexec','nodev']},"
                "{'destination':'/dev','type':'tmpfs','source':'tmpfs','options':"
                "['nosuid','strictatime','mode=755','size=65536k']},"
                "{'destination':'/dev/pts','type':'devpts','source':'devpts','options':"
                "['nosuid','noexec','newinstance','ptmxmode=0666','mode=0620','gid=5']},"
                "{'destination':'/sys','type':'sysfs','source':'sysfs','options':['nosuid','noexec','nodev','ro']},"
                "{'destination':'/sys/fs/cgroup','type':'cgroup','source':'cgroup','options':"
                "['nosuid','noexec','nodev','ro']},"
                "{'destination':'/dev/mqueue','type':'mqueue','source':'mqueue','options':['nosuid','noexec','nodev']},"
                "{'destination':'/dev/shm','type':'tmpfs','source':'shm','options':"
                "['nosuid','noexec','nodev','mode=1777','size=67108864']},"
                "{'destination':'/etc/resolv.conf','type':'bind','source':'/c/"
                "resolv.conf','options':['rbind','rprivate']},"
                "{'destination':'/etc/hostname','type':'bind','source':'/c/hostname','options':['rbind','rprivate']},"
                "{'destination':'/etc/hosts','type':'bind','source':'/c/hosts','options':['rbind','rprivate']}]");
}

static void test_masked_paths(void **state)
{
        static const char *const expected[] = {
                "/proc/asound",      "/proc/acpi",          "/proc/interrupts", "/proc/kcore",
                "/proc/keys",        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                "/proc/sched_debug", "/proc/scsi",          "/sys/firmware",    "/sys/devices/virtual/powercap",
        };
        CLEANUP_JSON json_t *config = generate("{}", "{}");
        CLEANUP_JSON json_t *given = generate("{}", "{'MaskedPaths':['/x'],'ReadonlyPaths':[]}");
        CLEANUP_JSON json_t *open = generate("{}", "{'SecurityOpt':['systempaths=unconfined']}");
        const json_t *list = at(config, "linux/maskedPaths");
        struct stat st;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
                assert_string_equal(json_string_value(json_array_get(list, i)), expected[i]);
        assert_int_equal(json_array_size(list) > ARRAY_SIZE(expected),
                         stat("/sys/devices/system/cpu/cpu0/thermal_throttle", &st) >= 0);
        assert_at(given, "linux/maskedPaths", "['/x']");
        assert_at(given, "linux/readonlyPaths", "[]");
        assert_at(open, "linux/maskedPaths", NULL);
        assert_at(open, "linux/readonlyPaths", NULL);
}

static void assert_capabilities(const char *host, const char *expected)
{
        static const char *const sets[] = { "bounding", "effective", "permitted" };
        CLEANUP_JSON json_t *config = generate("{'User':'1000'}", host);

        for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
                CLEANUP_FREE char *path = str_printf("process/capabilities/%s", sets[i]);
                CLEANUP_JSON json_t *list = parse(expected);
                const json_t *found = at(config, path);
                json_t *entry;
                size_t j;

                assert_int_equal(json_array_size(found), json_array_size(list));
                json_array_foreach(list, j, entry) {
                        bool there = false;

                        for (size_t k = 0; k < json_array_size(found); k++)
                                there = there || json_equal(json_array_get(found, k), entry);
                        assert_true(there);
                }
        }
}

static void test_capabilities(void **state)
{
        CLEANUP_JSON json_t *all = generate("{}", "{'CapAdd':['ALL'],'CapDrop':['SYS_ADMIN']}");
        CLEANUP_JSON json_t *privileged = generate("{}", "{'Privileged':true}");

        (void) state;
        assert_capabilities("{}", "['CAP_CHOWN','CAP_DAC_OVERRIDE','CAP_FSETID','CAP_FOWNER','CAP_MKNOD','CAP_NET_RAW',"
                                  "'CAP_SETGID','CAP_SETUID','CAP_SETFCAP','CAP_SETPCAP','CAP_NET_BIND_SERVICE',"
                                  "'CAP_SYS_CHROOT','CAP_KILL','CAP_AUDIT_WRITE']");
        assert_capabilities("{'CapAdd':['net_admin','CAP_CHOWN'],'CapDrop':['ALL']}", "['CAP_CHOWN','CAP_NET_ADMIN']");
        assert_capabilities("{'CapDrop':['all']}", "[]");
        assert_int_equal(json_array_size(at(all, "process/capabilities/bounding")), 40);
        assert_int_equal(json_array_size(at(privileged, "process/capabilities/bounding")), 41);
        assert_refused("{}", "{'CapAdd':['NOPE']}", OUTCOME_BAD_REQUEST,
                       "invalid CapAdd: unknown capability: \"CAP_NOPE\"");
        assert_refused("{}", "{'CapDrop':['CAP_NOPE']}", OUTCOME_BAD_REQUEST,
                       "invalid CapDrop: unknown capability: \"CAP_NOPE\"");
}

static void test_process(void **state)
{
        CLEANUP_JSON json_t *config = generate(
                "{'User':'daemon:staff','Hostname':'myhost','Domainname':'example.org','Tty':true,'WorkingDir':'/w',"
                "'Env':['A=b','EMPTY','PATH=/bin','TERM=vt100','A=c']}",
                "{'GroupAdd':['www-data','77'],'OomScoreAdj':-5,'ReadonlyRootfs':true,"
                "'Ulimits':[{'Name':'nofile','Soft':100,'Hard':200}]}");
        CLEANUP_JSON json_t *no_path = generate("{'Env':['PATH']}", "{}");

        (void) state;
        assert_at(config, "process/env", "['PATH=/bin','HOSTNAME=myhost','TERM=vt100','A=c']");
        assert_at(config, "process/user/username", "'daemon:staff'");
        assert_at(config, "annotations/berth.group-add", "'www-data,77'");
        assert_at(config, "process/terminal", "true");
        assert_at(config, "process/cwd", "'/w'");
        assert_at(config, "process/oomScoreAdj", "-5");
        assert_at(config, "process/rlimits", "[{'type':'RLIMIT_NOFILE','soft':100,'hard':200}]");
        assert_at(config, "domainname", "'example.org'");
        assert_at(config, "root/readonly", "true");
        assert_at(config, "mounts/7",
                  "{'destination':'/etc/resolv.conf','type':'bind','source':'/c/resolv.conf',"
                  "'options':['rbind','rro','rprivate']}");
        assert_at(no_path, "process/env", "['HOSTNAME=0123456789ab']");
        assert_refused("{'WorkingDir':'rel'}", "{}", OUTCOME_BAD_REQUEST,
                       "the working directory 'rel' is invalid, it needs to be an absolute path");
        assert_refused("{}", "{'OomScoreAdj':2000}", OUTCOME_BAD_REQUEST,
                       "Invalid value 2000, range for oom score adj is [-1000, 1000]");
}

static void test_init(void **state)
{
        CLEANUP_JSON json_t *config = NULL;
        CLEANUP_ERROR Error error = {};

        (void) state;
        assert_int_equal(
                generate_with((SpecInput) { .init_path = "/usr/bin/init" }, "{}", "{'Init':true}", &config, &error), 0);
        assert_at(config, "process/args", "['/sbin/docker-init','--','/bin/true','-x']");
        assert_at(config, "mounts/7",
                  "{'destination':'/sbin/docker-init','type':'bind','source':'/usr/bin/init',"
                  "'options':['bind','ro']}");
}

static void test_user_mounts(void **state)
{
        CLEANUP_JSON json_t *config =
                generate("{}", "{'Binds':['/root:/data:ro','/etc/passwd:/x/pw','/run:/slave:rslave'],"
                               "'Mounts':[{'Type':'bind','Source':'/root','Target':'/m/','ReadOnly':true,"
                               "'BindOptions':{'Propagation':'rslave'}},"
                               "{'Type':'tmpfs','Target':'/mt','TmpfsOptions':{'SizeBytes':1000000,'Mode':1016}},"
                               "{'Type':'tmpfs','Target':'/"
                               "mt2','TmpfsOptions':{'SizeBytes':1048576,'Options':[['exec'],['uid','5']]}}],"
                               "'Tmpfs':{'/tf':'','/tf2':'size=10m,mode=700,exec'}}");

        (void) state;
        assert_at(config, "mounts/7",
                  "{'destination':'/tf','type':'tmpfs','source':'tmpfs','options':"
                  "['noexec','nosuid','nodev','rprivate']}");
        assert_at(config, "mounts/8",
                  "{'destination':'/tf2','type':'tmpfs','source':'tmpfs','options':"
                  "['nosuid','nodev','rprivate','size=10m','mode=700','exec']}");
        assert_at(config, "mounts/9",
                  "{'destination':'/m','type':'bind','source':'/root','options':['rbind','rro','rslave']}");
        assert_at(config, "mounts/10",
                  "{'destination':'/mt','type':'tmpfs','source':'tmpfs','options':"
                  "['noexec','nosuid','nodev','rprivate','mode=1770','size=1000000']}");
        assert_at(config, "mounts/11",
                  "{'destination':'/mt2','type':'tmpfs','source':'tmpfs','options':"
                  "['nosuid','nodev','rprivate','size=1m','exec','uid=5']}");
        assert_at(config, "mounts/12",
                  "{'destination':'/data','type':'bind','source':'/root','options':['rbind','rro','rprivate']}");
        assert_at(config, "mounts/13",
                  "{'destination':'/slave','type':'bind','source':'/run','options':['rbind','rslave']}");
        assert_at(config, "mounts/14/destination", "'/x/pw'");
        assert_at(config, "mounts/15/destination", "'/etc/resolv.conf'");
        assert_at(config, "linux/rootfsPropagation", "'rslave'");
}

static void test_replaced_mounts(void **state)
{
        CLEANUP_JSON json_t *shm = generate("{}", "{'Binds':['/run:/dev/shm','/run:/etc/hosts']}");
        CLEANUP_JSON json_t *dev = generate("{}", "{'Binds':['/dev:/dev']}");

        (void) state;
        assert_int_equal(json_array_size(json_object_get(shm, "mounts")), 10);
        assert_at(shm, "mounts/6/source", "'/run'");
        assert_at(shm, "mounts/7/source", "'/run'");
        /* proc, sys, cgroup; /dev; three files */
        assert_int_equal(json_array_size(json_object_get(dev, "mounts")), 7);
}

static void test_volumes(void **state)
{
        CLEANUP_JSON json_t *volumes = parse("[{'Source':'/v/_data','Destination':'/vol','RW':true},"
                                             "{'Source':'/w/_data','Destination':'/w/','RW':false}]");
        CLEANUP_JSON json_t *config = NULL;
        CLEANUP_ERROR Error error = {};

        (void) state;
        assert_int_equal(generate_with((SpecInput) { .volumes = volumes }, "{}",
                                       "{'Binds':['name:/vol'],'Mounts':[{'Type':'volume','Target':'/w/'}]}", &config,
                                       &error),
                         OUTCOME_FAILED); /* the engine gives clean destinations */
        json_object_set_new(json_array_get(volumes, 1), "Destination", json_string("/w"));
        error_clear(&error);
        assert_int_equal(generate_with((SpecInput) { .volumes = volumes }, "{}",
                                       "{'Binds':['name:/vol'],'Mounts':[{'Type':'volume','Target':'/w/'}]}", &config,
                                       &error),
                         0);
        assert_at(config, "mounts/7", "{'destination':'/vol','type':'bind','source':'/v/_data','options':['rbind']}");
        assert_at(config, "mounts/8",
                  "{'destination':'/w','type':'bind','source':'/w/_data','options':['rbind','rro']}");
}

static void test_mount_refusals(void **state)
{
        static const struct {
                const char *host, *message;
        } cases[] = {
                { "{'Binds':['/root:relative']}", "invalid volume specification: '/root:relative': invalid mount "
                                                  "config for type \"bind\": invalid mount "
                                                  "path: 'relative' mount path must be absolute" },
                { "{'Binds':['/root:/x:badmode']}", "invalid mode: badmode" },
                { "{'Binds':['/root:/x:ro,rw']}", "invalid mode: ro,rw" },
                { "{'Binds':['/root:/']}",
                  "invalid volume specification: '/root:/': invalid mount config for type \"bind\": invalid "
                  "specification: destination can't be '/'" },
                { "{'Binds':['/root:/x/..']}",
                  "invalid volume specification: '/root:/x/..': invalid mount config for type \"bind\": invalid "
                  "specification: destination can't be '/'" },
                { "{'Binds':['/a:/b:ro:x']}", "invalid volume specification: '/a:/b:ro:x'" },
                { "{'Binds':['/root:/a','/etc:/a/']}", "Duplicate mount point: /a" },
                { "{'Mounts':[{'Type':'bind','Source':'/nonexist','Target':'/a'}]}",
                  "invalid mount config for type \"bind\": bind source path does not exist: /nonexist" },
                { "{'Mounts':[{'Type':'bind','Target':'/a'}]}",
                  "invalid mount config for type \"bind\": field Source must not be empty" },
                { "{'Mounts':[{'Type':'bind','Source':'/etc'}]}",
                  "invalid mount config for type \"bind\": field Target must not be empty" },
                { "{'Mounts':[{'Type':'odd','Source':'/etc','Target':'/a'}]}",
                  "invalid mount config for type \"odd\": mount type unknown" },
                { "{'Tmpfs':{'/a':'bogusopt'}}", "invalid tmpfs option \"bogusopt\"" },
                { "{'Tmpfs':{'rel':''}}", "invalid mount path: 'rel' mount path must be absolute" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                assert_refused("{}", cases[i].host, OUTCOME_BAD_REQUEST, cases[i].message);
}

static void test_limits(void **state)
{
        CLEANUP_JSON json_t *config =
                generate("{}", "{'Memory':104857600,'MemoryReservation':52428800,'NanoCpus':1500000000,'CpuShares':200,"
                               "'PidsLimit':77,'CpusetCpus':'0','CpusetMems':'0','ShmSize':33554432,'BlkioWeight':300,"
                               "'BlkioDeviceReadBps':[{'Path':'/dev/null','Rate':1000}]}");
        CLEANUP_JSON json_t *quota =
                generate("{}", "{'CpuQuota':5000,'CpuPeriod':10000,'Memory':104857600,'MemorySwap':-1,"
                               "'PidsLimit':-1}");

        (void) state;
        assert_at(config, "linux/resources/memory", "{'limit':104857600,'reservation':52428800,'swap':209715200}");
        assert_at(config, "linux/resources/cpu", "{'shares':200,'period':100000,'quota':150000,'cpus':'0','mems':'0'}");
        assert_at(config, "linux/resources/pids", "{'limit':77}");
        assert_at(config, "linux/resources/blockIO",
                  "{'weight':300,'throttleReadBpsDevice':[{'major':1,'minor':3,'rate':1000}]}");
        assert_at(config, "mounts/6/options", "['nosuid','noexec','nodev','mode=1777','size=33554432']");
        assert_at(quota, "linux/resources/cpu", "{'quota':5000,'period':10000}");
        assert_at(quota, "linux/resources/memory/swap", "-1");
        assert_at(quota, "linux/resources/pids/limit", "-1");
}

static void test_devices(void **state)
{
        CLEANUP_JSON json_t *config = generate("{}", "{'Devices':[{'PathOnHost':'/dev/full','PathInContainer':'/dev/x',"
                                                     "'CgroupPermissions':'rw'}],'DeviceCgroupRules':['c 10:* rmw']}");
        CLEANUP_JSON json_t *privileged = generate("{}", "{'Privileged':true}"), *check = NULL;
        CLEANUP_ERROR Error error = {};
        size_t n = json_array_size(at(config, "linux/resources/devices"));
        CLEANUP_FREE char *last = str_printf("linux/resources/devices/%zu", n - 1);
        CLEANUP_FREE char *before = str_printf("linux/resources/devices/%zu", n - 2);

        (void) state;
        assert_at(config, "linux/resources/devices/0", "{'allow':false,'access':'rwm'}");
        assert_at(config, "linux/devices/0/path", "'/dev/x'");
        assert_at(config, "linux/devices/0/minor", "7");
        assert_at(config, before, "{'allow':true,'type':'c','major':1,'minor':7,'access':'rw'}");
        assert_at(config, last, "{'allow':true,'type':'c','major':10,'access':'rmw'}");
        assert_at(privileged, "linux/resources/devices", "[{'allow':true,'access':'rwm'}]");
        assert_true(json_array_size(at(privileged, "linux/devices")) >= 6);
        assert_refused("{}", "{'Devices':[{'PathOnHost':'/dev/nope'}]}", OUTCOME_FAILED,
                       "error gathering device information while adding custom device \"/dev/nope\": no such file or "
                       "directory");
        assert_refused("{}", "{'DeviceCgroupRules':['x 1:1 r']}", OUTCOME_BAD_REQUEST,
                       "invalid device cgroup rule format: 'x 1:1 r'");
        assert_int_equal(generate_with((SpecInput) { .check_only = true }, "{}",
                                       "{'Devices':[{'PathOnHost':'/dev/nope'}],'Binds':['/nonexist/x:/y','name:/z']}",
                                       &check, &error),
                         0);
        assert_int_equal(access("/nonexist", F_OK), -1);
}

static void test_privileged(void **state)
{
        CLEANUP_JSON json_t *config = generate("{}", "{'Privileged':true}");

        (void) state;
        assert_at(config, "linux/seccomp", NULL);
        assert_at(config, "linux/maskedPaths", "[]");
        assert_at(config, "linux/readonlyPaths", "[]");
        assert_at(config, "mounts/3/options", "['nosuid','noexec','nodev']");
        assert_at(config, "mounts/4/options", "['nosuid','noexec','nodev']");
}

static void test_namespaces(void **state)
{
        CLEANUP_JSON json_t *host = NULL, *joined = NULL;
        CLEANUP_ERROR Error error = {};
        SpecInput input = { .network_namespace_path = "/proc/1/ns/net",
                            .ipc_namespace_path = "/proc/1/ns/ipc",
                            .shm_path = "/c/shm" };

        (void) state;
        assert_int_equal(generate_with((SpecInput) { .network_namespace_path = "" }, "{}",
                                       "{'IpcMode':'host','PidMode':'host','UTSMode':'host','CgroupnsMode':'host'}",
                                       &host, &error),
                         0);
        assert_at(host, "linux/namespaces", "[{'type':'mount'}]");
        assert_at(host, "linux/sysctl", "{}");
        assert_at(host, "hostname", NULL);
        assert_at(host, "mounts/6",
                  "{'destination':'/dev/shm','type':'bind','source':'/dev/shm','options':"
                  "['rbind','rprivate']}");
        assert_int_equal(generate_with(input, "{}", "{'IpcMode':'container:x'}", &joined, &error), 0);
        assert_at(joined, "linux/namespaces/1", "{'type':'network','path':'/proc/1/ns/net'}");
        assert_at(joined, "mounts/6/source", "'/c/shm'");
        assert_refused("{}", "{'IpcMode':'bogus'}", OUTCOME_BAD_REQUEST, "invalid IPC mode: bogus");
        assert_refused("{}", "{'PidMode':'bogus'}", OUTCOME_BAD_REQUEST, "invalid PID mode: bogus");
        assert_refused("{}", "{'UTSMode':'container:x'}", OUTCOME_BAD_REQUEST, "invalid UTS mode: container:x");
}

static void test_security_options(void **state)
{
        CLEANUP_JSON json_t *locked =
                generate("{}", "{'SecurityOpt':['no-new-privileges','label=disable','apparmor=x']}");
        CLEANUP_JSON json_t *open = generate("{}", "{'SecurityOpt':['seccomp=unconfined','no-new-privileges=false']}");
        CLEANUP_JSON json_t *cgroups = generate("{}", "{'SecurityOpt':['writable-cgroups=true']}");

        (void) state;
        assert_at(locked, "process/noNewPrivileges", "true");
        assert_non_null(at(locked, "linux/seccomp"));
        assert_at(open, "process/noNewPrivileges", NULL);
        assert_at(open, "linux/seccomp", NULL);
        assert_at(cgroups, "mounts/4/options", "['nosuid','noexec','nodev']");
        assert_refused("{}", "{'SecurityOpt':['bad=1']}", OUTCOME_BAD_REQUEST, "invalid --security-opt 2: \"bad=1\"");
        assert_refused("{}", "{'SecurityOpt':['bad']}", OUTCOME_BAD_REQUEST, "invalid --security-opt 1: \"bad\"");
        assert_refused("{}", "{'SecurityOpt':['no-new-privileges=maybe']}", OUTCOME_BAD_REQUEST,
                       "invalid --security-opt 2: \"no-new-privileges=maybe\"");
}

/* Counts the rules for a name. */
static size_t count_rules(const json_t *seccomp, const char *name)
{
        json_t *rule, *entry;
        size_t i, j, n = 0;

        json_array_foreach(json_get_array(seccomp, "syscalls"), i, rule)
                json_array_foreach(json_get_array(rule, "names"), j, entry)
                        n += str_equal(json_string_value(entry), name);
        return n;
}

static void test_seccomp(void **state)
{
        CLEANUP_JSON json_t *config = generate("{}", "{}"), *admin = generate("{}", "{'CapAdd':['SYS_ADMIN']}");
        const json_t *seccomp = at(config, "linux/seccomp");
        size_t names = 0;

        (void) state;
        for (size_t i = 0; i < json_array_size(at(seccomp, "syscalls")); i++)
                names += json_array_size(json_object_get(json_array_get(at(seccomp, "syscalls"), i), "names"));
        /* 352 always, then those of newer kernels, of the machine, with arguments and with CAP_SYS_CHROOT. */
        assert_int_equal(names, 352 + 3 + 1 + 5 + 2 + 2 + 1);
        assert_int_equal(count_rules(seccomp, "personality"), 5);
        assert_int_equal(count_rules(seccomp, "clone3"), 1);
        assert_int_equal(count_rules(seccomp, "mount"), 0);
        assert_int_equal(count_rules(seccomp, "io_uring_setup"), 0);
        assert_int_equal(count_rules(at(admin, "linux/seccomp"), "mount"), 1);
        assert_at(seccomp, "defaultAction", "'SCMP_ACT_ERRNO'");
}

static void test_custom_seccomp(void **state)
{
        static const char text[] =
                "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"archMap\":[{\"architecture\":\"SCMP_ARCH_X86_64\","
                "\"subArchitectures\":[\"SCMP_ARCH_X86\"]},{\"architecture\":\"SCMP_ARCH_AARCH64\","
                "\"subArchitectures\":[\"SCMP_ARCH_ARM\"]}],\"syscalls\":["
                "{\"name\":\"mkdir\",\"action\":\"SCMP_ACT_ERRNO\",\"args\":null,\"comment\":\"x\"},"
                "{\"names\":[\"chmod\"],\"action\":\"SCMP_ACT_ERRNO\",\"includes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}},"
                "{\"names\":[\"chown\"],\"action\":\"SCMP_ACT_ERRNO\",\"excludes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}},"
                "{\"names\":[\"link\"],\"action\":\"SCMP_ACT_ERRNO\",\"includes\":{\"minKernel\":\"99.0\"}},"
                "{\"names\":[\"sync\"],\"action\":\"SCMP_ACT_ERRNO\",\"includes\":{\"arches\":[\"s390x\"]}}]}";
        char admin[] = "CAP_SYS_ADMIN";
        char *with[] = { admin, NULL }, *without[] = { NULL };
        CLEANUP_JSON json_t *one = NULL, *two = NULL, *three = NULL;
        CLEANUP_ERROR Error error = {};

        (void) state;
        assert_int_equal(spec_custom_seccomp(text, without, &one, &error), 0);
        assert_int_equal(json_array_size(at(one, "syscalls")), 2);
        assert_at(one, "syscalls/0", "{'names':['mkdir'],'action':'SCMP_ACT_ERRNO'}");
        assert_int_equal(count_rules(one, "chown"), 1);
        assert_int_equal(json_array_size(at(one, "architectures")), 2);
        assert_int_equal(spec_custom_seccomp(text, with, &two, &error), 0);
        assert_int_equal(count_rules(two, "chmod"), 1);
        assert_int_equal(count_rules(two, "chown"), 0);
        assert_int_equal(spec_custom_seccomp("{", with, &three, &error), OUTCOME_BAD_REQUEST);
        assert_non_null(strstr(error.message, "Decoding seccomp profile failed"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_default),          cmocka_unit_test(test_default_mounts),
                cmocka_unit_test(test_masked_paths),     cmocka_unit_test(test_capabilities),
                cmocka_unit_test(test_process),          cmocka_unit_test(test_init),
                cmocka_unit_test(test_user_mounts),      cmocka_unit_test(test_replaced_mounts),
                cmocka_unit_test(test_volumes),          cmocka_unit_test(test_mount_refusals),
                cmocka_unit_test(test_limits),           cmocka_unit_test(test_devices),
                cmocka_unit_test(test_privileged),       cmocka_unit_test(test_namespaces),
                cmocka_unit_test(test_security_options), cmocka_unit_test(test_seccomp),
                cmocka_unit_test(test_custom_seccomp),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
