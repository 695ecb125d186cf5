#: args --label given=here --label a=overridden
FROM busybox
LABEL old the rest
LABEL a=1 "quoted key"="quoted value" b=two\ words
LABEL multi="line one \
line two"
LABEL c='single' empty=""
