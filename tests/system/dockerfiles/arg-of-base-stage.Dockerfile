#: differs classic history: a stage knows the arguments of the stage that it is based on, as with BuildKit
FROM busybox AS base
ARG INHERITED=1
ENV KEPT=$INHERITED
FROM base
RUN echo "$KEPT" >/kept
LABEL kept=$KEPT
