FROM busybox
COPY links /links
COPY links/to-file /file
COPY links/to-dir /dir
COPY links/to-dir/ /dir2/
