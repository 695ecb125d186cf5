FROM busybox AS first
RUN echo first >/first
FROM first AS second
RUN echo second >/second
FROM second
COPY --from=first /first /copied/first
COPY --from=0 /first /copied/zero
COPY --from=1 /second /copied/second
