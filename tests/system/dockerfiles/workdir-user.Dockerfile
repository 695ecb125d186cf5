#: differs classic files: the directory is the user's, as with BuildKit
FROM busybox
USER 33
WORKDIR /made/by/user
RUN id -u
