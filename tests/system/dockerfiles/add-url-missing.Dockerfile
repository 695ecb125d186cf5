#: args --build-arg URL=http://127.0.0.1:8099
#: fails 404
FROM busybox
ARG URL
ADD $URL/nosuch /a
