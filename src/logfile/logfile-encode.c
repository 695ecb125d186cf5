/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making records. JSON text is escaped as Docker Engine does it, byte for byte: tools compare. */
#include <string.h>
#include <time.h>

#include "berth/logfile.h"
#include "logfile-local.h"
#include "logfile-utf8.h"

/* One byte of text can take so many in JSON. */
#define ESCAPED_MAX 6
/* The names, the stream and the time around the text. */
#define FRAME_SIZE MAX(160, LOGFILE_LOCAL_FRAME)

static const char digits[] = "0123456789abcdef";

/* The character at DATA: its length, or 0 where it is none. */
size_t logfile_utf8_length(const unsigned char *data, size_t size)
{
        /* The second byte has a narrower range behind some of the first ones. */
        unsigned char first = data[0], low = 0x80, high = 0xbf;
        size_t length = first < 0x80   ? 1
                        : first < 0xc2 ? 0
                        : first < 0xe0 ? 2
                        : first < 0xf0 ? 3
                        : first < 0xf5 ? 4
                                       : 0;

        if (length <= 1 || size < length)
                return length <= 1 ? length : 0;
        if (first == 0xe0)
                low = 0xa0;
        else if (first == 0xed)
                high = 0x9f;
        else if (first == 0xf0)
                low = 0x90;
        else if (first == 0xf4)
                high = 0x8f;
        if (data[1] < low || data[1] > high)
                return 0;
        for (size_t i = 2; i < length; i++)
                if ((data[i] & 0xc0) != 0x80)
                        return 0;
        return length;
}

static char *put(char *out, const char *text)
{
        return stpcpy(out, text);
}

static char *put_escaped(char *out, unsigned char c)
{
        switch (c) {
        case '\n':
                return put(out, "\\n");
        case '\r':
                return put(out, "\\r");
        case '"':
        case '\\':
                *out++ = '\\';
                *out++ = (char) c;
                return out;
        default:
                out = put(out, "\\u00");
                *out++ = digits[c >> 4];
                *out++ = digits[c & 15];
                return out;
        }
}

static bool is_plain(unsigned char c)
{
        return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

static char *put_text(char *out, const char *text, size_t size)
{
        const unsigned char *data = (const unsigned char *) text;

        for (size_t i = 0; i < size;) {
                size_t run = 0, length;

                while (i + run < size && is_plain(data[i + run]))
                        run++;
                memcpy(out, data + i, run);
                out += run;
                i += run;
                if (i == size)
                        break;
                length = logfile_utf8_length(data + i, size - i);
                if (length == 1) {
                        out = put_escaped(out, data[i]);
                } else if (length == 0) {
                        out = put(out, "\\ufffd");
                        length = 1;
                } else if (length == 3 && data[i] == 0xe2 && data[i + 1] == 0x80 && (data[i + 2] | 1) == 0xa9) {
                        /* The separators that are no part of JavaScript's strings. */
                        out = put(out, data[i + 2] == 0xa8 ? "\\u2028" : "\\u2029");
                } else {
                        memcpy(out, data + i, length);
                        out += length;
                }
                i += length;
        }
        return out;
}

/* RFC 3339 without trailing zeros. */
static char *put_time(LogfileEncoder *encoder, char *out, int64_t time_ns)
{
        int64_t second = time_ns / 1000000000;
        unsigned rest = (unsigned) (time_ns % 1000000000);
        char fraction[9];
        size_t n = 9;

        if (second != encoder->second || encoder->stamp[0] == '\0') {
                time_t seconds = (time_t) second;
                struct tm tm;

                gmtime_r(&seconds, &tm);
                strftime(encoder->stamp, sizeof(encoder->stamp), "%Y-%m-%dT%H:%M:%S", &tm);
                encoder->second = second;
        }
        out = put(out, encoder->stamp);
        for (size_t i = 9; i-- > 0; rest /= 10)
                fraction[i] = digits[rest % 10];
        while (n > 0 && fraction[n - 1] == '0')
                n--;
        if (n > 0) {
                *out++ = '.';
                memcpy(out, fraction, n);
                out += n;
        }
        *out++ = 'Z';
        return out;
}

static char *put_json(LogfileEncoder *encoder, char *out, const LogfileRecord *record, size_t n_attributes)
{
        *out++ = '{';
        if (record->size > 0 || record->ended) {
                out = put(out, "\"log\":\"");
                out = put_text(out, record->data, record->size);
                out = put(out, record->ended ? "\\n\"," : "\",");
        }
        out = put(out, record->standard_error ? "\"stream\":\"stderr\"," : "\"stream\":\"stdout\",");
        if (n_attributes > 0) {
                out = put(out, "\"attrs\":");
                memcpy(out, encoder->attributes, n_attributes);
                out += n_attributes;
                *out++ = ',';
        }
        out = put(out, "\"time\":\"");
        out = put_time(encoder, out, record->time_ns);
        return put(out, "\"}\n");
}

int logfile_encode(LogfileEncoder *encoder, const LogfileRecord *record, Buffer *out)
{
        bool json = encoder->format == LOGFILE_JSON;
        size_t n_attributes = json && encoder->attributes ? strlen(encoder->attributes) : 0;
        int r = buffer_reserve(out, record->size * (json ? ESCAPED_MAX : 1) + n_attributes + FRAME_SIZE);
        char *end;

        if (r < 0)
                return r;
        end = json ? put_json(encoder, out->data + out->size, record, n_attributes)
                   : logfile_local_put(out->data + out->size, record);
        out->size = (size_t) (end - out->data);
        out->data[out->size] = '\0';
        return 0;
}

size_t logfile_piece(const char *data, size_t limit)
{
        /* The last character's first byte is one of the last four, if it is text at all. */
        for (size_t back = 1; back <= 3 && back < limit; back++) {
                unsigned char c = (unsigned char) data[limit - back];
                size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;

                if ((c & 0xc0) != 0x80)
                        return length > back ? limit - back : limit;
        }
        return limit;
}
