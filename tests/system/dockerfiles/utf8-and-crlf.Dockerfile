FROM busybox
ENV A=äöü
RUN echo "$A" >/utf8
LABEL l=☃
