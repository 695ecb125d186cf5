FROM busybox
RUN echo shell form > /shell
RUN ["/bin/sh", "-c", "echo exec form > /exec"]
RUN echo continued \
    # a comment in between
    and \

    done > /continued
RUN echo "$0" '$HOME' "quo\"ted" > /quotes
RUN touch "/with blank" && mkdir -p /x/y/z
