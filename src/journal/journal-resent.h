/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records that a monitor sent twice.
 *
 * When journald is killed, the one record it was working on may or may not be stored. The monitor sends it again,
 * marked, together with its place: it was the INDEXth of COUNT records sent between two moments. If COUNT first copies
 * from between these are in the journal, the second is a repetition and is passed over; if one is missing, the second
 * copy is put in its place. Nearly always there is none, and finding that out is one look into the journal's index. */
#pragma once

#include "journal-entry.h"

typedef struct JournalResent {
        JournalPlace place;
        Buffer message;
        bool standard_error, partial;
        bool missing;  /* the first copy is not there, and this one was not shown yet */
        unsigned seen; /* first copies of its group that were passed */
} JournalResent;

typedef struct JournalResents {
        JournalResent *list; /* owned */
        size_t n;
} JournalResents;

void journal_resents_clear(JournalResents *resents);
#define CLEANUP_RESENTS CLEANUP(journal_resents_clear)

/* Finds all of a container's. */
int journal_resents_load(JournalResents *resents, const char *container_id);

/* Adds one that came while following, unless it is known. Returns its index or a negative errno. */
ssize_t journal_resents_add(JournalResents *resents, const char *container_id, const JournalEntry *entry);

/* The one that must be shown before ENTRY, a first copy, or NULL. To be called until it returns NULL, which is also
 * when ENTRY is counted. */
JournalResent *journal_resents_before(JournalResents *resents, const JournalEntry *entry);

/* Those sent before a moment will not be shown. */
void journal_resents_skip(JournalResents *resents, int64_t time_us);
