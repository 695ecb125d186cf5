#: builders buildkit
#: fails must_be_set
FROM busybox
ENV A=${NOSUCH:?must_be_set}
