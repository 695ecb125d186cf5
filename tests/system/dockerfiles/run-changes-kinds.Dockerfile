FROM busybox
RUN mkdir -p /d/sub /gone && echo a >/d/a && echo b >/d/sub/b && ln -s a /d/link && ln /d/a /d/hard && mkfifo /d/fifo && mknod /d/null c 1 3
RUN rm -r /gone && rm /d/link && mkdir /d/link && rm -r /d/sub && echo file >/d/sub && chmod 4755 /d/a && chown 7:8 /d/fifo
RUN rm /bin/ls && rm -r /d/link && mv /d/hard /d/moved && chmod 1777 /d && echo >>/etc/group
