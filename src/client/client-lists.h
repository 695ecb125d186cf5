/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows of images, containers and volumes, for their own lists and for `system df`. Headings are owned by the caller. */
#pragma once

#include "client-format.h"
#include "client.h"

typedef struct ClientImageList {
        ClientRows rows; /* owned */
        bool truncate, digests;
        bool bare_digests; /* show the digest of what has no tag */
} ClientImageList;

/* The rows of an image: one for each of its names. */
void client_image_list_add(ClientImageList *list, const json_t *image);
/* One row, by the first of its tags. */
void client_image_list_add_first(ClientImageList *list, const json_t *image);
json_t *client_image_headings(void);

/* Prints images as a tree of what is stacked upon what; SharedSize is known. */
int client_image_tree(Client *client, const json_t *images, bool truncate);

void client_container_list_add(ClientRows *rows, const json_t *container, bool truncate);
json_t *client_container_headings(void);

void client_volume_list_add(ClientRows *rows, const json_t *volume);
json_t *client_volume_headings(void);
