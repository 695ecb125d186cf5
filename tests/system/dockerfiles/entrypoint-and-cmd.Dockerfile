FROM busybox
CMD ["arg"]
ENTRYPOINT exec top -b
