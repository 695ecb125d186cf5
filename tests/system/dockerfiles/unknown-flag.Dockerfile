#: fails unknown flag: --nosuch|unknown flag: nosuch
FROM busybox
COPY --nosuch a b
