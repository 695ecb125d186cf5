FROM busybox
COPY script.sh private.txt /bin/
RUN ls -l /bin/script.sh && /bin/script.sh >/said
