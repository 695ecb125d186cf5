FROM busybox AS base
CMD ["from", "base"]
FROM base
ENTRYPOINT ["echo"]
