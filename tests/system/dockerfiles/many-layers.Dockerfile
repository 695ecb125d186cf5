FROM busybox
RUN echo 0 >/f0 && echo 0 >>/all
RUN echo 1 >/f1 && echo 1 >>/all
RUN echo 2 >/f2 && echo 2 >>/all
RUN echo 3 >/f3 && echo 3 >>/all
RUN echo 4 >/f4 && echo 4 >>/all
RUN echo 5 >/f5 && echo 5 >>/all
RUN echo 6 >/f6 && echo 6 >>/all
RUN echo 7 >/f7 && echo 7 >>/all
RUN echo 8 >/f8 && echo 8 >>/all
RUN echo 9 >/f9 && echo 9 >>/all
RUN echo 10 >/f10 && echo 10 >>/all
RUN echo 11 >/f11 && echo 11 >>/all
RUN rm /f3 /f7
