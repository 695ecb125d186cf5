/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The changing lines of a long job: what they say, how wide they are, and what is drawn again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "berth/cleanup.h"
#include "berth/string.h"
#include "client-bars.h"
#include "client-text.h"

#define SECOND INT64_C(1000000000)

static int64_t now;

static int64_t tell_now(void)
{
        return now;
}

typedef struct Screen {
        ClientBars bars;
        FILE *file;
        char *text;
        size_t size, seen;
} Screen;

static void screen_open(Screen *screen, unsigned rows, unsigned columns)
{
        *screen = (Screen) { .bars = { .rows = rows, .columns = columns, .clock = tell_now } };
        screen->file = open_memstream(&screen->text, &screen->size);
        now = SECOND;
        assert_non_null(screen->file);
}

static void screen_close(Screen *screen)
{
        client_bars_clear(&screen->bars);
        fclose(screen->file);
        free(screen->text);
}

/* What was written since it was last asked. */
static const char *drawn(Screen *screen)
{
        const char *text;

        client_bars_draw(&screen->bars, screen->file);
        fflush(screen->file);
        text = screen->text + screen->seen;
        screen->seen = screen->size;
        return text;
}

static void test_only_changes_are_drawn(void **state)
{
        Screen screen;

        (void) state;
        screen_open(&screen, 24, 80);
        client_bars_set(&screen.bars, "aa", "Waiting", 0, 0);
        client_bars_set(&screen.bars, "bb", "Waiting", 0, 0);
        assert_string_equal(drawn(&screen), "aa: Waiting\nbb: Waiting\n");
        client_bars_set(&screen.bars, "aa", "Pull complete", 0, 0);
        assert_string_equal(drawn(&screen), "\033[2A\raa: Pull complete\033[K\033[2B\r");
        assert_string_equal(drawn(&screen), "");
        screen_close(&screen);
}

static void test_drawing_waits(void **state)
{
        Screen screen;

        (void) state;
        screen_open(&screen, 24, 80);
        client_bars_set(&screen.bars, "aa", "Downloading", 1, 100);
        assert_string_not_equal(drawn(&screen), "");
        now += SECOND / 100;
        client_bars_set(&screen.bars, "aa", "Downloading", 50, 100);
        assert_string_equal(drawn(&screen), "");
        now += SECOND;
        assert_string_not_equal(drawn(&screen), "");
        screen_close(&screen);
}

static void test_rates_and_totals(void **state)
{
        Screen screen;
        const char *text;

        (void) state;
        screen_open(&screen, 24, 120);
        client_bars_set(&screen.bars, "aa", "Downloading", 0, 10000000);
        client_bars_set(&screen.bars, "bb", "Downloading", 0, 20000000);
        drawn(&screen);
        now += 2 * SECOND;
        client_bars_set(&screen.bars, "aa", "Downloading", 4000000, 10000000);
        client_bars_set(&screen.bars, "bb", "Downloading", 2000000, 20000000);
        text = drawn(&screen);
        assert_non_null(strstr(text, "4MB/10MB  2MB/s"));
        assert_non_null(strstr(text, "2MB/20MB  1MB/s"));
        assert_non_null(strstr(text, "Total: ["));
        assert_non_null(strstr(text, "6MB/30MB  3MB/s"));
        /* Extracting is no transfer: what was downloaded counts as such. */
        client_bars_set(&screen.bars, "aa", "Extracting", 1000000, 10000000);
        assert_non_null(strstr(drawn(&screen), "12MB/30MB"));
        client_bars_set(&screen.bars, "aa", "Pull complete", 0, 0);
        client_bars_set(&screen.bars, "bb", "Pull complete", 0, 0);
        assert_null(strstr(drawn(&screen), "Total"));
        screen_close(&screen);
}

static void test_lines_fit(void **state)
{
        static const ClientBar bar = { .id = (char *) "0123456789ab",
                                       .status = (char *) "Downloading",
                                       .current = 123456789,
                                       .total = 987654321,
                                       .last = 4 * SECOND };

        (void) state;
        for (unsigned columns = 1; columns < 200; columns++) {
                CLEANUP_FREE char *text = client_bar_text(&bar, columns);

                assert_true(text_columns(text, strlen(text)) <= columns);
        }
        CLEANUP_FREE char *wide = client_bar_text(&bar, 150);

        assert_string_equal(wide, "0123456789ab: Downloading [======>                                           ] "
                                  "123.5MB/987.7MB  30.9MB/s");
}

/* More layers than lines: the finished ones go, and the rest is counted. */
static void test_short_terminal(void **state)
{
        Screen screen;
        const char *text;
        unsigned lines = 0;

        (void) state;
        screen_open(&screen, 8, 80);
        for (int i = 0; i < 20; i++) {
                char id[16];

                snprintf(id, sizeof(id), "l%02d", i);
                client_bars_set(&screen.bars, id, i < 16 ? "Already exists" : "Waiting", 0, 0);
        }
        text = drawn(&screen);
        for (const char *c = text; *c; c++)
                lines += *c == '\n';
        assert_true(lines < 8);
        assert_non_null(strstr(text, "l19: Waiting"));
        client_bars_end(&screen.bars, screen.file);
        text = drawn(&screen);
        assert_non_null(strstr(text, "l00: Already exists\n"));
        assert_non_null(strstr(text, "l19: Waiting\n"));
        screen_close(&screen);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_only_changes_are_drawn), cmocka_unit_test(test_drawing_waits),
                cmocka_unit_test(test_rates_and_totals),       cmocka_unit_test(test_lines_fit),
                cmocka_unit_test(test_short_terminal),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
