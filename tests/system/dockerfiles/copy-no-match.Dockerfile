#: builders classic
#: fails no
FROM busybox
COPY nosuch*.zip /
