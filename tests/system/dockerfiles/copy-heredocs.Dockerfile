#: builders buildkit
FROM busybox
ARG WHO=me
COPY <<EOF /inline/plain
hello $WHO
EOF
COPY <<"EOF" /inline/quoted
hello $WHO
EOF
COPY --chmod=755 --chown=3:4 <<one.sh <<two.sh /scripts/
#!/bin/sh
echo one
one.sh
echo two
two.sh
COPY a.txt <<x.txt /mixed/
x
x.txt
