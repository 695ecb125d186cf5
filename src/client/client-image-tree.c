/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* berth images --tree: each image below the one whose layers it is stacked upon, with what it adds to it, and what of
 * it others have too. */
#include <stdio.h>
#include <string.h>

#include "berth/json.h"
#include "client-lists.h"
#include "client-text.h"
#include "client.h"

#define NOBODY SIZE_MAX

typedef struct Node {
        const json_t *image;
        json_t *layers; /* owned; diff IDs, the lowest first */
        size_t parent;  /* or NOBODY */
} Node;

typedef struct Tree {
        Node *nodes; /* owned; in the order of the list */
        size_t n;
        bool truncate;
        ClientRows rows; /* owned */
} Tree;

static void tree_clear(Tree *tree)
{
        for (size_t i = 0; i < tree->n; i++)
                json_decref(tree->nodes[i].layers);
        free(tree->nodes);
        client_rows_clear(&tree->rows);
}

/* None of an image that went meanwhile. */
static json_t *ask_layers(Client *client, const char *id)
{
        CLEANUP_BUFFER Buffer target = target_make("images", id, "json");
        CLEANUP_REPLY ClientReply reply = {};
        CLEANUP_ERROR Error error = {};
        json_t *layers = NULL;

        if (client_call(client, "GET", target.data, NULL, &reply, &error) == 0)
                layers = json_get_array(json_get_object(reply.json, "RootFS"), "Layers");
        return client_must(layers ? json_incref(layers) : json_array());
}

static bool begins_with(const json_t *layers, const json_t *lower)
{
        for (size_t i = 0; i < json_array_size(lower); i++)
                if (!json_equal(json_array_get(layers, i), json_array_get(lower, i)))
                        return false;
        return true;
}

/* The image with the most of its layers; one with all of them only if it is known to be made of that. */
static size_t find_parent(const Tree *tree, size_t child)
{
        const Node *node = &tree->nodes[child];
        const char *made_of = json_get_string_or(node->image, "ParentId", "");
        size_t found = NOBODY, most = 0, size = json_array_size(node->layers);

        for (size_t i = 0; i < tree->n; i++) {
                size_t n = json_array_size(tree->nodes[i].layers);
                bool parent = str_equal(json_get_string(tree->nodes[i].image, "Id"), made_of);

                if (i == child || (!parent && (n == 0 || n >= size || n <= most)))
                        continue;
                if (parent)
                        return i;
                if (begins_with(node->layers, tree->nodes[i].layers)) {
                        found = i;
                        most = n;
                }
        }
        return found;
}

static bool has_child(const Tree *tree, size_t parent, size_t after)
{
        for (size_t i = after; i < tree->n; i++)
                if (tree->nodes[i].parent == parent)
                        return true;
        return false;
}

static void add_row(Tree *tree, const char *lines, const char *name, const char *id, const char *const *sizes)
{
        CLEANUP_FREE char *image = client_must(str_printf("%s%s", lines, name));

        client_rows_add(&tree->rows,
                        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "Image", image, "ID", id, "Size", sizes[0], "Added",
                                  sizes[1], "Shared", sizes[2], "Unique", sizes[3]),
                        json_object());
}

/* Further names stand below the first, on the line that leads to the children. */
static void add_image(Tree *tree, size_t at, const char *lines, const char *below)
{
        static const char *const none[] = { "", "", "", "" };
        const Node *node = &tree->nodes[at];
        const json_t *parent = node->parent == NOBODY ? NULL : tree->nodes[node->parent].image;
        const char *id = json_get_string_or(node->image, "Id", ""), *hex = str_after_prefix(id, "sha256:") ?: id;
        int64_t size = json_get_int(node->image, "Size", 0), shared = json_get_int(node->image, "SharedSize", 0);
        CLEANUP_FREE char *shown = client_must(tree->truncate ? strndup(hex, ID_SHORT_LENGTH) : strdup(id));
        CLEANUP_FREE char *whole = client_must(text_size((double) size, 3));
        CLEANUP_FREE char *added = client_must(text_size((double) (size - json_get_int(parent, "Size", 0)), 3));
        CLEANUP_FREE char *common = client_must(text_size((double) shared, 3));
        CLEANUP_FREE char *own = client_must(text_size((double) (size - shared), 3));
        const char *const sizes[] = { whole, added, common, own };
        const json_t *names = json_get_array(node->image, "RepoTags");
        CLEANUP_FREE char *further = client_must(str_printf("%s%s", below, has_child(tree, at, 0) ? "│  " : "   "));

        add_row(tree, lines, json_string_value(json_array_get(names, 0)) ?: "<none>", shown, sizes);
        for (size_t i = 1; i < json_array_size(names); i++)
                add_row(tree, further, json_string_value(json_array_get(names, i)) ?: "", "", none);
}

/* The images right upon PARENT, and what is upon them. */
static void add_level(Tree *tree, size_t parent, const char *lines)
{
        for (size_t i = 0; i < tree->n; i++) {
                bool root = parent == NOBODY, last = !has_child(tree, parent, i + 1);

                if (tree->nodes[i].parent != parent)
                        continue;
                CLEANUP_FREE char *own = client_must(str_printf("%s%s", lines, root ? "" : last ? "└─ " : "├─ "));
                CLEANUP_FREE char *below = client_must(str_printf("%s%s", lines, root ? "" : last ? "   " : "│  "));
                add_image(tree, i, own, below);
                add_level(tree, i, below);
        }
}

int client_image_tree(Client *client, const json_t *images, bool truncate)
{
        CLEANUP(tree_clear) Tree tree = { .truncate = truncate };
        CLEANUP_JSON json_t *headings =
                client_must(json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "Image", "IMAGE", "ID", "IMAGE ID", "Size", "SIZE",
                                      "Added", "ADDED", "Shared", "SHARED", "Unique", "UNIQUE"));
        json_t *image;
        size_t i;

        tree.nodes = client_must(calloc(json_array_size(images) + 1, sizeof(Node)));
        json_array_foreach((json_t *) images, i, image) {
                json_t *layers = ask_layers(client, json_get_string_or(image, "Id", ""));

                tree.nodes[tree.n++] = (Node) { image, layers, NOBODY };
        }
        for (i = 0; i < tree.n; i++)
                tree.nodes[i].parent = find_parent(&tree, i);
        add_level(&tree, NOBODY, "");
        return client_rows_print(&tree.rows, NULL,
                                 "{{.Image}}\t{{.ID}}\t{{.Size}}\t{{.Added}}\t{{.Shared}}\t{{.Unique}}", headings);
}
