FROM busybox
CMD ["first"]
CMD ["echo", "exec form", "$HOME"]
