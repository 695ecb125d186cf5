#: fails no build stage in current context
RUN echo
