FROM busybox
USER www-data:www-data
RUN id -u >/tmp/u
ARG U=12
USER ${U}
