#: fails invalid name for build stage
FROM busybox AS -x
