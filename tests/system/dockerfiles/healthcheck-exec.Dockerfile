FROM busybox AS base
HEALTHCHECK NONE
FROM base
HEALTHCHECK --interval=10s CMD ["/bin/check", "a b"]
