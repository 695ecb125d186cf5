FROM busybox
CMD ["unfinished
