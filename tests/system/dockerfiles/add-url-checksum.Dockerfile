#: builders buildkit
#: args --build-arg URL=http://127.0.0.1:8099
FROM busybox
ARG URL
ADD --checksum=sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb --chmod=640 --chown=1:2 $URL/a.txt /a
