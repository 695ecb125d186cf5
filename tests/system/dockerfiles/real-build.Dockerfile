FROM busybox AS build
WORKDIR /src
COPY dir script.sh ./
RUN cat *.txt sub/*.txt >program && chmod 755 program && sh script.sh >>program
FROM busybox AS test
COPY --from=build /src/program /program
RUN test -x /program && echo passed >/report
FROM busybox
RUN echo app:x:1500:1500::/home/app:/bin/sh >>/etc/passwd && echo app:x:1500: >>/etc/group
WORKDIR /home/app
COPY --from=build --chown=app:app /src/program bin/program
COPY --from=test /report /report
USER app
EXPOSE 8080
VOLUME /data
HEALTHCHECK CMD true
STOPSIGNAL SIGINT
ENTRYPOINT ["/home/app/bin/program"]
CMD ["serve"]
