#: differs buildkit files: its ARG behind an ENV of the same name wins, against its manual
#: differs buildkit config: its ARG behind an ENV of the same name wins, against its manual
#: args --build-arg V=argument
FROM busybox
ARG V=default
RUN echo "$V" >/1
ENV V=environment
RUN echo "$V" >/2
ARG V=again
RUN echo "$V" >/3
LABEL v=$V
