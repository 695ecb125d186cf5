#: builders classic
#: fails must be a directory and end with a /
FROM busybox
COPY a.txt b.txt /file
