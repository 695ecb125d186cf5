FROM busybox
ARG WHO=www-data
COPY --chown=12:34 dir /d1
COPY --chown=$WHO:www-data a.txt /d2/a.txt
COPY --chown=77 a.txt b.txt /new/deep/
