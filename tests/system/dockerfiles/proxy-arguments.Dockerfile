#: differs buildkit config: it knows of a proxy in RUN alone
#: args --build-arg HTTP_PROXY=http://proxy.example:1 --build-arg no_proxy=x
FROM busybox
RUN echo "$HTTP_PROXY $no_proxy" >/proxies
ENV P=$HTTP_PROXY
