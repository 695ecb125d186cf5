/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See journal-resent.h. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

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

static bool same_group(const JournalPlace *a, const JournalPlace *b)
{
        return a->before_us == b->before_us && a->after_us == b->after_us && a->count == b->count;
}

static size_t group_size(const JournalResents *resents, size_t at)
{
        size_t n = 1;

        while (at + n < resents->n && same_group(&resents->list[at].place, &resents->list[at + n].place))
                n++;
        return n;
}

static bool is_waiting(const JournalResent *resent)
{
        return resent->missing && !resent->shown && !resent->skipped;
}

static bool has_content(const JournalResent *resent, const Buffer *message, bool standard_error, bool partial)
{
        return resent->standard_error == standard_error && resent->partial == partial &&
               resent->message.size == message->size &&
               (message->size == 0 || memcmp(resent->message.data, message->data, message->size) == 0);
}

/* The first copies of a group, one after the other. */
typedef struct Copies {
        sd_journal *journal;
        const JournalPlace *place;
        JournalEntry entry;
} Copies;

static void copies_clear(Copies *copies)
{
        buffer_clear(&copies->entry.message);
}
#define CLEANUP_COPIES CLEANUP(copies_clear)

static int copies_start(Copies *copies)
{
        return sd_journal_seek_realtime_usec(copies->journal, (uint64_t) copies->place->before_us);
}

/* 0: there are no more. */
static int copies_next(Copies *copies)
{
        JournalEntry *entry = &copies->entry;
        int r;

        while ((r = sd_journal_next(copies->journal)) > 0) {
                r = journal_entry_read(copies->journal, entry);
                if (r < 0)
                        return r;
                if (entry->resent)
                        continue;
                /* They are stored in the order in which they were sent. */
                if (entry->time_us > copies->place->after_us)
                        return 0;
                if (entry->time_us >= copies->place->before_us)
                        return 1;
        }
        return r;
}

/* How many there are before the entry with a cursor; all without one. */
static int copies_count(Copies *copies, const char *cursor, unsigned *ret_count)
{
        unsigned count = 0;
        int r = copies_start(copies);

        while (r >= 0 && (r = copies_next(copies)) > 0) {
                if (cursor && sd_journal_test_cursor(copies->journal, cursor) > 0)
                        break;
                count++;
        }
        if (r >= 0)
                *ret_count = count;
        return r;
}

/* The indices behind the ITH of the group's N members that were sent once. */
static int64_t sent_once_behind(const JournalResent *members, size_t i, size_t n)
{
        int64_t behind = (int64_t) members[i].place.count - 1 - members[i].place.index;

        return MAX(behind - (int64_t) (n - 1 - i), 0);
}

/* Deals FOUND first copies, which are not enough, out to the indices of their group. */
static int deal_out(Copies *copies, JournalResent *members, size_t n, unsigned found)
{
        unsigned left = found, index = 0;
        int r = copies_start(copies);

        if (r >= 0)
                r = copies_next(copies);
        for (size_t i = 0; r >= 0 && i < n; i++) {
                JournalResent *member = &members[i];

                for (; r > 0 && left > 0 && index < member->place.index; index++, left--)
                        r = copies_next(copies);
                if (r < 0)
                        return r;
                index = member->place.index + 1;
                member->preceding = found - left;
                member->missing = r == 0 || (int64_t) left <= sent_once_behind(members, i, n) ||
                                  !has_content(member, &copies->entry.message, copies->entry.standard_error,
                                               copies->entry.partial);
                if (!member->missing) {
                        left--;
                        r = copies_next(copies);
                }
        }
        return MIN(r, 0);
}

/* One that was shown for what is known now to be another with the same text has shown that. */
static void let_stand_in(JournalResent *members, size_t n, JournalResent *missing)
{
        for (size_t i = 0; i < n; i++) {
                JournalResent *other = &members[i];

                if (!other->shown || other->missing ||
                    !has_content(missing, &other->message, other->standard_error, other->partial))
                        continue;
                other->missing = true;
                missing->missing = false;
                return;
        }
}

static int decide_group(sd_journal *journal, JournalResent *members, size_t n)
{
        CLEANUP_COPIES Copies copies = { .journal = journal, .place = &members->place };
        unsigned found;
        int r = copies_count(&copies, NULL, &found);

        if (r >= 0 && found < members->place.count)
                r = deal_out(&copies, members, n, found);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                members[i].undecided = false;
                if (is_waiting(&members[i]))
                        let_stand_in(members, n, &members[i]);
        }
        return 0;
}

static bool is_undecided(const JournalResent *members, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (members[i].undecided)
                        return true;
        return false;
}

int journal_resents_decide(JournalResents *resents, const char *container_id)
{
        CLEANUP_JOURNAL sd_journal *journal = NULL;
        size_t n;
        int r;

        if (!resents->undecided)
                return 0;
        r = journal_open_container(container_id, &journal);
        for (size_t i = 0; r >= 0 && i < resents->n; i += n) {
                n = group_size(resents, i);
                if (is_undecided(&resents->list[i], n))
                        r = decide_group(journal, &resents->list[i], n);
        }
        if (r < 0)
                return r;
        resents->undecided = false;
        resents->first = 0;
        return 0;
}

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static int compare_places(const JournalPlace *a, const JournalPlace *b)
{
        int r = COMPARE(a->before_us, b->before_us);

        if (r == 0)
                r = COMPARE(a->after_us, b->after_us);
        if (r == 0)
                r = COMPARE(a->count, b->count);
        return r == 0 ? COMPARE(a->index, b->index) : r;
}

/* Where one with this place is, or belongs. They mostly come in their order. */
static size_t find_place(const JournalResents *resents, const JournalPlace *place)
{
        size_t at = resents->n;

        while (at > 0 && compare_places(&resents->list[at - 1].place, place) >= 0)
                at--;
        return at;
}

int journal_resents_add(JournalResents *resents, const JournalEntry *entry)
{
        JournalResent new = { .place = entry->place,
                              .standard_error = entry->standard_error,
                              .partial = entry->partial,
                              .undecided = true };
        size_t at = find_place(resents, &entry->place);
        JournalResent *list;
        int r;

        if (at < resents->n && compare_places(&resents->list[at].place, &entry->place) == 0)
                return 0;
        list = reallocarray(resents->list, resents->n + 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        resents->list = list;
        r = buffer_append(&new.message, entry->message.data, entry->message.size);
        if (r < 0)
                return r;
        memmove(&list[at + 1], &list[at], (resents->n - at) * sizeof(*list));
        list[at] = new;
        resents->n++;
        resents->undecided = true;
        return 0;
}

int journal_resents_load(JournalResents *resents, const char *container_id)
{
        CLEANUP_JOURNAL sd_journal *journal = NULL;
        JournalEntry entry = {};
        int r = journal_open_container(container_id, &journal);

        if (r >= 0)
                r = sd_journal_add_match(journal, "CONTAINER_LOG_RESENT=1", 0);
        if (r >= 0)
                r = sd_journal_seek_head(journal);
        while (r >= 0 && (r = sd_journal_next(journal)) > 0) {
                r = journal_entry_read(journal, &entry);
                if (r >= 0)
                        r = journal_resents_add(resents, &entry);
        }
        buffer_clear(&entry.message);
        return r;
}

static bool is_due(const JournalResent *resent, const JournalEntry *entry)
{
        return !entry || entry->time_us > resent->place.after_us ||
               (in_group(&resent->place, entry->time_us) && resent->seen == resent->preceding);
}

JournalResent *journal_resents_before(JournalResents *resents, const JournalEntry *entry)
{
        int64_t time_us = entry ? entry->time_us : INT64_MAX;

        while (resents->first < resents->n && !is_waiting(&resents->list[resents->first]))
                resents->first++;
        for (size_t i = resents->first; i < resents->n && resents->list[i].place.before_us <= time_us; i++)
                if (is_waiting(&resents->list[i]) && is_due(&resents->list[i], entry)) {
                        resents->list[i].shown = true;
                        return &resents->list[i];
                }
        for (size_t i = resents->first; i < resents->n && resents->list[i].place.before_us <= time_us; i++)
                if (in_group(&resents->list[i].place, time_us))
                        resents->list[i].seen++;
        return NULL;
}

/* Of a group that begins before the entry with this time and cursor. */
static int skip_in_group(sd_journal *journal, JournalResent *members, size_t n, int64_t time_us, const char *cursor)
{
        CLEANUP_COPIES Copies copies = { .journal = journal, .place = &members->place };
        unsigned passed = UINT_MAX;
        int r = in_group(&members->place, time_us) ? copies_count(&copies, cursor, &passed) : 0;

        for (size_t i = 0; r >= 0 && i < n; i++) {
                members[i].seen = passed;
                members[i].skipped = members[i].preceding < passed;
        }
        return r;
}

int journal_resents_skip(JournalResents *resents, const char *container_id, sd_journal *start)
{
        CLEANUP_JOURNAL sd_journal *journal = NULL;
        CLEANUP_FREE char *cursor = NULL;
        JournalEntry entry = {};
        size_t n;
        int r = journal_resents_decide(resents, container_id);

        if (r >= 0)
                r = journal_entry_read(start, &entry);
        buffer_clear(&entry.message);
        if (r >= 0)
                r = sd_journal_get_cursor(start, &cursor);
        if (r >= 0)
                r = journal_open_container(container_id, &journal);
        for (size_t i = 0; r >= 0 && i < resents->n && resents->list[i].place.before_us <= entry.time_us; i += n) {
                n = group_size(resents, i);
                r = skip_in_group(journal, &resents->list[i], n, entry.time_us, cursor);
        }
        return r;
}
