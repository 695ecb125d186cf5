FROM busybox
RUN dd if=/dev/zero of=/sparse bs=1 count=1 seek=10000000 2>/dev/null && : >/empty && dd if=/dev/zero of=/zeros bs=4096 count=10 2>/dev/null
