/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "berth/file.h"
#include "berth/string.h"

#define SEND_FDS_MAX 250

int socket_send_fds(int socket, const void *data, size_t size, const int *fds, size_t n_fds)
{
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int) * SEND_FDS_MAX)];
        } control = { 0 };
        struct iovec iov = { .iov_base = (void *) data, .iov_len = size };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (n_fds > SEND_FDS_MAX)
                return -E2BIG;
        if (n_fds > 0) {
                message.msg_control = control.bytes;
                message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
                struct cmsghdr *header = &control.header; /* what CMSG_FIRSTHDR() gives */
                header->cmsg_level = SOL_SOCKET;
                header->cmsg_type = SCM_RIGHTS;
                header->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
                memcpy(CMSG_DATA(header), fds, sizeof(int) * n_fds);
        }
        for (;;) {
                ssize_t n = sendmsg(socket, &message, MSG_NOSIGNAL);
                if (n >= 0)
                        return (size_t) n == size ? 0 : -EMSGSIZE;
                if (errno != EINTR)
                        return -errno;
        }
}

ssize_t socket_recv_fds(int socket, void *data, size_t size, int *ret_fds, size_t *n_fds)
{
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int) * SEND_FDS_MAX)];
        } control = { 0 };
        struct iovec iov = { .iov_base = data, .iov_len = size };
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
        };
        size_t room = *n_fds, used = 0;
        ssize_t n;

        do
                n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;

        for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
                if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
                        continue;
                size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < count; i++) {
                        int fd;
                        memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
                        if (used < room)
                                ret_fds[used++] = fd;
                        else
                                fd_close(fd);
                }
        }
        *n_fds = used;
        return n;
}

int socket_pair(int type, int ret_fds[static 2])
{
        return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ret_fds) < 0 ? -errno : 0;
}

/* sun_path holds 107 bytes; a longer path is reached through a descriptor of its directory, which *ret_dir keeps. */
static int make_address(const char *path, struct sockaddr_un *ret, int *ret_dir)
{
        *ret = (struct sockaddr_un) { .sun_family = AF_UNIX };
        if (strlen(path) < sizeof(ret->sun_path)) {
                strcpy(ret->sun_path, path);
                return 0;
        }

        const char *slash = strrchr(path, '/');
        if (!slash)
                return -ENAMETOOLONG;
        CLEANUP_FREE char *parent = strndup(path, (size_t) (slash - path));
        if (!parent)
                return -ENOMEM;
        CLEANUP_CLOSE int fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if ((size_t) snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d%s", fd, slash) >=
            sizeof(ret->sun_path))
                return -ENAMETOOLONG;
        *ret_dir = TAKE_FD(fd);
        return 0;
}

/* A socket of TYPE and the address of PATH, for as long as *ret_dir is open. */
static int open_socket(const char *path, int type, struct sockaddr_un *ret_address, int *ret_dir)
{
        int r = make_address(path, ret_address, ret_dir);
        if (r < 0)
                return r;

        int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
        return fd < 0 ? -errno : fd;
}

int socket_listen_unix(const char *path, int type, mode_t mode)
{
        CLEANUP_CLOSE int directory = -EBADF;
        struct sockaddr_un address;
        CLEANUP_CLOSE int fd = open_socket(path, type, &address, &directory);

        if (fd < 0)
                return fd;
        if (unlink(path) < 0 && errno != ENOENT)
                return -errno;
        /* fchmod() before bind(2) gives the socket file its mode from the first moment on. */
        if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        if (chmod(path, mode) < 0 || listen(fd, SOMAXCONN) < 0)
                return -errno;
        return TAKE_FD(fd);
}

int socket_connect_unix(const char *path, int type)
{
        CLEANUP_CLOSE int directory = -EBADF;
        struct sockaddr_un address;
        CLEANUP_CLOSE int fd = open_socket(path, type, &address, &directory);
        int r;

        if (fd < 0)
                return fd;
        do
                r = connect(fd, (struct sockaddr *) &address, sizeof(address));
        while (r < 0 && errno == EINTR);
        return r < 0 ? -errno : TAKE_FD(fd);
}
