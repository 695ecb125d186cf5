/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "client-bars.h"
#include "client-text.h"
#include "client.h"

#define BAR_MAX 50
#define BAR_MIN 10
#define FRAME_NS (66 * INT64_C(1000000))
/* A rate is told once it has been watched for so long. */
#define RATE_NS (300 * INT64_C(1000000))

static int64_t now_of(const ClientBars *bars)
{
        return bars->clock ? bars->clock() : time_monotonic_ns();
}

static void forget_drawn(ClientBars *bars)
{
        for (size_t i = 0; i < bars->n_drawn; i++)
                free(bars->drawn[i]);
        free(bars->drawn);
        bars->drawn = NULL;
        bars->n_drawn = 0;
}

void client_bars_clear(ClientBars *bars)
{
        for (size_t i = 0; i < bars->n; i++) {
                free(bars->bars[i].id);
                free(bars->bars[i].status);
        }
        free(bars->bars);
        forget_drawn(bars);
        *bars = (ClientBars) { .rows = bars->rows, .columns = bars->columns, .clock = bars->clock };
}

/* --- what is known --- */

static bool is_one_of(const char *s, const char *const *list, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (str_after_prefix(s, list[i]))
                        return true;
        return false;
}

/* Nothing follows these. */
static bool is_final(const ClientBar *bar)
{
        static const char *const words[] = { "Pull complete",        "Already exists", "Pushed",
                                             "Layer already exists", "Mounted from",   "Skipped" };

        return is_one_of(bar->status, words, ARRAY_SIZE(words));
}

static bool is_transfer(const char *status)
{
        static const char *const words[] = { "Downloading", "Pushing", "Importing", "Loading layer" };

        return is_one_of(status, words, ARRAY_SIZE(words));
}

static ClientBar *find_bar(ClientBars *bars, const char *id)
{
        for (size_t i = 0; i < bars->n; i++)
                if (strcmp(bars->bars[i].id, id) == 0)
                        return &bars->bars[i];
        bars->bars = client_must(reallocarray(bars->bars, bars->n + 1, sizeof(ClientBar)));
        bars->bars[bars->n] = (ClientBar) { .id = client_must(strdup(id)), .status = client_must(strdup("")) };
        return &bars->bars[bars->n++];
}

void client_bars_set(ClientBars *bars, const char *id, const char *status, int64_t current, int64_t total)
{
        ClientBar *bar = find_bar(bars, id);
        int64_t now = now_of(bars);

        current = MAX(current, 0);
        total = MAX(total, 0);
        if (bars->n == 1 && bars->began == 0)
                bars->began = now;
        if (strcmp(bar->status, status) != 0) {
                free(bar->status);
                bar->status = client_must(strdup(status));
                bar->since = now;
                bar->at_first = current;
                bars->urgent = true;
        }
        bar->current = current;
        bar->total = total;
        bar->last = now;
        if (is_transfer(status)) {
                bar->moved = current;
                bar->to_move = MAX(total, current);
        } else {
                /* Whatever comes behind the transfer, that is over. */
                bar->moved = bar->to_move;
        }
}

/* --- text --- */

static char *rate_text(int64_t bytes, int64_t ns)
{
        CLEANUP_FREE char *rate = NULL;

        if (ns < RATE_NS || bytes <= 0)
                return client_must(strdup(""));
        rate = client_must(text_size((double) bytes * 1e9 / (double) ns, 3));
        return client_must(str_printf("  %s/s", rate));
}

/* LEFT, a bar in the room that is left, and RIGHT. */
static char *compose(const char *left, const char *right, int64_t current, int64_t total, unsigned columns)
{
        size_t used = text_columns(left, strlen(left)) + text_columns(right, strlen(right)) + 4;
        size_t width = columns > used ? MIN(columns - used, (size_t) BAR_MAX) : 0;
        CLEANUP_FREE char *line = NULL;
        char done[BAR_MAX + 1];
        size_t filled;

        if (total > 0 && width >= BAR_MIN) {
                filled = (size_t) ((double) MIN(current, total) / (double) total * (double) (width - 1));
                memset(done, '=', filled);
                done[filled] = 0;
                line = str_printf("%s [%s>%*s] %s", left, done, (int) (width - 1 - filled), "", right);
        } else {
                line = str_printf("%s%s%s", left, *right ? " " : "", right);
        }
        return client_must(text_ellipsis(client_must(line), MAX(columns, 1u)));
}

char *client_bar_text(const ClientBar *bar, unsigned columns)
{
        CLEANUP_FREE char *left = client_must(str_printf("%s: %s", bar->id, bar->status));
        CLEANUP_FREE char *current = client_must(text_size(bar->current, 4)),
                          *total = client_must(text_size(bar->total, 4));
        CLEANUP_FREE char *rate = is_transfer(bar->status)
                                          ? rate_text(bar->current - bar->at_first, bar->last - bar->since)
                                          : client_must(strdup(""));
        CLEANUP_FREE char *right = NULL;

        if (bar->total > 0)
                right = str_printf("%s/%s%s", current, total, rate);
        else if (bar->current > 0)
                right = str_printf("%s%s", current, rate);
        else
                right = strdup("");
        return compose(left, client_must(right), bar->current, bar->total, columns);
}

/* All transfers together; NULL where there are not two of them, or none is under way. */
static char *total_text(const ClientBars *bars, unsigned columns)
{
        int64_t moved = 0, to_move = 0;
        size_t n = 0;
        bool busy = false;
        CLEANUP_FREE char *current = NULL, *total = NULL, *rate = NULL, *right = NULL;

        for (size_t i = 0; i < bars->n; i++) {
                moved += bars->bars[i].moved;
                to_move += bars->bars[i].to_move;
                n += bars->bars[i].to_move > 0;
                busy |= is_transfer(bars->bars[i].status);
        }
        if (n < 2 || !busy)
                return NULL;
        current = client_must(text_size(moved, 4));
        total = client_must(text_size(to_move, 4));
        rate = rate_text(moved, now_of(bars) - bars->began);
        right = client_must(str_printf("%s/%s%s", current, total, rate));
        return compose("Total:", right, moved, to_move, columns);
}

/* --- the screen --- */

static void terminal_size(const ClientBars *bars, FILE *file, unsigned *ret_rows, unsigned *ret_columns)
{
        struct winsize size = {};

        *ret_rows = bars->rows;
        *ret_columns = bars->columns;
        if (bars->rows == 0 && ioctl(fileno(file), TIOCGWINSZ, &size) == 0) {
                *ret_rows = size.ws_row;
                *ret_columns = size.ws_col;
        }
        *ret_rows = *ret_rows ?: 24;
        /* The last column stays free: some terminals go to the next line there. */
        *ret_columns = *ret_columns > 1 ? *ret_columns - 1 : 79;
}

/* What is to be on the screen; finished ones make room first. Returns the number of lines. */
static size_t wanted_lines(const ClientBars *bars, unsigned rows, unsigned columns, char **lines)
{
        size_t room = rows > 4 ? rows - 3 : 1, excess = bars->n > room ? bars->n - room : 0, n = 0, hidden = 0;
        char *total;

        for (size_t i = 0; i < bars->n; i++) {
                if (excess > 0 && is_final(&bars->bars[i])) {
                        excess--;
                        continue;
                }
                if (n >= room) {
                        hidden++;
                        continue;
                }
                lines[n++] = client_bar_text(&bars->bars[i], columns);
        }
        if (hidden > 0)
                lines[n++] = client_must(str_printf("... and %zu more", hidden));
        total = total_text(bars, columns);
        if (total)
                lines[n++] = total;
        return n;
}

static void put_lines(ClientBars *bars, char **lines, size_t n, FILE *file)
{
        if (n < bars->n_drawn) {
                fprintf(file, "\033[%zuA\r\033[J", bars->n_drawn - n);
                for (size_t i = n; i < bars->n_drawn; i++)
                        free(bars->drawn[i]);
                bars->n_drawn = n;
        }
        for (size_t i = 0; i < bars->n_drawn; i++) {
                size_t up = bars->n_drawn - i;

                if (strcmp(lines[i], bars->drawn[i]) != 0)
                        fprintf(file, "\033[%zuA\r%s\033[K\033[%zuB\r", up, lines[i], up);
                free(bars->drawn[i]);
                bars->drawn[i] = lines[i];
        }
        bars->drawn = client_must(reallocarray(bars->drawn, n + 1, sizeof(char *)));
        for (size_t i = bars->n_drawn; i < n; i++) {
                fprintf(file, "%s\n", lines[i]);
                bars->drawn[i] = lines[i];
        }
        bars->n_drawn = n;
}

void client_bars_draw(ClientBars *bars, FILE *file)
{
        CLEANUP_FREE char **lines = NULL;
        int64_t now = now_of(bars);
        unsigned rows, columns;

        if (bars->n == 0 || (!bars->urgent && now - bars->drawn_at < FRAME_NS))
                return;
        terminal_size(bars, file, &rows, &columns);
        lines = client_must(calloc(bars->n + 2, sizeof(char *)));
        put_lines(bars, lines, wanted_lines(bars, rows, columns, lines), file);
        bars->urgent = false;
        bars->drawn_at = now;
        fflush(file);
}

void client_bars_end(ClientBars *bars, FILE *file)
{
        unsigned rows, columns;

        if (bars->n == 0)
                return;
        terminal_size(bars, file, &rows, &columns);
        if (bars->n_drawn > 0)
                fprintf(file, "\033[%zuA\r\033[J", bars->n_drawn);
        for (size_t i = 0; i < bars->n; i++) {
                CLEANUP_FREE char *line = client_bar_text(&bars->bars[i], columns);

                fprintf(file, "%s\n", line);
        }
        client_bars_clear(bars);
        fflush(file);
}
