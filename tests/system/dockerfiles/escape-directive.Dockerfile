# escape=`
FROM busybox
RUN echo one `
  two >/out
ENV A=c:\dir B=x`"y
COPY a.txt `
 /a
