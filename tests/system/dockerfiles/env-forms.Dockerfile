FROM busybox
ENV OLD the rest of the line
ENV A=1 B="two words" C=three\ words D='single $A'
ENV E=$A F=${B} G=$NOSUCH
ENV A=9 H=$A
ENV PATH=/opt/bin:$PATH
ENV EMPTY=
ENV QUOTE="a\"b" BACK="a\\b"
RUN echo "$A|$B|$C|$D|$E|$F|$G|$H|$EMPTY|$QUOTE|$BACK" >/env
