#: differs buildkit files: the directory of a Dockerfile that is left out stays
#: builders buildkit
FROM busybox AS other
RUN mkdir /o && echo other >/o/file
FROM busybox
RUN --mount=type=bind,source=dir,target=/m cat /m/x.txt /m/sub/y.txt >/read
RUN --mount=target=/all ls -A /all | sort >/listed
RUN --mount=type=bind,from=other,source=/o,target=/o cat /o/file >/from-stage
RUN --mount=type=bind,from=busybox,target=/b ls /b/bin/busybox >/from-image
RUN --mount=type=bind,target=/rw,rw touch /rw/new && ls /rw/new >/written
RUN --mount=type=bind,source=a.txt,target=/one.txt cat /one.txt >/one-read
RUN ls / | sort | grep -v top >/top
