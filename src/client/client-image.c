/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth images, tag and rmi. */
#include <stdio.h>
#include <string.h>

#include "berth/json.h"
#include "client-config.h"
#include "client-lists.h"
#include "client-reference.h"
#include "client-text.h"
#include "client.h"

/* --- images --- */

typedef ClientImageList ImageList;

/* A size that the daemon may not have been asked for. */
static char *known_size(int64_t bytes, bool known)
{
        CLEANUP_FREE char *size = NULL;

        if (!known)
                return client_must(strdup("N/A"));
        size = client_must(bytes < 0 ? str_printf("%lldB", (long long) bytes) : text_size((double) bytes, 4));
        return TAKE_PTR(size);
}

static void add_row(ImageList *list, const json_t *image, const char *repository, const char *tag, const char *digest)
{
        const char *id = json_get_string_or(image, "Id", "");
        const char *hex = str_after_prefix(id, "sha256:") ?: id;
        int64_t created = json_get_int(image, "Created", 0), containers = json_get_int(image, "Containers", -1);
        CLEANUP_FREE char *shown = client_must(list->truncate ? strndup(hex, ID_SHORT_LENGTH) : strdup(id));
        CLEANUP_FREE char *created_at = client_must(text_time(created));
        CLEANUP_FREE char *age = client_must(duration_words(time(NULL) - created));
        CLEANUP_FREE char *ago = client_must(created > 0 ? str_printf("%s ago", age) : strdup("N/A"));
        CLEANUP_FREE char *size = client_must(text_size(json_get_int(image, "Size", 0), 3));
        CLEANUP_FREE char *virtual = client_must(text_size(json_get_int(image, "Size", 0), 4));
        int64_t all = json_get_int(image, "Size", 0), shared = json_get_int(image, "SharedSize", -1);
        CLEANUP_FREE char *shared_size = known_size(shared, shared >= 0);
        CLEANUP_FREE char *unique = known_size(all - shared, shared >= 0 && all >= 0);
        CLEANUP_FREE char *used =
                client_must(containers < 0 ? strdup("N/A") : str_printf("%lld", (long long) containers));

        client_rows_add(&list->rows,
                        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "Containers", used, "CreatedAt",
                                  created_at, "CreatedSince", ago, "Digest", digest, "ID", shown, "Repository",
                                  repository, "SharedSize", shared_size, "Size", size, "Tag", tag, "UniqueSize", unique,
                                  "VirtualSize", virtual),
                        json_object());
}

/* The rows of one tag: one, or one a digest where digests are shown. */
static size_t add_tag(ImageList *list, const json_t *image, const char *repository, const char *tag)
{
        json_t *reference;
        size_t i, n = 0;

        if (list->digests)
                json_array_foreach(json_get_array(image, "RepoDigests"), i, reference) {
                        CLEANUP_FREE char *name = client_reference_name(json_string_value(reference) ?: "");
                        const char *at = strchr(json_string_value(reference) ?: "", '@');

                        if (at && strcmp(name, repository) == 0) {
                                add_row(list, image, repository, tag, at + 1);
                                n++;
                        }
                }
        if (n == 0)
                add_row(list, image, repository, tag, "<none>");
        return 1;
}

static bool has_tag_of(const json_t *image, const char *repository)
{
        json_t *reference;
        size_t i;

        json_array_foreach(json_get_array(image, "RepoTags"), i, reference) {
                CLEANUP_FREE char *name = client_reference_name(json_string_value(reference) ?: "");

                if (strcmp(name, repository) == 0)
                        return true;
        }
        return false;
}

void client_image_list_add(ClientImageList *list, const json_t *image)
{
        json_t *reference;
        size_t i, n = 0;

        json_array_foreach(json_get_array(image, "RepoTags"), i, reference) {
                const char *text = json_string_value(reference) ?: "";
                const char *colon = strrchr(text, ':');
                CLEANUP_FREE char *repository = client_reference_name(text);

                if (colon && strcmp(text, "<none>:<none>") != 0)
                        n += add_tag(list, image, repository, colon + 1);
        }
        json_array_foreach(json_get_array(image, "RepoDigests"), i, reference) {
                const char *text = json_string_value(reference) ?: "";
                const char *at = strchr(text, '@');
                CLEANUP_FREE char *repository = client_reference_name(text);

                if (!at || strcmp(text, "<none>@<none>") == 0 || has_tag_of(image, repository))
                        continue;
                add_row(list, image, repository, "<none>", list->bare_digests ? at + 1 : "");
                n++;
        }
        if (n == 0)
                add_row(list, image, "<none>", "<none>", "<none>");
}

void client_image_list_add_first(ClientImageList *list, const json_t *image)
{
        const char *tag = json_string_value(json_array_get(json_get_array(image, "RepoTags"), 0)) ?: "";
        const char *colon = strrchr(tag, ':');
        CLEANUP_FREE char *repository = client_reference_name(tag);

        add_row(list, image, colon ? repository : "<none>", colon ? colon + 1 : "<none>", "<none>");
}

json_t *client_image_headings(void)
{
        return client_must(json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "Containers", "CONTAINERS",
                                     "CreatedAt", "CREATED AT", "CreatedSince", "CREATED", "Digest", "DIGEST", "ID",
                                     "IMAGE ID", "Repository", "REPOSITORY", "SharedSize", "SHARED SIZE", "Size",
                                     "SIZE", "Tag", "TAG", "UniqueSize", "UNIQUE SIZE", "VirtualSize", "SIZE"));
}

/* Options that say how to list what a tree shows in its own way. */
static int check_tree(const ClientArguments *arguments)
{
        static const char *const others[] = { "digests", "format", "quiet" };

        for (size_t i = 0; i < ARRAY_SIZE(others); i++)
                if (client_value(arguments, others[i])->set) {
                        client_complain("--%s cannot be combined with --tree", others[i]);
                        return 1;
                }
        return 0;
}

static int run_images(Client *client, const ClientArguments *arguments)
{
        CLEANUP_FREE char *format = client_config_format(arguments, "imagesFormat");
        bool quiet = client_flag(arguments, "quiet"), tree = client_flag(arguments, "tree");
        CLEANUP(client_rows_clear) ClientRows rows = {};
        ImageList list = {
                .truncate = !client_flag(arguments, "no-trunc"),
                .digests = client_flag(arguments, "digests") || strstr(format, "{{.Digest}}"),
                .bare_digests = client_flag(arguments, "digests"),
        };
        CLEANUP_JSON json_t *filters = client_filters(client_value(arguments, "filter")->list);
        CLEANUP_JSON json_t *headings = client_image_headings();
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};
        json_t *image;
        size_t i;

        if (tree && check_tree(arguments) != 0)
                return 1;
        if (arguments->n_words > 0) {
                if (!filters)
                        filters = client_must(json_object());
                client_must_zero(json_object_set_new(filters, "reference", json_pack("{s:b}", arguments->words[0], 1)));
        }
        client_must_zero(buffer_append_string(&target, "/images/json"));
        target_add(&target, "all", client_flag(arguments, "all") ? "1" : NULL);
        target_add(&target, "shared-size", tree ? "1" : NULL);
        target_add_filters(&target, filters);
        if (client_call(client, "GET", target.data, NULL, &reply, &error) != 0)
                return client_fail(&error);
        if (tree)
                return client_image_tree(client, reply.json, list.truncate);
        json_array_foreach(reply.json, i, image) {
                client_image_list_add(&list, image);
        }
        rows = list.rows;
        if (quiet && (!*format || strcmp(format, "table") == 0))
                return client_rows_print(&rows, "{{.ID}}", NULL, NULL);
        return client_rows_print(
                &rows, format,
                list.bare_digests ? "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
                                  : "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
                headings);
}

static const ClientOption images_options[] = {
        { 'a', "all", OPTION_BOOL, NULL, NULL, "Show intermediate images too", NULL, NULL, false },
        { 0, "digests", OPTION_BOOL, NULL, NULL, "Show digests", NULL, NULL, false },
        { 'f', "filter", OPTION_LIST, "filter", NULL, "Show only what matches (name=value)", NULL, client_check_filter,
          false },
        { 0, "format", OPTION_STRING, "string", NULL, FORMAT_LIST_HELP, NULL, NULL, false },
        { 0, "no-trunc", OPTION_BOOL, NULL, NULL, "Don't shorten anything", NULL, NULL, false },
        { 'q', "quiet", OPTION_BOOL, NULL, NULL, "Only show image IDs", NULL, NULL, false },
        { 0, "tree", OPTION_BOOL, NULL, NULL, "Show what is stacked upon what, with sizes added and shared", NULL, NULL,
          false },
        {},
};

const ClientCommand client_images = {
        .usage = "[OPTIONS] [REPOSITORY[:TAG]]",
        .summary = "List images",
        .options = images_options,
        .max_words = 1,
        .run = run_images,
};

/* --- tag --- */

static int run_tag(Client *client, const ClientArguments *arguments)
{
        CLEANUP_BUFFER Buffer target = {};
        CLEANUP_FREE char *name = NULL, *tag = NULL;
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};

        if (client_reference_check(arguments->words[1], &error) != 0) {
                client_complain("Error parsing reference: \"%s\" is not a valid repository/tag: %s",
                                arguments->words[1], error.message);
                return 1;
        }
        client_reference_split(arguments->words[1], &name, &tag);
        target = target_make("images", arguments->words[0], "tag");
        target_add(&target, "repo", name);
        target_add(&target, "tag", tag);
        if (client_call(client, "POST", target.data, NULL, &reply, &error) != 0)
                return client_fail(&error);
        return 0;
}

const ClientCommand client_tag = {
        .usage = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        .summary = "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
        .min_words = 2,
        .max_words = 2,
        .run = run_tag,
};

/* --- rmi --- */

static int run_rmi(Client *client, const ClientArguments *arguments)
{
        bool force = client_flag(arguments, "force"), fatal = false;

        for (size_t i = 0; i < arguments->n_words; i++) {
                CLEANUP_BUFFER Buffer target = target_make("images", arguments->words[i], "");
                CLEANUP_REPLY ClientReply reply = {};
                CLEANUP_ERROR Error error = {};
                json_t *item;
                size_t j;

                target_add(&target, "force", force ? "1" : NULL);
                target_add(&target, "noprune", client_flag(arguments, "no-prune") ? "1" : NULL);
                if (client_call(client, "DELETE", target.data, NULL, &reply, &error) != 0) {
                        client_complain("%s", error.message);
                        fatal |= !(force && reply.status == 404);
                        continue;
                }
                json_array_foreach(reply.json, j, item) {
                        if (json_get_string(item, "Deleted"))
                                printf("Deleted: %s\n", json_get_string(item, "Deleted"));
                        else
                                printf("Untagged: %s\n", json_get_string_or(item, "Untagged", ""));
                }
        }
        return fatal;
}

static const ClientOption rmi_options[] = {
        { 'f', "force", OPTION_BOOL, NULL, NULL, "Remove the image by force", NULL, NULL, false },
        { 0, "no-prune", OPTION_BOOL, NULL, NULL, "Keep untagged parents", NULL, NULL, false },
        {},
};

const ClientCommand client_rmi = {
        .usage = "[OPTIONS] IMAGE [IMAGE...]",
        .summary = "Remove one or more images",
        .options = rmi_options,
        .min_words = 1,
        .max_words = -1,
        .run = run_rmi,
};
