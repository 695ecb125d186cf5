#: differs buildkit files: without a snapshotter that merges it copies as if there was no --link
#: builders buildkit
FROM busybox
RUN mkdir /d && chmod 700 /d
COPY --link a.txt /d/
COPY --link --chown=5:6 dir /linked/
COPY --link --chmod=640 a.txt b.txt /more/
