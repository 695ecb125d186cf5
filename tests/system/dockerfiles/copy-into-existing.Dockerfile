FROM busybox
RUN mkdir -p /d/sub && chmod 700 /d /d/sub && chown 5:6 /d && echo old >/d/x.txt && ln -s /d /link && echo stays >/d/sub/z.txt
COPY dir /d
COPY dir /link/
COPY a.txt /link/a
COPY a.txt /d/x.txt
