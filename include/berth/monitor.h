/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The contract between the engine and berth-monitor, the guardian of one container or of one further process in it.
 *
 * Command line (every option takes one argument):
 *   --id ID --name NAME --image REFERENCE --tag TAG   what log records say of the container
 *   --run NUMBER          the start this is, copied into the exit record
 *   --directory PATH      the container's durable directory, where exit.json is written; of a further process, its own
 *   --notify PATH         the engine's API socket, told when the container has ended
 *   --listen FD           listening SOCK_SEQPACKET socket for the engine's requests
 *   --log-driver NAME     journald, none, or json-file or local, which are written to
 *   --log-path PATH       (include/berth/logfile.h), of which there may be
 *   --log-files NUMBER    files, a new one begun when it has reached
 *   --log-size BYTES      0: it grows; the older ones are compressed by
 *   --log-compress PATH   berth-compress, where that is given
 *   --log-drop 0|1        of the journal: what finds no room in the spool is dropped, and the container never waits
 *   --log-extra TEXT      what each record has beside its text: "attrs" of json-file; fields of the journal, each a
 * line
 *   --journal-socket PATH journald's native socket, for tests
 *   --spool PATH          where log records wait that journald does not take fast enough (include/berth/spool.h);
 * records that are there already go out first. Without it, output waits in the container's pipe
 *   --spool-size BYTES    how much may wait there, 256 MiB by default
 *   --resolver PATH       of a container with networks: what its name server knows, once it is to have one
 *   --stop-signal N --stop-timeout SECONDS            what the first process gets when systemd stops the scope, and
 * when it gets SIGKILL (without the option: never)
 *   --hold-scope FD       nothing else: holds a scope ready for a container to come, see runtime_spare_hold()
 *   --volatile-exit 0|1   the exit record need not outlive a power cut, as the container does not
 *   --stdin-once 0|1      close the container's standard input when the first client that attached it closes its side
 *   --pid N --pidfd FD --payload DIR                  the first process, its pidfd, its cgroup directory
 *   --terminal FD, or --stdin FD (optional) --stdout FD --stderr FD
 *   --health FD           what to check the container's health with (include/berth/runtime.h)
 *   --health-state PATH   the file that says how it is, replaced after each check:
 * {"Status": "starting", "healthy" or "unhealthy", "FailingStreak":N, "Log":[the last five: {"Start", "End" (RFC 3339),
 * "ExitCode":N, "Output"}]}. The engine is told by MONITOR_HEALTH_REQUEST when the status has changed
 *
 * Requests, one per SOCK_SEQPACKET connection message, words separated by one blank; each is answered by one message,
 * "ok" or "error ERRNO":
 *   attach FLAGS KEYS     with one descriptor, a stream socket whose HTTP part is over. FLAGS are letters out of
 *                         i (its bytes are standard input), o, e (gets output, errors), m (output is framed with
 *                         Docker's 8-byte headers). KEYS is the detach sequence in hexadecimal, or -. The detach
 *                         sequence is looked for only where the container has a terminal.
 *                         Behind the words may stand a line feed and bytes the client had sent already.
 *                         With h the client's first output is what the log will only have later, unfinished lines
 *                         most of all, and until the connection ends, for ten seconds at most, no output is read: what
 *                         the log then has, and what the spool holds for it, is all that came before
 *   resize ROWS COLUMNS   the terminal's new size
 *   ports - -             with up to 250 bound sockets; see below
 *   target IPV4|- IPV6|-  where the ports lead from now on
 *
 *   resolver - -          with the container's two sockets of the name service, UDP and TCP
 *
 * All requests that wait when the monitor starts are served before the first byte of output is read, so a client that
 * attached before the start misses nothing.
 *
 * Behind the words of "ports" stand a line feed and a line for each socket, "tcp|udp|sctp IPV4|- IPV6|- PORT": the
 * container's addresses and its port, where what arrives is led.
 *
 * The resolver's file has lines "network PATH" (of a file with names), "alias NAME NAME" (the first stands for the
 * second), "server ADDRESS" (instead of the host's) and "closed" (nothing is asked outside). A file with a network's
 * names begins with "name NAME"; every other line is "IPV4|- IPV6|- NAME...". Both are replaced as a whole.
 *
 * A monitor with --resolver watches the host's packet filter, and sends MONITOR_FIREWALL_REQUEST to --notify when the
 * engine's table, or rules of it, were removed.
 *
 *   --drain 1             no container: only the spool's records are sent, for a monitor that was killed. Of the
 * options above, --id, --spool, --notify and --journal-socket count, and
 *   --skip N              so many records from the one the spool's header names were sent by the one before
 *
 * exit.json, written durably (staged, synced, renamed) when the container has ended, the clients have all its output,
 * and the journal or the spool has all of its lines:
 *   {"Run":N,"ExitCode":0-255 (128 + signal where one ended it),"OOMKilled":bool,"FinishedAt":"RFC 3339 with ns",
 *    "LinesLost":N,"Stopped":bool (systemd has stopped the scope)}
 * Then the monitor connects to --notify, sends MONITOR_NOTIFY_REQUEST for its container, and ends without waiting for
 * the answer. Where lines are in the spool it goes on until they are with the journal, leaves the emptied spool file to
 * the engine, sends the request again, and ends then. MONITOR_LEAVE_SIGNAL makes it end before that, with the rest in
 * the spool for the next monitor of this container. */
#pragma once

/* Of a container, under its directory in /run/berth/container/ID. */
#define MONITOR_SOCKET_NAME "monitor.sock"
#define MONITOR_EXIT_RECORD "exit.json"
#define MONITOR_HEALTH_STATE "health.json"
#define MONITOR_RESOLVER_FILE "resolver"

#define MONITOR_LEAVE_SIGNAL SIGUSR1

/* What systemd sends to all of a scope when it stops it: nobody but the monitor makes anything of it. */
#define SCOPE_KILL_SIGNAL SIGCONT

/* The container's ID, and "healthy" or "unhealthy". */
#define MONITOR_HEALTH_REQUEST \
        "POST /_berth/health/%s?status=%s HTTP/1.1\r\nHost: berth\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

#define MONITOR_NOTIFY_REQUEST \
        "POST /_berth/exited/%s HTTP/1.1\r\nHost: berth\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

#define MONITOR_FIREWALL_REQUEST \
        "POST /_berth/firewall HTTP/1.1\r\nHost: berth\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

/* A longer line of output becomes several records, marked CONTAINER_PARTIAL_MESSAGE=true (all but the last). */
#define MONITOR_LINE_MAX (384u * 1024)
