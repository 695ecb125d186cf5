FROM busybox
WORKDIR /a
WORKDIR b
WORKDIR ../c/./d
RUN pwd >here
ENV D=/env
WORKDIR $D/e
RUN mkdir /real && ln -s /real /link
WORKDIR /link/made
WORKDIR /
