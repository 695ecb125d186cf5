#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The first start makes the database.
set -eu
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
if [ ! -e /rows/made ]; then
    rm -rf /rows/data
    initdb -A trust -U postgres -E UTF8 --locale=C.UTF-8 /rows/data
    echo 'host all all all trust' >>/rows/data/pg_hba.conf
    echo 'CREATE DATABASE shop' | postgres --single -D /rows/data postgres
    touch /rows/made
fi
exec postgres -D /rows/data -k /tmp -c listen_addresses='*'
