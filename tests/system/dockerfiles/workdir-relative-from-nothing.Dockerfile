FROM busybox
WORKDIR rel
COPY a.txt .
