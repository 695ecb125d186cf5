/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records that a monitor sent twice.
 *
 * When journald is killed, the one record it was working on may or may not be stored. The monitor sends it again,
 * marked, together with its place: it was the INDEXth of COUNT records sent between two moments, its group. When
 * journald is killed again before that is settled, the monitor sends again all that were under way.
 *
 * If COUNT first copies of a group are in the journal, the second copies are repetitions and are passed over. If there
 * are fewer, the first copies, which are stored in the order in which they were sent, are dealt out to the indices:
 *     an index that was sent once has the next first copy;
 *     one that was sent again has it if that has the same text and stream, and if more first copies are left than the
 *     indices behind it that were sent once need;
 *     else its first copy is missing, and the second copy is put in its place.
 * So with one record sent again in its group the number alone decides, also amid lines that are all the same. Nearly
 * always there is none, and finding that out is one look into the journal's index. */
#pragma once

#include "journal-entry.h"

typedef struct JournalResent {
        JournalPlace place;
        Buffer message;
        bool standard_error, partial;
        bool undecided;     /* it came after the first copies were dealt out */
        bool missing;       /* the first copy is not there */
        bool shown;         /* this copy was */
        bool skipped;       /* it lies before what is shown */
        unsigned preceding; /* first copies of its group that lie before it */
        unsigned seen;      /* those that were passed */
} JournalResent;

typedef struct JournalResents {
        JournalResent *list; /* owned; in the order in which the first copies were sent */
        size_t n;
        size_t first;   /* none before this is waiting to be shown */
        bool undecided; /* some of them are */
} JournalResents;

void journal_resents_clear(JournalResents *resents);
#define CLEANUP_RESENTS CLEANUP(journal_resents_clear)

/* Finds all of a container's. */
int journal_resents_load(JournalResents *resents, const char *container_id);

/* Adds one that came while following, unless it is known. More of its group may be on their way. */
int journal_resents_add(JournalResents *resents, const JournalEntry *entry);

/* Finds out which of those added are missing. One that was shown already may be what is missing of several with the
 * same text. */
int journal_resents_decide(JournalResents *resents, const char *container_id);

/* The one that must be shown before ENTRY, a first copy, or NULL. To be called until it returns NULL, which is also
 * when ENTRY is counted. Without an entry: any that was not shown. */
JournalResent *journal_resents_before(JournalResents *resents, const JournalEntry *entry);

/* What lies before the entry, a first copy, at which START stands will not be shown. */
int journal_resents_skip(JournalResents *resents, const char *container_id, sd_journal *start);
