#: fails
FROM busybox
COPY ../../../../etc/shadow-nosuch /
