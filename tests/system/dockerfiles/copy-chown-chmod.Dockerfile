#: builders buildkit
FROM busybox
COPY --chown=12:34 dir /d1
COPY --chown=www-data:www-data a.txt /d2/a.txt
COPY --chown=www-data a.txt /d3/
COPY --chmod=600 dir /d4
COPY --chmod=640 dir/sub /d7
COPY --chown=5:6 --chmod=640 dir /d8/deep/
COPY --chmod=0755 --chown=9 a.txt /d5/
COPY --chmod=4711 a.txt /suid
