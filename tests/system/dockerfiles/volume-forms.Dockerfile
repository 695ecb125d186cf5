FROM busybox
RUN mkdir -p /v/one && echo kept >/v/one/file
VOLUME /v/one /v/two
VOLUME ["/v/json", "/v/another"]
VOLUME /v/rel/../x
