#: differs buildkit files: the directory of a Dockerfile that is left out stays
FROM busybox
COPY . /c/
RUN find /c | sort >/list
