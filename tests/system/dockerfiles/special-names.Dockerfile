FROM busybox
RUN touch '/a b' "/c'd" '/e"f' '/g\h' '/i*j' '/k?l' '/m[n]' && mkdir '/ ' && touch "/$(printf 'new\nline')"
COPY ["with blank.txt", "/x y/"]
