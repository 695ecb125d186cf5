#: differs buildkit config: it sets a working directory where there is none
FROM scratch
COPY a.txt dir /
LABEL empty=no
