#: differs buildkit files: dockerd wants a program for xz
#: differs classic files: dockerd wants a program for xz
FROM busybox
ADD tree.tar /tar/
ADD tree.tar.gz /gz
ADD tree.tar.bz2 /bz2/
ADD tree.tar.xz /xz/
ADD plain.gz /plain/
ADD a.txt dir /files/
COPY tree.tar /copied/
