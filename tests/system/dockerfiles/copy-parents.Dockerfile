#: builders none
FROM busybox
COPY --parents dir/sub/y.txt a.txt /p/
COPY --parents ./dir/*.txt /q/
