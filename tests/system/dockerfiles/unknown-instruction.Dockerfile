#: fails unknown instruction: RUM
FROM busybox
RUM echo
