#: builders buildkit
#: args --build-arg B=two
FROM busybox
ARG A=1 B C="three words"
RUN echo "$A $B $C" >/args
ENV ALL="$A-$B-$C"
