#: builders none
FROM busybox
COPY --exclude=*.txt --exclude=sub dir /d/
COPY --exclude=**/y.txt . /all/
