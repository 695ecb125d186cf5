FROM busybox
RUN mkdir /w && chown 1234:567 /w
USER 1234:567
WORKDIR /w
RUN id -u >uid && id -g >gid && pwd >pwd && umask >mask
USER root
RUN id -u >/root-uid
USER www-data
RUN id >/tmp/www
