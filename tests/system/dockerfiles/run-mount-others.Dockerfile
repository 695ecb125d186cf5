#: builders buildkit
FROM busybox
RUN --mount=type=tmpfs,target=/t touch /t/x && ls /t >/tmpfs
RUN --mount=type=cache,target=/c,id=corpus,uid=5,gid=6,mode=0750 stat -c '%u %g %a' /c >/cache
RUN --mount=type=secret,id=nosuch ls /run/secrets 2>&1 >/dev/null || echo none >/secret
RUN ls -d /t /c >/left 2>&1 || true
