#: differs classic history: what was got from elsewhere has a digest of another kind
#: args --build-arg URL=http://127.0.0.1:8099
FROM busybox
ARG URL
ADD $URL/a.txt /direct
ADD $URL/a.txt /into/
ADD $URL/tree.tar /archive/
