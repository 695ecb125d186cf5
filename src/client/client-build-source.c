/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is to be built: a directory, an archive or a Dockerfile on standard input, or what the daemon fetches. */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "berth/file.h"
#include "client-build-source.h"
#include "client.h"

#define DOCKERFILE_MAX (16u * 1024 * 1024)

void build_source_clear(BuildSource *source)
{
        dockerignore_free(source->context.ignore);
        free(source->directory);
        free(source->dockerfile);
        free(source->extra);
        if (source->secrets)
                explicit_bzero(source->secrets, strlen(source->secrets));
        free(source->secrets);
        buffer_clear(&source->head);
        client_named_clear(&source->named);
        client_keep_clear(&source->keep);
}

static bool is_archive(const Buffer *head)
{
        static const char *const magics[] = { "\x1f\x8b", "BZh", "\3757zXZ", "\x28\xb5\x2f\xfd" };

        for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
                if (head->size >= strlen(magics[i]) && memcmp(head->data, magics[i], strlen(magics[i])) == 0)
                        return true;
        return head->size >= 512 && memcmp(head->data + 257, "ustar", 5) == 0;
}

static int read_stdin(Buffer *text, size_t enough, Error *error)
{
        ssize_t n = 1;

        while (text->size < enough && (n = buffer_read(text, STDIN_FILENO, 65536)) > 0)
                ;
        if (n < 0)
                return error_set(error, OUTCOME_FAILED, "cannot read standard input: %s", strerror((int) -n));
        return 0;
}

/* A name that no file of a context has. */
static char *hidden_name(void)
{
        char id[ID_LENGTH + 1];

        client_must_zero(id_generate(id));
        return client_must(str_printf(".dockerfile.%.20s", id));
}

static int take_stdin_dockerfile(BuildSource *source, Error *error)
{
        int r = read_stdin(&source->head, DOCKERFILE_MAX, error);

        if (r != 0)
                return r;
        source->extra = client_must(strndup(source->head.data ?: "", source->head.size));
        source->head.size = 0;
        return 0;
}

/* The Dockerfile's name within the context, or its content where it lies elsewhere. */
static int find_dockerfile(BuildSource *source, const char *path, Error *error)
{
        CLEANUP_FREE char *root = realpath(source->directory, NULL), *real = NULL;
        CLEANUP_FREE char *given = client_must(*path ? strdup(path) : path_join(source->directory, "Dockerfile"));
        size_t length = root ? strlen(root) : 0;
        int r;

        real = realpath(given, NULL);
        if (!real && !*path) { /* the daemon looks for other spellings and says what is missing */
                source->dockerfile = client_must(strdup("Dockerfile"));
                return 0;
        }
        if (!real)
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "unable to evaluate symlinks in Dockerfile path: lstat %s: %s", given,
                                 errno == ENOENT ? "no such file or directory" : strerror(errno));
        if (root && strncmp(real, root, length) == 0 && real[length] == '/') {
                source->dockerfile = client_must(strdup(real + length + 1));
                return 0;
        }
        source->dockerfile = hidden_name();
        r = file_read_at(AT_FDCWD, real, DOCKERFILE_MAX, &source->extra, NULL);
        return r < 0 ? error_set(error, OUTCOME_BAD_REQUEST, "cannot read %s: %s", given, strerror(-r)) : 0;
}

static int open_directory(BuildSource *source, const char *path, const char *file, Error *error)
{
        struct stat st;
        int r;

        if (stat(path, &st) < 0)
                return error_set(error, OUTCOME_BAD_REQUEST, "unable to prepare context: path \"%s\" not found", path);
        if (!S_ISDIR(st.st_mode))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "unable to prepare context: context must be a directory: %s", path);
        source->directory = client_must(strdup(path));
        if (strcmp(file, "-") == 0) {
                source->dockerfile = hidden_name();
                r = take_stdin_dockerfile(source, error);
        } else
                r = find_dockerfile(source, file, error);
        return r == 0 ? client_context_ignore(path, source->extra ? "" : source->dockerfile, &source->context.ignore,
                                              error)
                      : r;
}

int build_source_find(BuildSource *source, const char *word, const char *file, Error *error)
{
        int r = 0;

        if (strstr(word, "://") || str_after_prefix(word, "git@") || str_after_prefix(word, "github.com/")) {
                source->remote = word;
                source->dockerfile = client_must(strdup(file));
        } else if (strcmp(word, "-") == 0) {
                if (strcmp(file, "-") == 0)
                        return error_set(error, OUTCOME_BAD_REQUEST,
                                         "invalid argument: can't use stdin for both build context and dockerfile");
                r = read_stdin(&source->head, 512, error);
                source->archive = is_archive(&source->head);
                source->dockerfile = client_must(strdup(source->archive ? file : "Dockerfile"));
                if (r == 0 && !source->archive)
                        r = take_stdin_dockerfile(source, error);
        } else
                r = open_directory(source, word, file, error);
        source->context.directory = source->directory;
        source->context.dockerfile = source->dockerfile;
        source->context.extra = source->extra;
        return r;
}

int build_source_add_named(BuildSource *source, char *const *texts, Error *error)
{
        int r = client_named_parse(texts, &source->named, error);

        if (r == 0 && source->named.count > 0 && (source->archive || source->remote))
                return error_set(error, OUTCOME_BAD_REQUEST,
                                 "a directory as a named context goes with a context that is a directory, not with %s",
                                 source->remote ?: "an archive");
        source->context.named = source->named.list;
        source->context.n_named = source->named.count;
        return r;
}

/* What could not be read to its end must not pass for a whole archive. */
_Noreturn void build_source_send(const BuildSource *source, int fd)
{
        CLEANUP_ERROR Error error = {};
        char piece[65536];
        int r = 0;

        if (!source->archive)
                r = client_context_send(&source->context, fd, &error);
        else {
                ssize_t n;
                r = fd_write_all(fd, source->head.data, source->head.size);
                while (r >= 0 && (n = read(STDIN_FILENO, piece, sizeof(piece))) > 0)
                        r = fd_write_all(fd, piece, (size_t) n);
        }
        if (error.message) {
                client_complain("%s", error.message);
                memset(piece, 0xff, 1024);
                (void) fd_write_all(fd, piece, 1024);
        }
        _exit(r != 0);
}

void build_source_find_kept(Client *client, const ClientArguments *arguments, BuildSource *source)
{
        if (!source->directory || source->named.count > 0 || client_flag(arguments, "no-cache"))
                return;
        client_keep_open(client, source->directory, source->extra ? "" : source->dockerfile, &source->keep);
        if (source->keep.path)
                source->context.keep = &source->keep;
}
