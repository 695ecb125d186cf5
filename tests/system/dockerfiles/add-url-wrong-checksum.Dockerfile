#: builders buildkit
#: args --build-arg URL=http://127.0.0.1:8099
#: fails digest mismatch
FROM busybox
ARG URL
ADD --checksum=sha256:0000000000000000000000000000000000000000000000000000000000000000 $URL/a.txt /a
