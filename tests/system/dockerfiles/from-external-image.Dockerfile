#: differs buildkit config: it sets a working directory where there is none
FROM scratch
COPY --from=busybox:latest /bin/busybox /bin/sh
CMD ["/bin/sh"]
