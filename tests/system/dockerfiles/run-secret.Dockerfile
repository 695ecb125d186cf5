#: builders buildkit
#: args --secret id=word,src=secret.txt
FROM busybox
RUN --mount=type=secret,id=word wc -c </run/secrets/word >/size && stat -c '%a %u' /run/secrets/word >/mode
RUN --mount=type=secret,id=word,target=/s,mode=0444,uid=3 stat -c '%a %u' /s >/mode2
RUN --mount=type=secret,id=word,required=true test -s /run/secrets/word
RUN ls / | sort | grep -v top >/top
