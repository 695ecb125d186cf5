# SPDX-License-Identifier: LGPL-2.1-or-later
"""POST /orders takes one and answers with its number; GET /orders shows those that are done, by worker; GET /version and
GET /client answer with the environment's version and the client's address."""
import http.server
import json
import os
import socketserver
import time

import psycopg2
import redis

TABLE = "CREATE TABLE IF NOT EXISTS orders (id serial PRIMARY KEY, text text, worker text)"


def database():
    return psycopg2.connect(host="database", user="postgres", dbname="shop", connect_timeout=60)


def patiently(function):
    """What starts with the host may come up in any order."""
    while True:
        try:
            return function()
        except (psycopg2.Error, redis.RedisError) as problem:
            print("waiting:", problem)
            time.sleep(0.5)


def make_table():
    with database() as connection, connection.cursor() as cursor:
        cursor.execute(TABLE)


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, value):
        text = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with database() as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders (text) VALUES (%s) RETURNING id", (text,))
            number = cursor.fetchone()[0]
        redis.Redis("cache").rpush("orders", number)
        self.answer(number)

    def do_GET(self):
        if self.path == "/version":
            self.answer(os.environ["VERSION"])
        elif self.path == "/client":
            self.answer(self.headers["X-Real-IP"])
        else:
            with database() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT worker, count(*) FROM orders WHERE worker IS NOT NULL GROUP BY worker")
                self.answer(dict(cursor.fetchall()))

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


patiently(make_table)
Server(("", 8000), Handler).serve_forever()
