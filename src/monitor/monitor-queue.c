/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See monitor-queue.h. Offsets are multiples of eight, so that a record can be used where it lies. */
#include <endian.h>
#include <errno.h>
#include <malloc.h>
#include <string.h>

#include "berth/cleanup.h"
#include "monitor-queue.h"

#define QUEUE_INITIAL 4096u
/* What an idle queue may keep. */
#define QUEUE_IDLE (8u * 1024)

static size_t record_size(const MonitorRecord *record)
{
        size_t message = record->memfd >= 0 ? 0 : sizeof(uint64_t) + record->size + 1;

        return (sizeof(MonitorRecord) + message + 7) & ~(size_t) 7;
}

void monitor_queue_clear(MonitorQueue *queue)
{
        while (queue->head < queue->tail) {
                queue->sent = MAX(queue->sent, monitor_queue_next(queue, queue->head));
                monitor_queue_drop_head(queue);
        }
        free(queue->data);
        *queue = (MonitorQueue) {};
}

size_t monitor_queue_next(const MonitorQueue *queue, size_t offset)
{
        return offset + record_size(monitor_queue_at(queue, offset));
}

const char *monitor_queue_message(const MonitorQueue *queue, size_t offset, size_t *ret_size)
{
        *ret_size = sizeof(uint64_t) + monitor_queue_at(queue, offset)->size + 1;
        return queue->data + offset + sizeof(MonitorRecord);
}

/* Makes room for SIZE bytes at the end: by moving the records to the front, or by growing. The queue counts as full
 * when three quarters of its greatest size are in use, so that records are not moved again for every record that comes.
 */
static int make_room(MonitorQueue *queue, size_t size)
{
        size_t used = queue->tail - queue->head, capacity = MAX(queue->capacity, QUEUE_INITIAL);
        char *data;

        if (queue->tail + size <= queue->capacity)
                return 0;
        if (used > 0 && used + size > MONITOR_QUEUE_MAX / 4 * 3)
                return -ENOBUFS;
        while (capacity < MONITOR_QUEUE_MAX && used + size > capacity / 2)
                capacity *= 2;
        if (capacity == queue->capacity) {
                memmove(queue->data, queue->data + queue->head, used);
        } else {
                data = malloc(capacity);
                if (!data)
                        return -ENOMEM;
                if (used > 0)
                        memcpy(data, queue->data + queue->head, used);
                free(queue->data);
                queue->data = data;
                queue->capacity = capacity;
        }
        queue->tail -= queue->head;
        queue->sent -= queue->head;
        queue->head = 0;
        return 0;
}

int monitor_queue_append(MonitorQueue *queue, const MonitorRecord *record, const char *message)
{
        size_t size = record_size(record);
        uint64_t length = htole64(record->size);
        char *p;
        int r;

        if (record->memfd >= 0 && queue->n_files >= MONITOR_QUEUE_FILES_MAX)
                return -ENOBUFS;
        r = make_room(queue, size);
        if (r < 0)
                return r;
        p = queue->data + queue->tail;
        memcpy(p, record, sizeof(*record));
        if (record->memfd < 0) {
                p += sizeof(*record);
                memcpy(p, &length, sizeof(length));
                if (record->size > 0)
                        memcpy(p + sizeof(length), message, record->size);
                p[sizeof(length) + record->size] = '\n';
        } else {
                queue->n_files++;
        }
        queue->tail += size;
        return 0;
}

static void give_back_if_empty(MonitorQueue *queue)
{
        if (queue->head < queue->tail)
                return;
        queue->head = queue->sent = queue->tail = 0;
        if (queue->capacity > QUEUE_IDLE) {
                free(queue->data);
                queue->data = NULL;
                queue->capacity = 0;
                (void) malloc_trim(0);
        }
}

/* Where that is not possible it stays as it is. */
static void shrink(MonitorQueue *queue)
{
        size_t used = queue->tail - queue->head, capacity = QUEUE_INITIAL;
        char *data;

        while (capacity < 2 * used)
                capacity *= 2;
        data = queue->capacity > capacity ? malloc(capacity) : NULL;
        if (!data)
                return;
        memcpy(data, queue->data + queue->head, used);
        free(queue->data);
        queue->data = data;
        queue->capacity = capacity;
        queue->tail = queue->sent = used;
        queue->head = 0;
        (void) malloc_trim(0);
}

void monitor_queue_cut(MonitorQueue *queue)
{
        for (size_t at = queue->sent; at < queue->tail; at = monitor_queue_next(queue, at)) {
                MonitorRecord *record = monitor_queue_at(queue, at);

                if (record->memfd < 0)
                        continue;
                fd_close(record->memfd);
                queue->n_files--;
        }
        queue->tail = queue->sent;
        give_back_if_empty(queue);
        shrink(queue);
}

void monitor_queue_drop_head(MonitorQueue *queue)
{
        size_t next = monitor_queue_next(queue, queue->head);

        if (monitor_queue_at(queue, queue->head)->memfd >= 0) {
                fd_close(monitor_queue_at(queue, queue->head)->memfd);
                queue->n_files--;
        }
        queue->head = next;
        give_back_if_empty(queue);
}
