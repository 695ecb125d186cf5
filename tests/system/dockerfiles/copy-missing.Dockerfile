#: fails nosuch
FROM busybox
COPY nosuch /
