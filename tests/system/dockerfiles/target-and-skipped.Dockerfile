#: builders buildkit
#: args --target wanted
FROM busybox AS broken
RUN exit 1
FROM busybox AS wanted
RUN echo wanted >/wanted
FROM wanted AS later
RUN exit 2
