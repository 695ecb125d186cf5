/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See journal-resent.h. */
#include <errno.h>
#include <stdlib.h>

#include "journal-resent.h"

void journal_resents_clear(JournalResents *resents)
{
        for (size_t i = 0; i < resents->n; i++)
                buffer_clear(&resents->list[i].message);
        free(resents->list);
        *resents = (JournalResents) {};
}

static bool in_group(const JournalPlace *place, int64_t time_us)
{
        return time_us >= place->before_us && time_us <= place->after_us;
}

/* 1 when a first copy of the group is not in the journal. */
static int is_missing(const char *container_id, const JournalPlace *place)
{
        CLEANUP_JOURNAL sd_journal *journal = NULL;
        JournalEntry entry = {};
        unsigned found = 0;
        int r = journal_open_container(container_id, &journal);

        if (r >= 0)
                r = sd_journal_seek_realtime_usec(journal, (uint64_t) place->before_us);
        while (r >= 0 && (r = sd_journal_next(journal)) > 0) {
                r = journal_entry_read(journal, &entry);
                /* First copies are stored in the order in which they were sent. */
                if (r < 0 || (!entry.resent && entry.time_us > place->after_us))
                        break;
                if (!entry.resent && in_group(place, entry.time_us))
                        found++;
        }
        buffer_clear(&entry.message);
        return r < 0 ? r : found < place->count;
}

static bool same_place(const JournalPlace *a, const JournalPlace *b)
{
        return a->before_us == b->before_us && a->after_us == b->after_us && a->index == b->index;
}

ssize_t journal_resents_add(JournalResents *resents, const char *container_id, const JournalEntry *entry)
{
        JournalResent new = { .place = entry->place,
                              .standard_error = entry->standard_error,
                              .partial = entry->partial };
        JournalResent *list;
        int r;

        for (size_t i = 0; i < resents->n; i++)
                if (same_place(&resents->list[i].place, &entry->place))
                        return (ssize_t) i;
        r = is_missing(container_id, &entry->place);
        if (r < 0)
                return r;
        new.missing = r > 0;
        list = reallocarray(resents->list, resents->n + 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        resents->list = list;
        r = buffer_append(&new.message, entry->message.data, entry->message.size);
        if (r < 0)
                return r;
        list[resents->n] = new;
        return (ssize_t) resents->n++;
}

int journal_resents_load(JournalResents *resents, const char *container_id)
{
        CLEANUP_JOURNAL sd_journal *journal = NULL;
        JournalEntry entry = {};
        ssize_t n = 0;
        int r = journal_open_container(container_id, &journal);

        if (r >= 0)
                r = sd_journal_add_match(journal, "CONTAINER_LOG_RESENT=1", 0);
        if (r >= 0)
                r = sd_journal_seek_head(journal);
        while (r >= 0 && n >= 0 && (r = sd_journal_next(journal)) > 0) {
                r = journal_entry_read(journal, &entry);
                if (r >= 0)
                        n = journal_resents_add(resents, container_id, &entry);
        }
        buffer_clear(&entry.message);
        return n < 0 ? (int) n : r;
}

JournalResent *journal_resents_before(JournalResents *resents, const JournalEntry *entry)
{
        for (size_t i = 0; i < resents->n; i++) {
                JournalResent *resent = &resents->list[i];
                bool in = in_group(&resent->place, entry->time_us);

                if (resent->missing &&
                    (entry->time_us > resent->place.after_us || (in && resent->seen == resent->place.index))) {
                        resent->missing = false;
                        return resent;
                }
        }
        for (size_t i = 0; i < resents->n; i++)
                if (in_group(&resents->list[i].place, entry->time_us))
                        resents->list[i].seen++;
        return NULL;
}

void journal_resents_skip(JournalResents *resents, int64_t time_us)
{
        for (size_t i = 0; i < resents->n; i++)
                if (resents->list[i].place.before_us < time_us)
                        resents->list[i].missing = false;
}
