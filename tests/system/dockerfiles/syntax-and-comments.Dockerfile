# check=skip=all
# a comment
from busybox
  # indented comment
run echo lower >/lower
	LABEL   a=b   
# last
