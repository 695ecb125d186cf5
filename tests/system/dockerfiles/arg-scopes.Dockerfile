#: args --build-arg GLOBAL=given --build-arg OWN=mine
ARG GLOBAL=default
ARG UNUSED=x
FROM busybox
RUN echo "[$GLOBAL]" >/before
ARG GLOBAL
ARG OWN=theirs
ARG NONE
ENV ARGS="$GLOBAL $OWN $NONE"
RUN echo "$GLOBAL $OWN ${NONE-unset}" >/after
