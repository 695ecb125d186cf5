FROM busybox
ENV SET=value EMPTY=
ENV R1=${SET:-d} R2=${EMPTY:-d} R3=${NOSUCH:-d} R4=${SET:+s} R5=${EMPTY:+s} R6=${NOSUCH:+s}
ENV R7=\$SET R8=\${SET} R9=${NOSUCH:-$SET} R10=${NOSUCH:-a${SET}b}
WORKDIR /${SET}/x
COPY a.txt ${SET:-none}.txt
LABEL l="${SET}-${NOSUCH:-d}"
