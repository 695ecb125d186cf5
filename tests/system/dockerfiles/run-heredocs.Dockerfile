#: builders buildkit
FROM busybox
RUN <<EOF
echo one >/one
echo two >/two
EOF
RUN <<'EOF'
X=inner
echo "$X" >/inner
EOF
RUN <<EOF
#!/bin/sh
echo "script $0" | sed 's/ .*//' >/script
EOF
RUN cat <<A >/a && cat <<B >/b
from a
A
from b
B
RUN <<-EOF
	echo tabs >/tabs
	EOF
