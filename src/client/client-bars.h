/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines of a terminal that change in place: one for each thing under way, and one for all of them together. The cursor
 * rests below the lines. Only lines whose text changed are drawn again, none is wider than the terminal, and there are
 * never more than fit on it. The empty value is {}. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct ClientBar {
        char *id, *status;       /* owned */
        int64_t current, total;  /* bytes of what the status tells; 0 where that has none */
        int64_t moved, to_move;  /* bytes moved over the network, and how many there are */
        int64_t since, at_first; /* when the status began (monotonic, ns), and `current` then */
        int64_t last;            /* when `current` was told */
} ClientBar;

typedef struct ClientBars {
        ClientBar *bars; /* owned */
        size_t n;
        char **drawn; /* the lines on the screen, owned */
        size_t n_drawn;
        int64_t drawn_at, began;
        bool urgent;            /* something new is to be seen at once */
        unsigned rows, columns; /* of the terminal; not asked for where set */
        int64_t (*clock)(void); /* NULL: the monotonic clock */
} ClientBars;
void client_bars_clear(ClientBars *bars);

/* Notes what is known about ID. */
void client_bars_set(ClientBars *bars, const char *id, const char *status, int64_t current, int64_t total);

/* Draws, unless that was done a moment ago and can wait. */
void client_bars_draw(ClientBars *bars, FILE *file);

/* Leaves the last state of every line on the screen and forgets them. */
void client_bars_end(ClientBars *bars, FILE *file);

/* One line in at most COLUMNS columns, owned by the caller. */
char *client_bar_text(const ClientBar *bar, unsigned columns);
