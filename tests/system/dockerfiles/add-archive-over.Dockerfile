FROM busybox
RUN mkdir -p /t/sub && echo old >/t/file && chmod 700 /t/sub
ADD tree.tar /t/
ADD tree.tar /t/
