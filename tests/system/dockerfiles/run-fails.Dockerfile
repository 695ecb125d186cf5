#: fails 7
FROM busybox
RUN exit 7
