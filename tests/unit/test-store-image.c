/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images from archives into the store and out of it again: loading in every form, committing, asking, removing, and
 * what a start finds after a crash. */
#include <sys/wait.h>

#include "store-test.h"

typedef struct Fixture {
        char *path;
        Store *store;
        Buffer layer_a, layer_b;
        char diff_a[STORE_DIGEST_SIZE], diff_b[STORE_DIGEST_SIZE];
} Fixture;

static void make_layer(Buffer *tar, const char *path, const char *content, char ret_diff_id[static STORE_DIGEST_SIZE])
{
        tar_file(tar, path, content);
        tar_end(tar);
        assert_int_equal(store_digest_data(tar->data, tar->size, ret_diff_id), 0);
}

static int setup(void **state)
{
        Fixture *fixture = calloc(1, sizeof(*fixture));

        fixture->path = make_directory();
        assert_int_equal(store_open(fixture->path, &fixture->store), 0);
        make_layer(&fixture->layer_a, "a", "content of a", fixture->diff_a);
        make_layer(&fixture->layer_b, "b", "content of b, longer", fixture->diff_b);
        *state = fixture;
        return 0;
}

static int teardown(void **state)
{
        Fixture *fixture = *state;

        store_free(fixture->store);
        buffer_clear(&fixture->layer_a);
        buffer_clear(&fixture->layer_b);
        remove_directory(fixture->path);
        free(fixture);
        return 0;
}

static void reopen(Fixture *fixture)
{
        store_free(fixture->store);
        assert_int_equal(store_open(fixture->path, &fixture->store), 0);
}

/* A configuration with these layers, owned by the caller; LABEL makes images differ. */
static char *make_config(const char *label, const char *created, const char *const *diff_ids)
{
        json_t *layers = json_array(), *history = json_array();
        json_t *config CLEANUP_JSON = NULL;

        for (size_t i = 0; diff_ids[i]; i++) {
                json_array_append_new(layers, json_string(diff_ids[i]));
                json_array_append_new(history, json_pack("{s:s, s:s}", "created", created, "created_by", "ADD"));
        }
        json_array_append_new(history,
                              json_pack("{s:s, s:s, s:b}", "created", created, "created_by", "CMD", "empty_layer", 1));
        config = json_pack("{s:s, s:s, s:s, s:{s:{s:s}}, s:{s:s, s:o}, s:o}", "architecture", "amd64", "os", "linux",
                           "created", created, "config", "Labels", "name", label, "rootfs", "type", "layers",
                           "diff_ids", layers, "history", history);
        return json_dumps(config, JSON_COMPACT);
}

static char *digest_of(const void *data, size_t size)
{
        char digest[STORE_DIGEST_SIZE];

        assert_int_equal(store_digest_data(data, size, digest), 0);
        return strdup(digest);
}

/* docker save's form. MANIFEST_FIRST is how skopeo writes, the other order is Docker's. */
static void docker_archive(const Fixture *fixture, Buffer *tar, const char *label, const char *tags, bool two,
                           bool manifest_first)
{
        const char *diff_ids[] = { fixture->diff_a, two ? fixture->diff_b : NULL, NULL };
        char *config CLEANUP_FREE = make_config(label, "2024-05-01T10:00:00.5Z", diff_ids);
        char *manifest CLEANUP_FREE =
                str_printf("[{\"Config\":\"c.json\",\"RepoTags\":%s,\"Layers\":[\"one/layer.tar\"%s]}]", tags,
                           two ? ",\"two/layer.tar\"" : "");

        if (manifest_first)
                tar_file(tar, "manifest.json", manifest);
        tar_data(tar, "real/layer.tar", fixture->layer_a.data, fixture->layer_a.size);
        tar_header(tar, '2', "one/layer.tar", "../real/layer.tar", 0777, 0);
        if (two)
                tar_data(tar, "two/layer.tar", fixture->layer_b.data, fixture->layer_b.size);
        tar_file(tar, "c.json", config);
        if (!manifest_first)
                tar_file(tar, "manifest.json", manifest);
        tar_end(tar);
}

static int load(Fixture *fixture, Buffer *tar, json_t **ret_images, Error *error)
{
        StoreInput input = { .read = memory_read, .userdata = tar };
        json_t *result CLEANUP_JSON = NULL;
        char *staging CLEANUP_FREE = NULL;
        int fd CLEANUP_CLOSE = -EBADF;
        int r;

        assert_int_equal(store_staging_create(fixture->store, &staging, &fd), 0);
        input.staging_fd = fd;
        r = store_load_archive(&input, &result, error);
        if (r != 0) {
                assert_int_equal(store_staging_discard(fixture->store, staging), 0);
                return r;
        }
        return store_commit(fixture->store, staging, result, ret_images, error);
}

static void load_well(Fixture *fixture, Buffer *tar, json_t **ret_images)
{
        Error error CLEANUP_ERROR = {};
        int r = load(fixture, tar, ret_images, &error);

        if (r != 0)
                fail_msg("%d %s", r, error.message ? error.message : "");
}

static void load_image(Fixture *fixture, const char *label, const char *tags, bool two)
{
        Buffer tar CLEANUP_BUFFER = {};
        json_t *images CLEANUP_JSON = NULL;

        docker_archive(fixture, &tar, label, tags, two, false);
        load_well(fixture, &tar, &images);
}

static char *resolve(Fixture *fixture, const char *name)
{
        Error error CLEANUP_ERROR = {};
        char *id = NULL;

        assert_int_equal(store_resolve(fixture->store, name, &id, &error), 0);
        return id;
}

static json_t *list(Fixture *fixture, const char *filters)
{
        StoreListOptions options = {};
        json_t *parsed CLEANUP_JSON = filters ? json_loads(filters, 0, NULL) : NULL, *result = NULL;

        options.filters = parsed;
        assert_int_equal(store_list(fixture->store, &options, NULL, &result, NULL), 0);
        return result;
}

static size_t count(Fixture *fixture, const char *filters)
{
        json_t *result CLEANUP_JSON = list(fixture, filters);

        return json_array_size(result);
}

/* Removes what is trash; how many trees that were. */
static size_t empty_trash(const Fixture *fixture)
{
        char **paths CLEANUP_STRV = NULL;

        assert_int_equal(store_settle(fixture->store), 0);
        assert_int_equal(store_trash_paths(fixture->store, &paths), 0);
        for (char **path = paths; path && *path; path++)
                assert_int_equal(path_remove_tree_at(AT_FDCWD, *path), 0);
        return strv_length(paths);
}

static size_t entries_of(const Fixture *fixture, const char *directory)
{
        char *path CLEANUP_FREE = path_join(fixture->path, directory);
        DIR *dir CLEANUP_CLOSEDIR = opendir(path);
        struct dirent *entry;
        size_t n = 0;

        assert_non_null(dir);
        while ((entry = readdir(dir)))
                n += *entry->d_name != '.';
        return n;
}

static void test_load_docker(void **state)
{
        static const char *const filters[] = { NULL, "gzip", "bzip2", "xz", "zstd" };
        Fixture *fixture = *state;

        for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
                Buffer tar CLEANUP_BUFFER = {};
                Buffer compressed CLEANUP_BUFFER = {};
                json_t *images CLEANUP_JSON = NULL, *config CLEANUP_JSON = NULL;
                char *id CLEANUP_FREE = NULL, **layers CLEANUP_STRV = NULL;

                docker_archive(fixture, &tar, "x", "[\"demo:1\",\"host.example/demo:2\"]", true, i % 2);
                if (filters[i])
                        compress_with(&tar, filters[i], &compressed);
                load_well(fixture, filters[i] ? &compressed : &tar, &images);
                assert_int_equal(json_array_size(images), 1);
                assert_int_equal(json_array_size(json_get_array(json_array_get(images, 0), "References")), 2);
                reopen(fixture);
                id = resolve(fixture, "demo:1");
                assert_int_equal(store_image_config(fixture->store, id, &config), 0);
                assert_int_equal(store_image_layers(fixture->store, id, &layers), 0);
                assert_int_equal(strv_length(layers), 2);
                assert_memory_equal(layers[0], store_digest_hex(fixture->diff_b), 20);
                assert_string_equal(layers[0] + 20, "/fs");
                assert_int_equal(entries_of(fixture, "layer"), 2);
        }
        empty_trash(fixture);
        assert_int_equal(entries_of(fixture, "staging"), 0);
}

static void add_blob(Buffer *tar, const void *data, size_t size, char **ret_digest)
{
        char *path CLEANUP_FREE = NULL;

        *ret_digest = digest_of(data, size);
        path = str_printf("blobs/sha256/%s", store_digest_hex(*ret_digest));
        tar_data(tar, path, data, size);
}

/* One image of an OCI layout: its manifest's digest. */
static char *add_oci_image(const Fixture *fixture, Buffer *tar, const char *label, const char *filter)
{
        const char *diff_ids[] = { fixture->diff_a, NULL };
        char *config CLEANUP_FREE = make_config(label, "2024-05-01T10:00:00Z", diff_ids);
        char *config_digest CLEANUP_FREE = NULL, *layer_digest CLEANUP_FREE = NULL, *manifest CLEANUP_FREE = NULL,
                            *digest;
        Buffer layer CLEANUP_BUFFER = {};

        compress_with(&fixture->layer_a, filter, &layer);
        add_blob(tar, layer.data, layer.size, &layer_digest);
        add_blob(tar, config, strlen(config), &config_digest);
        manifest = str_printf("{\"schemaVersion\":2,\"config\":{\"digest\":\"%s\"},\"layers\":[{\"digest\":\"%s\"}]}",
                              config_digest, layer_digest);
        add_blob(tar, manifest, strlen(manifest), &digest);
        return digest;
}

static void test_load_oci(void **state)
{
        static const char *const filters[] = { "gzip", "zstd" };
        Fixture *fixture = *state;

        for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
                Buffer tar CLEANUP_BUFFER = {};
                json_t *images CLEANUP_JSON = NULL;
                char *ours CLEANUP_FREE = NULL, *other CLEANUP_FREE = NULL, *inner CLEANUP_FREE = NULL,
                           *index CLEANUP_FREE = NULL;
                char *inner_digest CLEANUP_FREE = NULL, *id CLEANUP_FREE = NULL, *layer_id CLEANUP_FREE = NULL;
                json_t *config CLEANUP_JSON = NULL;

                other = add_oci_image(fixture, &tar, "other", filters[i]);
                ours = add_oci_image(fixture, &tar, "ours", filters[i]);
                inner = str_printf(
                        "{\"manifests\":["
                        "{\"digest\":\"%s\",\"platform\":{\"os\":\"linux\",\"architecture\":\"mips\"}},"
                        "{\"digest\":\"%s\",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}},"
                        "{\"digest\":\"%s\",\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}}]}",
                        other, ours, other);
                add_blob(&tar, inner, strlen(inner), &inner_digest);
                index = str_printf(
                        "{\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"digest\":\"%s\","
                        "\"annotations\":{\"org.opencontainers.image.ref.name\":\"demo:oci\"}}]}",
                        inner_digest);
                tar_file(&tar, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
                tar_file(&tar, "index.json", index);
                tar_end(&tar);
                load_well(fixture, &tar, &images);
                id = resolve(fixture, "demo:oci");
                assert_int_equal(store_image_config(fixture->store, id, &config), 0);
                assert_string_equal(
                        json_get_string(json_get_object(json_get_object(config, "config"), "Labels"), "name"), "ours");
        }
        assert_int_equal(entries_of(fixture, "layer"), 1);
}

static void test_load_legacy(void **state)
{
        Fixture *fixture = *state;
        Buffer tar CLEANUP_BUFFER = {};
        json_t *images CLEANUP_JSON = NULL, *history CLEANUP_JSON = NULL;
        char *id CLEANUP_FREE = NULL;

        tar_file(&tar, "repositories", "{\"old/demo\":{\"1.0\":\"bbb\"}}");
        tar_file(&tar, "aaa/json", "{\"id\":\"aaa\",\"container_config\":{\"Cmd\":[\"ADD\",\"x\"]}}");
        tar_data(&tar, "aaa/layer.tar", fixture->layer_a.data, fixture->layer_a.size);
        tar_file(&tar, "bbb/json",
                 "{\"id\":\"bbb\",\"parent\":\"aaa\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"sh\"]}}");
        tar_data(&tar, "bbb/layer.tar", fixture->layer_b.data, fixture->layer_b.size);
        tar_end(&tar);
        load_well(fixture, &tar, &images);
        id = resolve(fixture, "old/demo:1.0");
        assert_int_equal(store_image_history(fixture->store, id, &history), 0);
        assert_int_equal(json_array_size(history), 2);
        assert_string_equal(json_get_string(json_array_get(history, 1), "CreatedBy"), "ADD x");
        assert_int_equal(json_get_int(json_array_get(history, 1), "Size", 0), 12);
}

static void load_badly(Fixture *fixture, Buffer *tar, const char *message)
{
        json_t *images CLEANUP_JSON = NULL;
        Error error CLEANUP_ERROR = {};

        tar_end(tar);
        assert_int_equal(load(fixture, tar, &images, &error), OUTCOME_BAD_REQUEST);
        if (!strstr(error.message, message))
                fail_msg("%s", error.message);
        assert_int_equal(entries_of(fixture, "layer"), 0);
        assert_int_equal(entries_of(fixture, "image/blobs/sha256"), 0);
        assert_int_equal(count(fixture, NULL), 0);
}

static void test_load_refusals(void **state)
{
        Fixture *fixture = *state;
        const char *diff_ids[] = { fixture->diff_b, NULL };
        char *config CLEANUP_FREE = make_config("x", "2024-05-01T10:00:00Z", diff_ids);
        static const char manifest[] = "[{\"Config\":\"c.json\",\"Layers\":[\"l.tar\"]}]";
        Buffer tar CLEANUP_BUFFER = {};

        load_badly(fixture, &tar, "does not contain a manifest.json");
        tar.size = 0;
        tar_file(&tar, "manifest.json", manifest);
        load_badly(fixture, &tar, "configuration c.json is missing");
        tar.size = 0;
        tar_file(&tar, "manifest.json", manifest);
        tar_file(&tar, "c.json", config);
        tar_data(&tar, "l.tar", fixture->layer_a.data, fixture->layer_a.size);
        load_badly(fixture, &tar, "invalid diffID for layer");
        tar.size = 0;
        tar_file(&tar, "manifest.json", manifest);
        tar_file(&tar, "c.json", config);
        load_badly(fixture, &tar, "is missing");
        tar.size = 0;
        tar_file(&tar, "manifest.json", "[{\"Config\":\"c.json\",\"Layers\":[]}]");
        tar_file(&tar, "c.json", config);
        load_badly(fixture, &tar, "invalid manifest, layers length mismatch: expected 1, got 0");
}

/* A worker that was taken over may claim anything. */
static void test_commit_distrusts_the_worker(void **state)
{
        static const char *const results[] = {
                "{\"Layers\":[{\"DiffID\":\"%s\",\"Staged\":\"../../layer\"}],\"Images\":[]}",
                "{\"Layers\":[{\"DiffID\":\"sha256:../..\",\"Staged\":\"layer-0\"}],\"Images\":[]}",
                "{\"Layers\":[],\"Images\":[{\"Config\":{\"Digest\":\"%s\",\"Staged\":\"../x\"}}]}",
                "{\"Layers\":[],\"Images\":[{\"Config\":{\"Digest\":\"%s\",\"Staged\":\"config-0\"}}]}",
                "{\"Layers\":[],\"Images\":[{}]}",
        };
        Fixture *fixture = *state;

        for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
                char *text CLEANUP_FREE = str_printf(results[i], fixture->diff_a);
                json_t *result CLEANUP_JSON = json_loads(text, 0, NULL), *images CLEANUP_JSON = NULL;
                char *staging CLEANUP_FREE = NULL;
                Error error CLEANUP_ERROR = {};
                int fd CLEANUP_CLOSE = -EBADF;

                assert_int_equal(store_staging_create(fixture->store, &staging, &fd), 0);
                assert_int_equal(file_replace_volatile_at(fd, "config-0", "{}", 2, 0600), 0);
                assert_int_equal(store_commit(fixture->store, staging, result, &images, &error), OUTCOME_BAD_REQUEST);
        }
        assert_int_equal(entries_of(fixture, "image/blobs/sha256"), 0);
        assert_int_equal(count(fixture, NULL), 0);
}

static void test_resolve(void **state)
{
        Fixture *fixture = *state;
        char *id CLEANUP_FREE = NULL, *found CLEANUP_FREE = NULL, *by_hex CLEANUP_FREE = NULL,
                 *by_prefix CLEANUP_FREE = NULL;
        char *prefix CLEANUP_FREE = NULL, *none = NULL;
        Error error CLEANUP_ERROR = {};

        load_image(fixture, "x", "[\"demo:latest\"]", false);
        id = resolve(fixture, "demo");
        found = resolve(fixture, "docker.io/library/demo:latest");
        by_hex = resolve(fixture, store_digest_hex(id));
        prefix = strndup(id, 19);
        by_prefix = resolve(fixture, prefix);
        assert_string_equal(id, found);
        assert_string_equal(id, by_hex);
        assert_string_equal(id, by_prefix);
        assert_int_equal(store_resolve(fixture->store, "nope", &none, &error), OUTCOME_NOT_FOUND);
        assert_string_equal(error.message, "No such image: nope:latest");
        error_clear(&error);
        assert_int_equal(store_resolve(fixture->store, fixture->diff_a, &none, &error), OUTCOME_NOT_FOUND);
        assert_non_null(strstr(error.message, "No such image: sha256:"));
        error_clear(&error);
        assert_int_equal(store_resolve(fixture->store, "a b", &none, &error), OUTCOME_BAD_REQUEST);
        assert_string_equal(error.message, "invalid reference format");
}

static void test_list_and_filters(void **state)
{
        Fixture *fixture = *state;
        json_t *all CLEANUP_JSON = NULL, *first;

        load_image(fixture, "one", "[\"demo:1\",\"other/demo:1\"]", false);
        load_image(fixture, "two", "[\"demo:2\"]", true);
        load_image(fixture, "three", "[\"demo:2\"]", true);
        reopen(fixture);
        all = list(fixture, NULL);
        assert_int_equal(json_array_size(all), 3);
        first = json_array_get(all, 0);
        assert_int_equal(json_get_int(first, "Created", 0), 1714557600);
        assert_int_equal(json_get_int(first, "Containers", 0), -1);
        assert_int_equal(json_get_int(first, "SharedSize", 0), -1);
        assert_int_equal(count(fixture, "{\"dangling\":{\"true\":true}}"), 1);
        assert_int_equal(count(fixture, "{\"dangling\":[\"false\"]}"), 2);
        assert_int_equal(count(fixture, "{\"label\":[\"name\"]}"), 3);
        assert_int_equal(count(fixture, "{\"label\":[\"name=one\"]}"), 1);
        assert_int_equal(count(fixture, "{\"label\":[\"name=one\",\"none\"]}"), 0);
        assert_int_equal(count(fixture, "{\"reference\":[\"demo\"]}"), 2);
        assert_int_equal(count(fixture, "{\"reference\":[\"*:1\"]}"), 1);
        assert_int_equal(count(fixture, "{\"reference\":[\"other/*\"]}"), 1);
        assert_int_equal(count(fixture, "{\"reference\":[\"x\"]}"), 0);
        assert_int_equal(count(fixture, "{\"before\":[\"demo:1\"]}"), 0);
        assert_int_equal(count(fixture, "{\"until\":[\"2024-05-02T00:00:00Z\"]}"), 3);
        assert_int_equal(count(fixture, "{\"until\":[\"2024-04-02T00:00:00Z\"]}"), 0);
}

static void test_list_refusals(void **state)
{
        static const char *const filters[][2] = {
                { "{\"color\":[\"red\"]}", "invalid filter 'color'" },
                { "{\"dangling\":[\"maybe\"]}", "invalid filter 'dangling=[maybe]'" },
                { "{\"before\":[\"nope\"]}", "No such image: nope:latest" },
        };
        Fixture *fixture = *state;

        for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
                json_t *parsed CLEANUP_JSON = json_loads(filters[i][0], 0, NULL), *result = NULL;
                StoreListOptions options = { .filters = parsed };
                Error error CLEANUP_ERROR = {};

                assert_true(store_list(fixture->store, &options, NULL, &result, &error) > 0);
                assert_string_equal(error.message, filters[i][1]);
        }
}

static void test_inspect(void **state)
{
        Fixture *fixture = *state;
        json_t *inspect CLEANUP_JSON = NULL;
        char *id CLEANUP_FREE = NULL;
        int64_t size;

        load_image(fixture, "x", "[\"demo:1\"]", true);
        id = resolve(fixture, "demo:1");
        assert_int_equal(store_image_inspect(fixture->store, id, &inspect), 0);
        assert_string_equal(json_get_string(inspect, "Id"), id);
        assert_string_equal(json_get_string(inspect, "Created"), "2024-05-01T10:00:00.5Z");
        assert_int_equal(json_get_int(inspect, "Size", 0), 32);
        assert_int_equal(json_array_size(json_get_array(json_get_object(inspect, "RootFS"), "Layers")), 2);
        assert_string_equal(json_get_string(json_get_object(inspect, "GraphDriver"), "Name"), "overlay2");
        assert_int_equal(store_layers_size(fixture->store, &size), 0);
        assert_int_equal(size, 32);
}

static void test_tag(void **state)
{
        Fixture *fixture = *state;
        char *id CLEANUP_FREE = NULL, *other CLEANUP_FREE = NULL, **references CLEANUP_STRV = NULL;
        Error error CLEANUP_ERROR = {};

        load_image(fixture, "x", "[\"demo:1\"]", false);
        id = resolve(fixture, "demo:1");
        assert_int_equal(store_tag(fixture->store, id, "host.example:5000/demo", &error), 0);
        reopen(fixture);
        other = resolve(fixture, "host.example:5000/demo:latest");
        assert_string_equal(id, other);
        assert_int_equal(store_image_references(fixture->store, id, &references), 0);
        assert_int_equal(strv_length(references), 2);
        assert_int_equal(store_tag(fixture->store, id, "sha256", &error), OUTCOME_BAD_REQUEST);
        error_clear(&error);
        assert_int_equal(store_tag(fixture->store, fixture->diff_a, "y", &error), OUTCOME_NOT_FOUND);
}

static json_t *delete_well(Fixture *fixture, const char *name, bool force)
{
        Error error CLEANUP_ERROR = {};
        json_t *items = NULL;
        int r = store_delete(fixture->store, name, force, true, NULL, &items, &error);

        if (r != 0)
                fail_msg("%d %s", r, error.message ? error.message : "");
        return items;
}

static void assert_empty(Fixture *fixture)
{
        assert_int_equal(count(fixture, NULL), 0);
        assert_int_equal(entries_of(fixture, "layer"), 0);
        assert_int_equal(entries_of(fixture, "image/blobs/sha256"), 0);
        assert_int_equal(entries_of(fixture, "image/record"), 0);
}

static void test_delete(void **state)
{
        Fixture *fixture = *state;
        json_t *untagged CLEANUP_JSON = NULL, *last CLEANUP_JSON = NULL, *items = NULL, *whole CLEANUP_JSON = NULL;
        char *id CLEANUP_FREE = NULL;
        Error error CLEANUP_ERROR = {};

        load_image(fixture, "one", "[\"demo:1\",\"other:1\"]", true);
        load_image(fixture, "two", "[\"two:1\"]", false);
        id = resolve(fixture, "demo:1");
        assert_int_equal(store_delete(fixture->store, store_digest_hex(id), false, true, NULL, &items, &error),
                         OUTCOME_CONFLICT);
        assert_non_null(strstr(error.message, "(must be forced) - image is referenced in multiple repositories"));
        untagged = delete_well(fixture, "demo:1", false);
        assert_int_equal(json_array_size(untagged), 1);
        assert_string_equal(json_get_string(json_array_get(untagged, 0), "Untagged"), "demo:1");
        last = delete_well(fixture, "other:1", false);
        /* The lower layer is the other image's, too. */
        assert_int_equal(json_array_size(last), 3);
        assert_string_equal(json_get_string(json_array_get(last, 1), "Deleted"), id);
        assert_non_null(json_get_string(json_array_get(last, 2), "Deleted"));
        assert_false(store_is_settled(fixture->store));
        assert_int_equal(entries_of(fixture, "layer"), 2);
        assert_int_equal(store_settle(fixture->store), 0);
        assert_true(store_is_settled(fixture->store));
        assert_int_equal(entries_of(fixture, "layer"), 1);
        assert_int_equal(empty_trash(fixture), 2); /* the layer, and the staging of the load before */
        assert_int_equal(empty_trash(fixture), 0);
        free(TAKE_PTR(id));
        id = resolve(fixture, "two:1");
        whole = delete_well(fixture, id, false);
        assert_int_equal(json_array_size(whole), 3);
        reopen(fixture);
        assert_empty(fixture);
}

static const char *some_container(const char *image_id, bool running, void *userdata)
{
        (void) image_id;
        return running == *(bool *) userdata ? "0123456789abcdef" : NULL;
}

static void test_delete_in_use(void **state)
{
        Fixture *fixture = *state;
        bool running = true;
        StoreUsers users = { .container = some_container, .userdata = &running };
        json_t *items = NULL;
        char *id CLEANUP_FREE = NULL, *message CLEANUP_FREE = NULL;
        Error error CLEANUP_ERROR = {};

        load_image(fixture, "one", "[\"demo:1\"]", true);
        id = resolve(fixture, "demo:1");
        assert_int_equal(store_delete(fixture->store, "demo:1", false, true, &users, &items, &error), OUTCOME_CONFLICT);
        message = str_printf(
                "conflict: unable to remove repository reference \"demo:1\" (must force) - container 0123456789ab "
                "is using its referenced image %.12s",
                store_digest_hex(id));
        assert_string_equal(error.message, message);
        error_clear(&error);
        assert_int_equal(store_delete(fixture->store, id, true, true, &users, &items, &error), OUTCOME_CONFLICT);
        assert_non_null(
                strstr(error.message, "(cannot be forced) - image is being used by running container 0123456789ab"));
        error_clear(&error);
        running = false;
        assert_int_equal(store_delete(fixture->store, id, false, true, &users, &items, &error), OUTCOME_CONFLICT);
        assert_non_null(
                strstr(error.message, "(must be forced) - image is being used by stopped container 0123456789ab"));
        error_clear(&error);
        /* Forced by name, an image in use by a running container only loses its name. */
        running = true;
        assert_int_equal(store_delete(fixture->store, "demo:1", true, true, &users, &items, &error), 0);
        assert_int_equal(json_array_size(items), 1);
        json_decref(items);
        assert_int_equal(count(fixture, "{\"dangling\":[\"true\"]}"), 1);
}

/* One archive of more images than are synced one by one, two of which are one image under two names. */
static void test_many_at_once(void **state)
{
        Fixture *fixture = *state;
        const char *diff_ids[] = { fixture->diff_a, NULL };
        Buffer tar CLEANUP_BUFFER = {}, manifest CLEANUP_BUFFER = {};
        json_t *images CLEANUP_JSON = NULL;

        tar_data(&tar, "layer.tar", fixture->layer_a.data, fixture->layer_a.size);
        for (unsigned i = 0; i < 20; i++) {
                char *label CLEANUP_FREE = str_printf("image %u", i % 19),
                            *path CLEANUP_FREE = str_printf("%u.json", i);
                char *config CLEANUP_FREE = make_config(label, "2024-05-01T10:00:00Z", diff_ids);

                tar_file(&tar, path, config);
                assert_true(buffer_printf(&manifest,
                                          "%c{\"Config\":\"%s\",\"RepoTags\":[\"many:%u\"],\"Layers\":[\"layer.tar\"]}",
                                          i > 0 ? ',' : '[', path, i) >= 0);
        }
        assert_true(buffer_append_string(&manifest, "]") >= 0);
        tar_file(&tar, "manifest.json", manifest.data);
        tar_end(&tar);
        load_well(fixture, &tar, &images);
        for (unsigned again = 0; again < 2; again++) {
                char *first CLEANUP_FREE = resolve(fixture, "many:0"), *last CLEANUP_FREE = resolve(fixture, "many:19");

                assert_string_equal(first, last);
                assert_int_equal(count(fixture, NULL), 19);
                assert_int_equal(entries_of(fixture, "image/record"), 19);
                assert_int_equal(entries_of(fixture, "image/blobs/sha256"), 19);
                reopen(fixture);
        }
}

/* Removes by a process that ends before it has taken anything from the disk, and appends GARBAGE to its note. */
static void remove_and_die(Fixture *fixture, const char *const *names, const char *garbage)
{
        char *note CLEANUP_FREE = path_join(fixture->path, "image/removals");
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0) {
                for (; *names; names++)
                        json_decref(delete_well(fixture, *names, false));
                int fd = open(note, O_WRONLY | O_APPEND | O_CLOEXEC);
                _exit(fd < 0 || fd_write_all(fd, garbage, strlen(garbage)) < 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_int_equal(access(note, F_OK), 0);
}

/* What somebody was told that it is removed does not come back, though it was still on the disk. */
static void test_removal_cut_off(void **state)
{
        static const char *const names[] = { "other:1", "one:1", "two:1", NULL };
        Fixture *fixture = *state;
        char *id CLEANUP_FREE = NULL, *record CLEANUP_FREE = NULL;

        load_image(fixture, "one", "[\"one:1\"]", true);
        load_image(fixture, "two", "[\"two:1\"]", false);
        load_image(fixture, "three", "[\"three:1\",\"other:1\"]", false);
        empty_trash(fixture);
        remove_and_die(fixture, names, "\n{\"ID\":\"sha2");
        reopen(fixture);
        assert_true(store_is_settled(fixture->store));
        assert_int_equal(entries_of(fixture, "image"), 3);
        assert_int_equal(count(fixture, NULL), 1);
        assert_int_equal(count(fixture, "{\"reference\":[\"other\"]}"), 0);
        assert_int_equal(entries_of(fixture, "layer"), 1);
        assert_int_equal(entries_of(fixture, "image/blobs/sha256"), 1);
        assert_int_equal(empty_trash(fixture), 1);

        /* Cut off again when the record had gone already, but not its layer. */
        id = resolve(fixture, "three:1");
        record = str_printf("%s/image/record/%s.json", fixture->path, store_digest_hex(id));
        remove_and_die(fixture, (const char *const[]) { "three:1", NULL }, "");
        assert_int_equal(unlink(record), 0);
        reopen(fixture);
        assert_empty(fixture);
}

/* An image that comes back at once is whole, with its name, also for the next start. */
static void test_removal_taken_back(void **state)
{
        Fixture *fixture = *state;
        Error error CLEANUP_ERROR = {};
        char *id CLEANUP_FREE = NULL;

        load_image(fixture, "one", "[\"one:1\"]", true);
        id = resolve(fixture, "one:1");
        assert_int_equal(store_tag(fixture->store, id, "two:1", &error), 0);
        json_decref(delete_well(fixture, "two:1", false));
        assert_int_equal(store_tag(fixture->store, id, "two:1", &error), 0);
        json_decref(delete_well(fixture, "one:1", false));
        json_decref(delete_well(fixture, "two:1", false));
        assert_int_equal(count(fixture, NULL), 0);
        load_image(fixture, "one", "[\"one:1\"]", true);
        reopen(fixture);
        assert_int_equal(count(fixture, "{\"reference\":[\"one:1\"]}"), 1);
        assert_int_equal(entries_of(fixture, "layer"), 2);
        assert_int_equal(entries_of(fixture, "image/blobs/sha256"), 1);
        assert_int_equal(entries_of(fixture, "image"), 3);
}

/* Removal stops a crash from resurrecting; what a cut-off commit moved in is collected, what records name stays. */
static void test_crash_leftovers(void **state)
{
        Fixture *fixture = *state;
        char *staging CLEANUP_FREE = NULL, *layer CLEANUP_FREE = NULL, *blob CLEANUP_FREE = NULL;
        int fd CLEANUP_CLOSE = -EBADF;

        load_image(fixture, "one", "[\"demo:1\"]", false);
        assert_int_equal(store_staging_create(fixture->store, &staging, &fd), 0);
        assert_int_equal(mkdirat(fd, "layer-0", 0700), 0);
        layer = path_join(store_layer_root(fixture->store), "0123456789abcdef0123");
        assert_int_equal(mkdir(layer, 0700), 0);
        blob = str_printf("%s/image/blobs/sha256/%s", fixture->path, store_digest_hex(fixture->diff_b));
        close(open(blob, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        assert_int_equal(entries_of(fixture, "image/blobs/sha256"), 2);
        reopen(fixture);
        assert_int_equal(entries_of(fixture, "layer"), 1);
        assert_int_equal(entries_of(fixture, "image/blobs/sha256"), 1);
        assert_int_equal(empty_trash(fixture), 2);
        assert_int_equal(entries_of(fixture, "staging"), 0);
        assert_int_equal(count(fixture, NULL), 1);
}

static void test_import(void **state)
{
        Fixture *fixture = *state;
        Buffer compressed CLEANUP_BUFFER = {};
        StoreInput input = { .read = memory_read, .userdata = &compressed, .platform = "linux/arm64" };
        json_t *patch CLEANUP_JSON = json_pack("{s:[s]}", "Cmd", "sh"), *result CLEANUP_JSON = NULL,
                      *images CLEANUP_JSON = NULL;
        StoreImport import = { .reference = "imported", .message = "Imported from -", .config = patch };
        json_t *inspect CLEANUP_JSON = NULL;
        char *staging CLEANUP_FREE = NULL, *id CLEANUP_FREE = NULL;

        compress_with(&fixture->layer_a, "xz", &compressed);
        assert_int_equal(store_staging_create(fixture->store, &staging, &input.staging_fd), 0);
        assert_int_equal(store_import(&input, &import, &result, NULL), 0);
        assert_int_equal(store_commit(fixture->store, staging, result, &images, NULL), 0);
        fd_close(input.staging_fd);
        id = resolve(fixture, "imported:latest");
        assert_int_equal(store_image_inspect(fixture->store, id, &inspect), 0);
        assert_string_equal(json_get_string(inspect, "Comment"), "Imported from -");
        assert_string_equal(json_get_string(inspect, "Architecture"), "arm64");
        assert_int_equal(json_array_size(json_get_array(json_get_object(inspect, "Config"), "Cmd")), 1);
}

/* An image may have the same layer twice; overlayfs must be told of it once. */
static void test_repeated_layer(void **state)
{
        Fixture *fixture = *state;
        const char *diff_ids[] = { fixture->diff_a, fixture->diff_b, fixture->diff_a, NULL };
        char *config CLEANUP_FREE = make_config("x", "2024-05-01T10:00:00Z", diff_ids), *id CLEANUP_FREE = NULL;
        char **layers CLEANUP_STRV = NULL;
        Buffer tar CLEANUP_BUFFER = {};
        json_t *images CLEANUP_JSON = NULL;

        tar_file(&tar, "manifest.json", "[{\"Config\":\"c\",\"RepoTags\":[\"r:1\"],\"Layers\":[\"a\",\"b\",\"c2\"]}]");
        tar_file(&tar, "c", config);
        tar_data(&tar, "a", fixture->layer_a.data, fixture->layer_a.size);
        tar_data(&tar, "b", fixture->layer_b.data, fixture->layer_b.size);
        tar_data(&tar, "c2", fixture->layer_a.data, fixture->layer_a.size);
        tar_end(&tar);
        load_well(fixture, &tar, &images);
        id = resolve(fixture, "r:1");
        assert_int_equal(store_image_layers(fixture->store, id, &layers), 0);
        assert_int_equal(strv_length(layers), 2);
        assert_memory_equal(layers[0], store_digest_hex(fixture->diff_a), 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        static const struct CMUnitTest tests[] = {
                TEST(test_load_docker),
                TEST(test_load_oci),
                TEST(test_load_legacy),
                TEST(test_load_refusals),
                TEST(test_commit_distrusts_the_worker),
                TEST(test_resolve),
                TEST(test_list_and_filters),
                TEST(test_list_refusals),
                TEST(test_inspect),
                TEST(test_tag),
                TEST(test_delete),
                TEST(test_delete_in_use),
                TEST(test_many_at_once),
                TEST(test_removal_cut_off),
                TEST(test_removal_taken_back),
                TEST(test_crash_leftovers),
                TEST(test_import),
                TEST(test_repeated_layer),
        };

        return cmocka_run_group_tests_name("store-image", tests, NULL, NULL);
}
