#: differs buildkit files: the directory of a Dockerfile that is left out stays
FROM busybox
COPY a.txt /one
COPY a.txt b.txt /two/
COPY dir /three
COPY dir/ /four/
COPY ["with blank.txt", "/five/"]
COPY dir/*.txt /six/
COPY . /all/
COPY a.t?t [bc].txt /seven/
WORKDIR /w
COPY a.txt .
COPY a.txt rel/name
COPY dir /etc
