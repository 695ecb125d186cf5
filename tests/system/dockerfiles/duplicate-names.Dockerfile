#: builders buildkit
FROM busybox AS same
RUN echo 1 >/1
FROM busybox AS same
RUN echo 2 >/2
FROM same
COPY --from=same /2 /copied
