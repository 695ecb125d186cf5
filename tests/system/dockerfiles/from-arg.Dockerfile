#: args --build-arg BASE=busybox --build-arg TAG=latest
ARG BASE=nosuch
ARG TAG
FROM ${BASE}:${TAG:-none} AS named
ARG BASE
RUN echo "base $BASE" >/base
