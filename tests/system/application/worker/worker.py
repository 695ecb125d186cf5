# SPDX-License-Identifier: LGPL-2.1-or-later
"""Takes orders from the queue, one at a time, and notes in the database that it did them."""
import socket
import time

import psycopg2
import redis

NAME = socket.gethostname()


def work():
    queue = redis.Redis("cache")
    connection = psycopg2.connect(host="database", user="postgres", dbname="shop", connect_timeout=60)
    connection.autocommit = True
    while True:
        _, number = queue.blpop("orders")
        time.sleep(0.02)
        try:
            with connection.cursor() as cursor:
                cursor.execute("UPDATE orders SET worker = %s WHERE id = %s", (NAME, int(number)))
        except psycopg2.Error:
            queue.lpush("orders", number)  # another's turn
            raise


while True:
    try:
        work()
    except (psycopg2.Error, redis.RedisError) as problem:
        print("waiting:", problem)
        time.sleep(0.5)
