/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading an archive of images in one pass, whatever the order of its members. A member that looks like a tar or like
 * something compressed is unpacked as a layer at once, before anybody knows whether it is one: that is found out when
 * all is read, and what no image turned out to need is removed. Other members are documents, kept in memory within
 * limits. */
#include "store-load.h"

#include <string.h>

#include "berth/file.h"
#include "berth/json.h"
#include "berth/string.h"
#include "store-stage.h"
#include "store-tar.h"
#include "store-tree.h"

#define DOCUMENT_SIZE_MAX (16 * 1024 * 1024)
#define DOCUMENTS_SIZE_MAX (128 * 1024 * 1024)
#define MEMBERS_MAX 100000

typedef struct MemberStream {
        StoreStream stream;
        StoreTar *tar;
} MemberStream;

typedef struct Load {
        const StoreInput *input;
        StoreMembers members;
        StoreTar tar;
        size_t n_layers;
        int64_t documents_size;
} Load;

static void member_clear(StoreMember *member)
{
        free(member->path);
        free(member->target);
        free(member->data);
        free(member->problem);
        json_decref(member->layer);
}

void store_members_clear(StoreMembers *members)
{
        for (size_t i = 0; i < members->count; i++)
                member_clear(&members->items[i]);
        free(members->items);
        *members = (StoreMembers) {};
}

static int member_compare(const void *a, const void *b)
{
        return strcmp(((const StoreMember *) a)->path, ((const StoreMember *) b)->path);
}

const StoreMember *store_members_find(const StoreMembers *members, const char *path)
{
        char *clean CLEANUP_FREE = NULL;
        StoreMember key;

        if (!path || store_tree_clean_path(path, &clean) < 0)
                return NULL;
        key.path = clean;
        for (unsigned links = 0; links < 16; links++) {
                const StoreMember *found =
                        members->count > 0 ? bsearch(&key, members->items, members->count, sizeof(key), member_compare)
                                           : NULL;

                if (!found || found->kind != STORE_MEMBER_ALIAS)
                        return found;
                key.path = found->target;
        }
        return NULL;
}

const StoreMember *store_members_find_blob(const StoreMembers *members, const char *digest)
{
        char *path CLEANUP_FREE = NULL;
        const StoreMember *member;

        if (!store_digest_is_valid(digest))
                return NULL;
        path = str_printf("blobs/sha256/%s", store_digest_hex(digest));
        member = path ? store_members_find(members, path) : NULL;
        return member && (member->problem || str_equal(member->digest, digest)) ? member : NULL;
}

int store_load_parse(const StoreMember *document, json_t **ret, Error *error)
{
        json_error_t where;
        json_t *value;

        if (document->kind != STORE_MEMBER_DOCUMENT)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: %s is no document", document->path);
        value = json_loadb(document->data, document->size, JSON_REJECT_DUPLICATES, &where);
        if (!value)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: %s: %s", document->path, where.text);
        *ret = value;
        return 0;
}

static int load_add(Load *load, StoreMember *member)
{
        StoreMembers *members = &load->members;

        if (members->count == members->allocated) {
                size_t want = MAX(members->allocated * 2, (size_t) 32);
                StoreMember *grown = reallocarray(members->items, want, sizeof(*grown));

                if (!grown)
                        return -ENOMEM;
                members->items = grown;
                members->allocated = want;
        }
        members->items[members->count++] = *member;
        *member = (StoreMember) {};
        return 0;
}

static ssize_t member_next(StoreStream *stream, const uint8_t **ret)
{
        return store_tar_data(((MemberStream *) stream)->tar, SIZE_MAX, ret);
}

static bool looks_like_layer(const uint8_t *head, size_t size)
{
        return store_compression_of(head, size) != STORE_PLAIN ||
               (size == STORE_TAR_BLOCK && store_tar_is_header(head));
}

/* A short name for progress: digits of the blob's digest, or of the directory that old archives have for a layer. */
static void layer_name(const char *path, char ret_name[static ID_SHORT_LENGTH + 1])
{
        const char *hex = str_after_prefix(path, "blobs/sha256/");

        snprintf(ret_name, ID_SHORT_LENGTH + 1, "%.*s",
                 (int) MIN(strcspn(hex ? hex : path, "/"), (size_t) ID_SHORT_LENGTH), hex ? hex : path);
}

/* What is wrong with a layer matters only if an image needs it. */
static int load_layer(Load *load, StoreStream *stream, const StoreTarEntry *entry, StoreMember *member)
{
        Error error CLEANUP_ERROR = {};
        char staged[32], name[ID_SHORT_LENGTH + 1];
        int r;

        member->kind = STORE_MEMBER_LAYER;
        snprintf(staged, sizeof(staged), "layer-%zu", load->n_layers++);
        layer_name(member->path, name);
        r = store_stage_stream(stream, load->input, staged, name, entry->size, member->digest, &member->layer, &error);
        if (r > 0) {
                member->problem = TAKE_PTR(error.message);
                return member->problem ? 0 : -ENOMEM;
        }
        return r;
}

static int load_document(Load *load, StoreStream *stream, const StoreTarEntry *entry, StoreMember *member)
{
        ssize_t n;

        load->documents_size += entry->size;
        member->kind = STORE_MEMBER_DOCUMENT;
        member->data = malloc((size_t) entry->size + 1);
        if (!member->data)
                return -ENOMEM;
        n = store_stream_read(stream, member->data, (size_t) entry->size);
        if (n < 0)
                return n;
        if (n != entry->size)
                return -EBADMSG;
        member->data[n] = 0;
        member->size = n;
        return store_digest_data(member->data, member->size, member->digest);
}

static int load_regular(Load *load, const StoreTarEntry *entry, StoreMember *member)
{
        MemberStream stream = { .stream.next = member_next, .tar = &load->tar };
        const uint8_t *head;
        ssize_t n;
        int r;

        n = store_stream_peek(&stream.stream, STORE_STREAM_PEEK, &head);
        if (n < 0)
                return n;
        if (looks_like_layer(head, n))
                r = load_layer(load, &stream.stream, entry, member);
        else if (entry->size <= DOCUMENT_SIZE_MAX && load->documents_size + entry->size <= DOCUMENTS_SIZE_MAX)
                r = load_document(load, &stream.stream, entry, member);
        else
                return store_stream_drain(&stream.stream);
        return r < 0 ? r : load_add(load, member);
}

/* docker save used to write a layer that several images have once, with links to it. */
static int load_alias(Load *load, const StoreTarEntry *entry, StoreMember *member)
{
        char *joined CLEANUP_FREE = NULL;
        int r;

        member->kind = STORE_MEMBER_ALIAS;
        if (entry->type == '1')
                r = store_tree_clean_path(entry->link, &member->target);
        else {
                const char *slash = strrchr(member->path, '/');

                joined = slash ? str_printf("%.*s/%s", (int) (slash - member->path), member->path, entry->link)
                               : strdup(entry->link);
                r = joined ? store_tree_clean_path(joined, &member->target) : -ENOMEM;
        }
        if (r == -EXDEV)
                return 0;
        return r < 0 ? r : load_add(load, member);
}

static int load_entry(Load *load, const StoreTarEntry *entry)
{
        StoreMember member CLEANUP(member_clear) = {};
        int r;

        r = store_tree_clean_path(entry->path, &member.path);
        if (r == -EXDEV)
                return 0;
        if (r < 0)
                return r;
        if (load->members.count >= MEMBERS_MAX)
                return -E2BIG;
        if (entry->type == '0' && !entry->sparse)
                return load_regular(load, entry, &member);
        if (entry->type == '1' || entry->type == '2')
                return load_alias(load, entry, &member);
        return 0;
}

static int load_problem(const Load *load, int r, Error *error)
{
        if (r == -EBADMSG)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: %s",
                                 load->tar.problem ?: "corrupt compressed data");
        if (r == -E2BIG)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: too many members");
        return r;
}

static int load_read(Load *load, StoreStream *stream, Error *error)
{
        int r;

        load->tar.stream = stream;
        for (;;) {
                StoreTarEntry entry CLEANUP_TAR_ENTRY = {};

                r = store_tar_next(&load->tar, &entry);
                if (r == 0)
                        break;
                if (r > 0)
                        r = load_entry(load, &entry);
                if (r < 0)
                        return load_problem(load, r, error);
        }
        /* The sender expects all to be read. */
        r = store_stream_drain(stream);
        if (r < 0)
                return load_problem(load, r, error);
        if (load->members.count > 0)
                qsort(load->members.items, load->members.count, sizeof(StoreMember), member_compare);
        return 0;
}

static bool result_names_layer(const json_t *result, const json_t *layer)
{
        json_t *item;
        size_t i;

        json_array_foreach(json_get_array(result, "Layers"), i, item)
                if (str_equal(json_get_string(item, "Staged"), json_get_string(layer, "Staged")))
                        return true;
        return false;
}

static void load_drop_unused(const Load *load, const json_t *result)
{
        for (size_t i = 0; i < load->members.count; i++) {
                const json_t *layer = load->members.items[i].layer;

                if (layer && !result_names_layer(result, layer))
                        (void) path_remove_tree_at(load->input->staging_fd, json_get_string(layer, "Staged"));
        }
}

static void load_clear(Load *load)
{
        store_members_clear(&load->members);
}

static int load_stream(const StoreInput *input, StoreStream *stream, json_t **ret_result, Error *error)
{
        Load load CLEANUP(load_clear) = { .input = input };
        json_t *result CLEANUP_JSON = NULL;
        int r;

        r = load_read(&load, stream, error);
        if (r == 0)
                r = store_load_resolve(&load.members, input, &result, error);
        if (r != 0)
                return r;
        load_drop_unused(&load, result);
        r = store_stage_sync(input->staging_fd);
        if (r < 0)
                return r;
        *ret_result = TAKE_PTR(result);
        return 0;
}

int store_load_archive(const StoreInput *input, json_t **ret_result, Error *error)
{
        StoreInputStream stream CLEANUP_INPUT_STREAM = {};
        StoreInflateStream inflate CLEANUP_INFLATE_STREAM = {};
        StoreCompression compression;
        const uint8_t *head;
        ssize_t n;
        int r;

        r = store_input_stream_init(&stream, input->fd, input->read, input->userdata);
        if (r < 0)
                return r;
        n = store_stream_peek(&stream.stream, STORE_STREAM_PEEK, &head);
        if (n < 0)
                return n;
        compression = store_compression_of(head, n);
        if (compression == STORE_PLAIN)
                return load_stream(input, &stream.stream, ret_result, error);
        r = store_inflate_stream_init(&inflate, &stream.stream, compression);
        if (r == -EBADMSG || r == -EOPNOTSUPP)
                return error_set(error, OUTCOME_BAD_REQUEST, "invalid archive: corrupt compressed data");
        return r < 0 ? r : load_stream(input, &inflate.stream, ret_result, error);
}
