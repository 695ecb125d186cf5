/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One journal entry as the reader of logs sees it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-journal.h>

#include "berth/buffer.h"

/* Where a record that the monitor sent a second time belongs, see journal-resent.h. */
typedef struct JournalPlace {
        int64_t before_us, after_us;
        unsigned index, count;
} JournalPlace;

typedef struct JournalEntry {
        Buffer message;
        int64_t time_us; /* when it was sent */
        bool standard_error;
        bool partial;
        bool resent;
        JournalPlace place; /* of a resent one */
} JournalEntry;

/* Reads the current entry. The message's memory is used again. */
int journal_entry_read(sd_journal *journal, JournalEntry *entry);

/* Opens the journal at the records of one container, with all of their data. */
int journal_open_container(const char *container_id, sd_journal **ret_journal);

DEFINE_CLEANUP(cleanup_sd_journal_ptr, sd_journal *, sd_journal_close)
#define CLEANUP_JOURNAL CLEANUP(cleanup_sd_journal_ptr)
