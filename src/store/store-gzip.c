/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The headers are read here: the library's reader of them fails where one with a checksum is spread over blocks.
 * The input's blocks are borrowed from the parent and used up before the next one is asked for; output goes through one
 * buffer, which is lent. A gzip file may have several members. What follows the last and does not look like another is
 * no part of the data, as with gzip(1): padding, mostly. */
#include "store-gzip.h"

#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <string.h>

#include "berth/cleanup.h"

#define GZIP_OUTPUT_SIZE (256u * 1024)
#define GZIP_MAGIC_0 0x1f
#define GZIP_MAGIC_1 0x8b
#define GZIP_DEFLATE 8
#define GZIP_HEADER_SIZE 10

/* The flags of a header. */
#define GZIP_HAS_CHECKSUM 0x02
#define GZIP_HAS_EXTRA 0x04
#define GZIP_HAS_NAME 0x08
#define GZIP_HAS_COMMENT 0x10
#define GZIP_RESERVED 0xe0

struct StoreGzip {
        struct inflate_state state;
        bool inside; /* a member, behind its header */
        bool ended;
        uint8_t output[GZIP_OUTPUT_SIZE];
};

int store_gzip_new(StoreGzip **ret)
{
        StoreGzip *gzip = malloc(sizeof(*gzip));

        if (!gzip)
                return -ENOMEM;
        gzip->inside = gzip->ended = false;
        isal_inflate_init(&gzip->state);
        *ret = gzip;
        return 0;
}

void store_gzip_free(StoreGzip *gzip)
{
        free(gzip);
}

/* 1 with input at hand, 0 at the parent's end. */
static int gzip_fill(StoreGzip *gzip, StoreStream *parent)
{
        const uint8_t *data;
        ssize_t n;

        if (gzip->state.avail_in > 0)
                return 1;
        n = store_stream_take(parent, INT32_MAX, &data);
        if (n <= 0)
                return (int) n;
        /* The library has no const, but only reads. */
        gzip->state.next_in = (uint8_t *) data;
        gzip->state.avail_in = (uint32_t) n;
        return 1;
}

/* One byte of a header, which counts for its checksum. */
static int header_byte(StoreGzip *gzip, StoreStream *parent, uint32_t *crc, uint8_t *ret)
{
        int r = gzip_fill(gzip, parent);

        if (r <= 0)
                return r < 0 ? r : -EBADMSG;
        *ret = *gzip->state.next_in++;
        gzip->state.avail_in--;
        *crc = crc32_gzip_refl(*crc, ret, 1);
        return 0;
}

static int header_skip(StoreGzip *gzip, StoreStream *parent, uint32_t *crc)
{
        uint8_t low, high;
        int r;

        r = header_byte(gzip, parent, crc, &low);
        if (r >= 0)
                r = header_byte(gzip, parent, crc, &high);
        for (unsigned left = r < 0 ? 0 : low | (unsigned) high << 8; r >= 0 && left > 0; left--)
                r = header_byte(gzip, parent, crc, &low);
        return r;
}

static int header_skip_string(StoreGzip *gzip, StoreStream *parent, uint32_t *crc)
{
        uint8_t byte;
        int r;

        do
                r = header_byte(gzip, parent, crc, &byte);
        while (r >= 0 && byte != 0);
        return r;
}

static int header_check(StoreGzip *gzip, StoreStream *parent, uint32_t crc)
{
        uint32_t want = crc & 0xffff;
        uint8_t low, high;
        int r;

        r = header_byte(gzip, parent, &crc, &low);
        if (r >= 0)
                r = header_byte(gzip, parent, &crc, &high);
        if (r >= 0 && (low | (uint32_t) high << 8) != want)
                r = -EBADMSG;
        return r;
}

/* RFC 1952, section 2.3. */
static int member_begin(StoreGzip *gzip, StoreStream *parent)
{
        uint8_t head[GZIP_HEADER_SIZE], flags;
        uint32_t crc = 0;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < sizeof(head); i++)
                r = header_byte(gzip, parent, &crc, &head[i]);
        if (r < 0)
                return r;
        flags = head[3];
        if (head[0] != GZIP_MAGIC_0 || head[1] != GZIP_MAGIC_1 || head[2] != GZIP_DEFLATE || (flags & GZIP_RESERVED))
                return -EBADMSG;
        if (flags & GZIP_HAS_EXTRA)
                r = header_skip(gzip, parent, &crc);
        if (r >= 0 && (flags & GZIP_HAS_NAME))
                r = header_skip_string(gzip, parent, &crc);
        if (r >= 0 && (flags & GZIP_HAS_COMMENT))
                r = header_skip_string(gzip, parent, &crc);
        if (r >= 0 && (flags & GZIP_HAS_CHECKSUM))
                r = header_check(gzip, parent, crc);
        if (r < 0)
                return r;
        isal_inflate_reset(&gzip->state);
        gzip->state.crc_flag = ISAL_GZIP_NO_HDR_VER;
        gzip->inside = true;
        return 0;
}

/* After a member's end: is there another one? */
static int gzip_look_on(StoreGzip *gzip, StoreStream *parent)
{
        int r = gzip_fill(gzip, parent);

        if (r < 0)
                return r;
        gzip->inside = false;
        gzip->ended = r == 0 || gzip->state.next_in[0] != GZIP_MAGIC_0 ||
                      (gzip->state.avail_in > 1 && gzip->state.next_in[1] != GZIP_MAGIC_1);
        return 0;
}

/* Inflates into the buffer. The number of bytes or negative errno. */
static ssize_t gzip_inflate(StoreGzip *gzip, StoreStream *parent)
{
        size_t size, given;
        int r;

        r = gzip_fill(gzip, parent);
        if (r < 0)
                return r;
        given = gzip->state.avail_in;
        gzip->state.next_out = gzip->output;
        gzip->state.avail_out = GZIP_OUTPUT_SIZE;
        if (isal_inflate(&gzip->state) < 0)
                return -EBADMSG;
        size = GZIP_OUTPUT_SIZE - gzip->state.avail_out;
        if (gzip->state.block_state == ISAL_BLOCK_FINISH)
                r = gzip_look_on(gzip, parent);
        else if (size == 0 && gzip->state.avail_in == given)
                r = -EBADMSG;
        return r < 0 ? r : (ssize_t) size;
}

ssize_t store_gzip_next(StoreGzip *gzip, StoreStream *parent, const uint8_t **ret)
{
        while (!gzip->ended) {
                ssize_t n = 0;

                if (!gzip->inside)
                        n = member_begin(gzip, parent);
                if (n >= 0)
                        n = gzip_inflate(gzip, parent);
                if (n == 0)
                        continue;
                *ret = gzip->output;
                return n;
        }
        return 0;
}
