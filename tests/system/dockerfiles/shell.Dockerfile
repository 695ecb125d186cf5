FROM busybox
SHELL ["/bin/sh", "-e", "-c"]
RUN echo "$-" | tr -d '\n' | grep -q e && echo strict >/shell
CMD run me
ENTRYPOINT by this
