FROM busybox AS base
ONBUILD COPY a.txt /triggered/
ONBUILD RUN echo ran >/triggered/ran
ONBUILD ENV T=1
ONBUILD LABEL t=$T
FROM base
RUN cat /triggered/ran
