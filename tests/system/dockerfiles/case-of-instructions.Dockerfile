fRoM busybox aS x
eNv A=1
CopY a.txt /a
