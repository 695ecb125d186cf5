/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading one record. The JSON is anybody's: members in any order, further ones, any white space. */
#include <string.h>

#include "berth/string.h"
#include "logfile-local.h"

#define DEPTH_MAX 32

typedef struct Cursor {
        const char *at, *end;
} Cursor;

/* A string as it is written, without its quotes. */
typedef struct Slice {
        const char *data;
        size_t size;
} Slice;

static void skip_space(Cursor *cursor)
{
        while (cursor->at < cursor->end && strchr(" \t\r\n", *cursor->at) && *cursor->at)
                cursor->at++;
}

static bool take(Cursor *cursor, char c)
{
        skip_space(cursor);
        if (cursor->at == cursor->end || *cursor->at != c)
                return false;
        cursor->at++;
        return true;
}

static bool take_string(Cursor *cursor, Slice *ret)
{
        const char *start, *p;

        if (!take(cursor, '"'))
                return false;
        start = p = cursor->at;
        for (;;) {
                while (p < cursor->end && *p != '"' && *p != '\\')
                        p++;
                if (p >= cursor->end)
                        return false;
                if (*p == '"')
                        break;
                if (cursor->end - p < 2)
                        return false;
                p += 2;
        }
        *ret = (Slice) { start, (size_t) (p - start) };
        cursor->at = p + 1;
        return true;
}

/* Any value, passed over by its brackets and strings alone. */
static bool skip_value(Cursor *cursor)
{
        unsigned depth = 0;
        Slice slice;

        do {
                skip_space(cursor);
                if (cursor->at == cursor->end)
                        return false;
                switch (*cursor->at) {
                case '"':
                        if (!take_string(cursor, &slice))
                                return false;
                        break;
                case '{':
                case '[':
                        if (++depth > DEPTH_MAX)
                                return false;
                        cursor->at++;
                        break;
                case '}':
                case ']':
                        if (depth-- == 0)
                                return false;
                        cursor->at++;
                        break;
                case ',':
                case ':':
                        if (depth == 0)
                                return false;
                        cursor->at++;
                        break;
                default:
                        cursor->at++;
                        while (cursor->at < cursor->end && !strchr(" \t\r\n,:\"{}[]", *cursor->at))
                                cursor->at++;
                }
        } while (depth > 0);
        return true;
}

static int hex4(const char *data, size_t size)
{
        int value = 0;

        if (size < 4)
                return -1;
        for (size_t i = 0; i < 4; i++) {
                char c = data[i];
                int digit = c >= '0' && c <= '9'                     ? c - '0'
                            : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                                     : -1;

                if (digit < 0)
                        return -1;
                value = value * 16 + digit;
        }
        return value;
}

static char *put_character(char *out, unsigned c)
{
        if (c < 0x80) {
                *out++ = (char) c;
        } else if (c < 0x800) {
                *out++ = (char) (0xc0 | c >> 6);
                *out++ = (char) (0x80 | (c & 0x3f));
        } else if (c < 0x10000) {
                *out++ = (char) (0xe0 | c >> 12);
                *out++ = (char) (0x80 | (c >> 6 & 0x3f));
                *out++ = (char) (0x80 | (c & 0x3f));
        } else {
                *out++ = (char) (0xf0 | c >> 18);
                *out++ = (char) (0x80 | (c >> 12 & 0x3f));
                *out++ = (char) (0x80 | (c >> 6 & 0x3f));
                *out++ = (char) (0x80 | (c & 0x3f));
        }
        return out;
}

/* \uXXXX at the digits, a pair of them where it takes two. How much was used, or 0. */
static size_t unescape_unicode(const char *data, size_t size, char **out)
{
        int c = hex4(data, size), second = -1;
        size_t used = 4;

        if (c < 0)
                return 0;
        if (c >= 0xd800 && c < 0xdc00 && size >= 10 && data[4] == '\\' && data[5] == 'u')
                second = hex4(data + 6, size - 6);
        if (second >= 0xdc00 && second < 0xe000) {
                c = 0x10000 + ((c - 0xd800) << 10) + (second - 0xdc00);
                used = 10;
        } else if (c >= 0xd800 && c < 0xe000) {
                c = 0xfffd;
        }
        *out = put_character(*out, (unsigned) c);
        return used;
}

/* What is written is never longer than how it was written. */
static int unescape(const Slice *slice, Buffer *text)
{
        static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
        const char *p = slice->data, *end = p + slice->size, *found;
        char *out;
        int r;

        text->size = 0;
        r = buffer_reserve(text, slice->size);
        if (r < 0)
                return r;
        out = text->data;
        while (p < end) {
                const char *escape = memchr(p, '\\', (size_t) (end - p));
                size_t run = (size_t) ((escape ? escape : end) - p);

                memcpy(out, p, run);
                out += run;
                p += run;
                if (!escape)
                        break;
                p++;
                found = *p ? strchr(plain, *p) : NULL;
                p++;
                if (found) {
                        *out++ = meant[found - plain];
                        continue;
                }
                run = p[-1] == 'u' ? unescape_unicode(p, (size_t) (end - p), &out) : 0;
                if (run == 0)
                        return -EBADMSG;
                p += run;
        }
        text->size = (size_t) (out - text->data);
        text->data[text->size] = '\0';
        return 0;
}

/* True when the string ends with an escaped newline: an even number of backslashes before it would be text. */
static bool ends_line(const Slice *slice)
{
        size_t n = 0;

        if (slice->size < 2 || slice->data[slice->size - 1] != 'n')
                return false;
        while (n < slice->size - 1 && slice->data[slice->size - 2 - n] == '\\')
                n++;
        return n % 2 == 1;
}

static int read_time(const Slice *slice, int64_t *ret_ns)
{
        char text[64];

        if (slice->size >= sizeof(text))
                return -EBADMSG;
        memcpy(text, slice->data, slice->size);
        text[slice->size] = '\0';
        return time_parse_rfc3339(text, ret_ns) < 0 ? -EBADMSG : 0;
}

static bool slice_is(const Slice *slice, const char *text)
{
        return slice->size == strlen(text) && memcmp(slice->data, text, slice->size) == 0;
}

/* One member of the object, whose name was read. */
static int take_member(Cursor *cursor, const Slice *name, Slice *log, LogfileRecord *record)
{
        const char *start;
        Slice value;

        if (slice_is(name, "log"))
                return take_string(cursor, log) ? 0 : -EBADMSG;
        if (slice_is(name, "stream")) {
                if (!take_string(cursor, &value))
                        return -EBADMSG;
                record->standard_error = slice_is(&value, "stderr");
                return 0;
        }
        if (slice_is(name, "time"))
                return take_string(cursor, &value) ? read_time(&value, &record->time_ns) : -EBADMSG;
        skip_space(cursor);
        start = cursor->at;
        if (!skip_value(cursor))
                return -EBADMSG;
        if (slice_is(name, "attrs") && *start == '{') {
                record->attributes = start;
                record->attributes_size = (size_t) (cursor->at - start);
        }
        return 0;
}

static int decode_json(const char *line, size_t size, Buffer *text, LogfileRecord *record)
{
        Cursor cursor = { line, line + size };
        Slice name, log = { "", 0 };
        int r;

        if (!take(&cursor, '{'))
                return -EBADMSG;
        do {
                if (!take_string(&cursor, &name) || !take(&cursor, ':'))
                        return -EBADMSG;
                r = take_member(&cursor, &name, &log, record);
                if (r < 0)
                        return r;
        } while (take(&cursor, ','));
        if (!take(&cursor, '}'))
                return -EBADMSG;
        skip_space(&cursor);
        if (cursor.at != cursor.end)
                return -EBADMSG;
        record->ended = ends_line(&log);
        if (record->ended)
                log.size -= 2;
        if (text) {
                r = unescape(&log, text);
                if (r < 0)
                        return r;
                log = (Slice) { text->data, text->size };
        }
        record->data = log.data;
        record->size = log.size;
        return 0;
}

int logfile_decode(LogfileFormat format, const char *line, size_t size, Buffer *text, LogfileRecord *ret_record)
{
        LogfileRecord record = {};
        int r = format == LOGFILE_JSON ? decode_json(line, size, text, &record)
                                       : logfile_local_decode(line, size, &record);

        if (r >= 0)
                *ret_record = record;
        return r;
}

bool logfile_find(LogfileFormat format, const char *data, size_t size, size_t *ret_start, size_t *ret_size,
                  size_t *ret_next)
{
        const char *end;

        if (format == LOGFILE_LOCAL)
                return logfile_local_find(data, size, ret_start, ret_size, ret_next);
        end = size > 0 ? memchr(data, '\n', size) : NULL;
        *ret_next = end ? (size_t) (end - data) + 1 : 0;
        if (!end)
                return false;
        *ret_start = 0;
        *ret_size = (size_t) (end - data);
        return true;
}
