#: differs classic files: the directory that is made has the owner, as with BuildKit
FROM busybox
ADD --chown=8:9 tree.tar a.txt /x/
