/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See journal-entry.h. An entry's fields are walked once: asking for each by name would walk them as often as there are
 * names, and to the end for those that are not there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "berth/string.h"
#include "journal-entry.h"

static int read_message(JournalEntry *entry, const char *value, size_t size)
{
        entry->message.size = 0;
        return buffer_append(&entry->message, value, size);
}

/* Standard output is 6; standard error is 3; what the monitor itself has to say (4) is shown as an error. */
static int read_priority(JournalEntry *entry, const char *value, size_t size)
{
        entry->standard_error = size != 1 || value[0] != '6';
        return 0;
}

static int read_time(JournalEntry *entry, const char *value, size_t size)
{
        int64_t us = 0;

        for (size_t i = 0; i < size && value[i] >= '0' && value[i] <= '9'; i++)
                us = us * 10 + (value[i] - '0');
        entry->time_us = us;
        return 0;
}

static int read_partial(JournalEntry *entry, const char *value, size_t size)
{
        entry->partial = size == 4 && memcmp(value, "true", 4) == 0;
        return 0;
}

static int read_resent(JournalEntry *entry, const char *value, size_t size)
{
        (void) value;
        entry->resent = size > 0;
        return 0;
}

static int read_place(JournalEntry *entry, const char *value, size_t size)
{
        char text[128];
        long long before, after;

        (void) snprintf(text, sizeof(text), "%.*s", (int) MIN(size, sizeof(text) - 1), value);
        if (sscanf(text, "%lld.%lld.%u.%u", &before, &after, &entry->place.index, &entry->place.count) == 4) {
                entry->place.before_us = before;
                entry->place.after_us = after;
        }
        return 0;
}

#define FIELD(name, function) { name "=", sizeof(name), function }

static int read_field(JournalEntry *entry, const char *data, size_t size)
{
        static const struct {
                const char *name;
                size_t length;
                int (*read)(JournalEntry *entry, const char *value, size_t size);
        } table[] = {
                FIELD("MESSAGE", read_message),
                FIELD("PRIORITY", read_priority),
                FIELD("_SOURCE_REALTIME_TIMESTAMP", read_time),
                FIELD("CONTAINER_PARTIAL_MESSAGE", read_partial),
                FIELD("CONTAINER_LOG_RESENT", read_resent),
                FIELD("CONTAINER_LOG_PLACE", read_place),
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                if (size >= table[i].length && memcmp(data, table[i].name, table[i].length) == 0)
                        return table[i].read(entry, data + table[i].length, size - table[i].length);
        return 0;
}

int journal_entry_read(sd_journal *journal, JournalEntry *entry)
{
        const void *data;
        size_t size;
        int r;

        *entry = (JournalEntry) { .message = entry->message };
        entry->message.size = 0;
        sd_journal_restart_data(journal);
        while ((r = sd_journal_enumerate_available_data(journal, &data, &size)) > 0) {
                r = read_field(entry, data, size);
                if (r < 0)
                        return r;
        }
        if (r >= 0 && entry->time_us == 0) {
                uint64_t received;

                r = sd_journal_get_realtime_usec(journal, &received);
                entry->time_us = (int64_t) received;
        }
        return r;
}

int journal_open_container(const char *container_id, sd_journal **ret_journal)
{
        CLEANUP_JOURNAL sd_journal *journal = NULL;
        CLEANUP_FREE char *match = str_printf("CONTAINER_ID_FULL=%s", container_id);
        int r;

        if (!match)
                return -ENOMEM;
        r = sd_journal_open(&journal, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_SYSTEM);
        if (r >= 0)
                r = sd_journal_set_data_threshold(journal, 0);
        if (r >= 0)
                r = sd_journal_add_match(journal, match, 0);
        if (r >= 0)
                *ret_journal = TAKE_PTR(journal);
        return r;
}
