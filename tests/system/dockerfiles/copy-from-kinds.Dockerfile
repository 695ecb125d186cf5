FROM busybox AS b
RUN mkdir -p /s/sub && echo f >/s/f && ln -s f /s/l && ln /s/f /s/h && mkfifo /s/p && chmod 6750 /s/sub && chown -R 9:10 /s && echo c >/s/sub/c
FROM busybox
COPY --from=b /s /whole
COPY --from=b /s/l /resolved
COPY --from=b --chown=1:2 /s /owned/
COPY --from=b /s/sub /s/f /several/
