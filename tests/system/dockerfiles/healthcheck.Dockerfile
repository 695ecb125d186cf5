FROM busybox
HEALTHCHECK --interval=1m30s --timeout=3s --start-period=5s --retries=4 CMD wget -q localhost || exit 1
