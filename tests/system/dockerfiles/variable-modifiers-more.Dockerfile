#: builders buildkit
FROM busybox
ENV SET=value-a-b EMPTY= FILE=a.b.c
ENV R1=${SET-d} R2=${EMPTY-d} R3=${NOSUCH-d} R4=${SET+s} R5=${EMPTY+s} R6=${NOSUCH+s}
ENV R7=${SET#*-} R8=${SET##*-} R9=${SET%-*} R10=${SET%%-*} R11=${SET/a/x} R12=${SET//a/x} R13=${FILE%.*}
