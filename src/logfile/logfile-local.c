/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The format of the driver local: protocol buffers of Docker's message LogEntry between their lengths,
 *
 *     1 source (string), 2 time_nano (varint), 3 line (bytes), 4 partial (varint),
 *     5 partial_log_metadata { 1 last (varint), 2 id (string), 3 ordinal (varint) }
 *
 * The length behind a record leads back from the end of a file, and both together tell a record from anything else. */
#include <endian.h>
#include <string.h>

#include "berth/string.h"
#include "logfile-local.h"

#define LENGTH_SIZE sizeof(uint32_t)
/* Every record begins with its source, which begins like this: the field, the length, and the word. */
#define BEGIN "\x0a\x06std"
#define BEGIN_SIZE (sizeof(BEGIN) - 1)

enum {
        TYPE_VARINT = 0,
        TYPE_BYTES = 2,
};

#define KEY(field, type) ((field) << 3 | (type))

/* --- Writing ------------------------------------------------------------------------------------------------------ */

static char *put_varint(char *out, uint64_t value)
{
        for (; value >= 0x80; value >>= 7)
                *out++ = (char) (value | 0x80);
        *out++ = (char) value;
        return out;
}

static char *put_bytes(char *out, unsigned field, const char *data, size_t size)
{
        out = put_varint(out, KEY(field, TYPE_BYTES));
        out = put_varint(out, size);
        memcpy(out, data, size);
        return out + size;
}

static char *put_number(char *out, unsigned field, uint64_t value)
{
        return put_varint(put_varint(out, KEY(field, TYPE_VARINT)), value);
}

static char *put_piece(char *out, const LogfileRecord *record)
{
        char piece[128], *end = piece;

        if (record->ended)
                end = put_number(end, 1, 1);
        if (record->line_id)
                end = put_bytes(end, 2, record->line_id, strnlen(record->line_id, ID_LENGTH));
        end = put_number(end, 3, record->ordinal);
        return put_bytes(put_number(out, 4, 1), 5, piece, (size_t) (end - piece));
}

char *logfile_local_put(char *out, const LogfileRecord *record)
{
        char *start = out + LENGTH_SIZE, *end;
        uint32_t length;

        end = put_bytes(start, 1, record->standard_error ? "stderr" : "stdout", 6);
        end = put_number(end, 2, (uint64_t) record->time_ns);
        if (record->size > 0)
                end = put_bytes(end, 3, record->data, record->size);
        if (record->ordinal > 0)
                end = put_piece(end, record);
        length = htobe32((uint32_t) (end - start));
        memcpy(out, &length, LENGTH_SIZE);
        memcpy(end, &length, LENGTH_SIZE);
        return end + LENGTH_SIZE;
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

typedef struct Field {
        unsigned number;
        unsigned type;
        uint64_t value; /* of a number; of bytes, how many */
        const char *data;
} Field;

static bool take_varint(const char **at, const char *end, uint64_t *ret)
{
        uint64_t value = 0;

        for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
                unsigned char c = (unsigned char) *(*at)++;

                value |= (uint64_t) (c & 0x7f) << shift;
                if (c < 0x80) {
                        *ret = value;
                        return true;
                }
        }
        return false;
}

static bool take_field(const char **at, const char *end, Field *ret)
{
        uint64_t key;

        if (!take_varint(at, end, &key) || key >> 3 == 0 || key >> 3 > 1000)
                return false;
        ret->number = (unsigned) (key >> 3);
        ret->type = key & 7;
        if ((ret->type != TYPE_VARINT && ret->type != TYPE_BYTES) || !take_varint(at, end, &ret->value))
                return false;
        ret->data = *at;
        if (ret->type == TYPE_VARINT)
                return true;
        if (ret->value > (size_t) (end - *at))
                return false;
        *at += ret->value;
        return true;
}

/* Of a piece, whether it is its line's last. */
static bool read_piece(const Field *piece, bool *ret_last)
{
        const char *at = piece->data, *end = at + piece->value;
        Field field;

        *ret_last = false;
        while (at < end) {
                if (!take_field(&at, end, &field))
                        return false;
                if (field.number == 1 && field.type == TYPE_VARINT)
                        *ret_last = field.value != 0;
        }
        return true;
}

static bool is_source(const Field *field, const char *name)
{
        return field->type == TYPE_BYTES && field->value == strlen(name) &&
               memcmp(field->data, name, field->value) == 0;
}

int logfile_local_decode(const char *data, size_t size, LogfileRecord *record)
{
        const char *at = data, *end = data + size;
        bool partial = false, last = false, source = false;
        Field field;

        while (at < end) {
                if (!take_field(&at, end, &field))
                        return -EBADMSG;
                if (field.number == 1) {
                        record->standard_error = is_source(&field, "stderr");
                        source = record->standard_error || is_source(&field, "stdout");
                } else if (field.number == 2 && field.type == TYPE_VARINT) {
                        record->time_ns = (int64_t) field.value;
                } else if (field.number == 3 && field.type == TYPE_BYTES) {
                        record->data = field.data;
                        record->size = field.value;
                } else if (field.number == 4 && field.type == TYPE_VARINT) {
                        partial = field.value != 0;
                } else if (field.number == 5 && (field.type != TYPE_BYTES || !read_piece(&field, &last))) {
                        return -EBADMSG;
                }
        }
        if (!source || record->time_ns < 0)
                return -EBADMSG;
        if (!record->data)
                record->data = data;
        record->ended = !partial || last;
        return 0;
}

static uint32_t get_length(const char *data)
{
        uint32_t length;

        memcpy(&length, data, LENGTH_SIZE);
        return be32toh(length);
}

bool logfile_local_length(const char bytes[static LOGFILE_LOCAL_LENGTH], uint32_t *ret)
{
        *ret = get_length(bytes);
        return *ret > BEGIN_SIZE && *ret <= LOGFILE_LOCAL_MAX;
}

bool logfile_local_find(const char *data, size_t size, size_t *ret_start, size_t *ret_size, size_t *ret_next)
{
        size_t at = 0;

        for (; size - at >= LENGTH_SIZE; at++) {
                size_t left = size - at - LENGTH_SIZE;
                const char *record = data + at + LENGTH_SIZE;
                uint32_t length;

                if (!logfile_local_length(data + at, &length) || memcmp(record, BEGIN, MIN(left, BEGIN_SIZE)) != 0)
                        continue;
                if (left < length + LENGTH_SIZE)
                        break;
                if (get_length(record + length) != length)
                        continue;
                *ret_start = at + LENGTH_SIZE;
                *ret_size = length;
                *ret_next = at + length + 2 * LENGTH_SIZE;
                return true;
        }
        *ret_next = at;
        return false;
}
