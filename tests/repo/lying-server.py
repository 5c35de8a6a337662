#!/usr/bin/env python3
"""A web server that lies. SPDX-License-Identifier: BSD-3-Clause

lying-server.py DIR PORTFILE LOGFILE [CERT KEY]

Serves DIR on a free port of 127.0.0.1, which it writes to PORTFILE. The first part of a path is
the fault, the rest the file: /truncated/linux/linux.qemu.gz. A fault strikes files of more
than 4096 bytes; smaller ones are served well, except by the faults of every request. LOGFILE
gets a line for each request: method, path, range, and which credentials came with it.
"""
import email.utils, gzip, hashlib, http.server, os, socket, ssl, struct, sys, threading, time
import urllib.parse

ROOT, PORTFILE, LOGFILE = sys.argv[1:4]
TIMES, LOCK = {}, threading.Lock()
XML = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'


def count(key):
    """How often this was asked before."""
    with LOCK:
        n = TIMES.get(key, 0)
        TIMES[key] = n + 1
    return n


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def head(self, status, length, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def short(self, status, text, kind="text/plain", **headers):
        self.head(status, len(text), Content_Type=kind, **headers)
        if self.command != "HEAD":
            self.wfile.write(text)

    def reset(self):
        """Ends the connection with RST, not FIN."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def do_GET(self):
        path, _, query = self.path.partition("?")
        _, fault, name = (urllib.parse.unquote(path) + "//").split("/", 2)
        name = name.rstrip("/")
        with LOCK, open(LOGFILE, "a") as log:
            log.write("%s %s %s %s %s\n" % (self.command, self.path, self.headers.get("Range", "-"),
                                            self.headers.get("Authorization", "-"),
                                            self.headers.get("X-Amz-Token", "-")))
        every = getattr(self, "every_" + fault.replace("-", "_"), None)
        if every is not None:
            return every(name, query)
        try:
            with open(os.path.join(ROOT, name), "rb") as f:
                data = f.read()
        except OSError:
            return self.short(404, b"<html><body>no such page</body></html>", "text/html")
        strike = getattr(self, "file_" + fault.replace("-", "_"), None)
        if len(data) <= 4096 or strike is None or self.command == "HEAD":
            return self.serve(data)
        return strike(data)

    do_HEAD = do_GET

    def do_PUT(self):
        length = int(self.headers.get("Content-Length", 0))
        fault = self.path.split("/")[1]
        if fault == "full":
            self.close_connection = True
            return self.short(507, b"the disk is full")
        left = length
        while left > 0:
            left -= len(self.rfile.read(min(left, 65536)))
        if fault == "put-redirect":
            return self.short(302, b"", Location="/ok/elsewhere")
        if fault == "put-moved":
            return self.short(307, b"", Location="/ok" + self.path[len("/put-moved"):])
        self.short(201, b"")

    # ---- every request ----

    def every_forbidden(self, name, query):
        self.short(403, XML, "application/xml")

    def every_login(self, name, query):
        if self.headers.get("Authorization") == "Bearer right":
            return self.short(200, b"welcome")
        self.short(401, b"", WWW_Authenticate='Basic realm="x"')

    def every_busy(self, name, query):
        self.short(503, b"later, please", Retry_After="7")

    def every_later(self, name, query):
        self.short(429, b"", Retry_After=email.utils.formatdate(time.time() + 30, usegmt=True))

    def every_to(self, name, query):
        self.short(302, b"elsewhere", Location=urllib.parse.unquote(query))

    def every_moved(self, name, query):
        """/moved/PORT/FILE: it lies on another port now."""
        port, _, file = name.partition("/")
        self.short(302, b"", Location="http://127.0.0.1:%s/ok/%s" % (port, file))

    def every_pages(self, name, query):
        """Everything is there, and all of it is a web page."""
        self.short(200, b"<!DOCTYPE html><html><body>Welcome</body></html>", "text/html")

    def every_loop(self, name, query):
        self.short(301, b"", Location=self.path)

    def every_silent(self, name, query):
        time.sleep(3600)

    def every_big_headers(self, name, query):
        self.head(200, 2, **{"X_%d" % i: "y" * 1000 for i in range(500)})
        self.wfile.write(b"ok")

    def every_echo(self, name, query):
        self.short(200, str(self.headers).encode())

    # ---- a file ----

    def serve(self, data, etag=None, ranges=True):
        etag = etag or '"%s"' % hashlib.md5(data).hexdigest()
        first, last, status = 0, len(data) - 1, 200
        headers = {"ETag": etag, "Content_Type": "application/octet-stream"}
        if self.headers.get("If-None-Match") == etag:
            return self.head(304, None, ETag=etag)
        r = self.headers.get("Range", "")
        if ranges:
            headers["Accept_Ranges"] = "bytes"
        if ranges and r.startswith("bytes=") and self.headers.get("If-Range", etag) == etag:
            a, _, b = r[6:].partition("-")
            first, last, status = int(a), min(int(b or last), last), 206
            if first > last:
                return self.head(416, 0, Content_Range="bytes */%d" % len(data))
            headers["Content_Range"] = "bytes %d-%d/%d" % (first, last, len(data))
        self.head(status, last - first + 1, **headers)
        if self.command != "HEAD":
            self.wfile.write(data[first:last + 1])

    def partly(self, data, share=2):
        """The headers of all, a part of the bytes."""
        self.head(200, len(data), ETag='"x"')
        self.wfile.write(data[:len(data) // share])
        self.wfile.flush()

    def file_truncated(self, data):
        self.partly(data)
        self.close_connection = True

    def file_reset(self, data):
        self.partly(data)
        self.reset()

    def file_reset_once(self, data):
        """At the first time only, and then it goes on from where it is asked to."""
        if count(self.path) == 0:
            self.head(200, len(data), ETag='"%s"' % hashlib.md5(data).hexdigest(), Accept_Ranges="bytes")
            self.wfile.write(data[:len(data) // 2])
            return self.reset()
        self.serve(data)

    def file_error_once(self, data):
        if count(self.path) == 0:
            return self.short(500, b"a bad moment")
        self.serve(data)

    def file_no_length(self, data):
        """The end of the connection is the end of the file."""
        self.head(200, None, Connection="close")
        self.wfile.write(data)
        self.close_connection = True

    def file_no_length_truncated(self, data):
        self.file_no_length(data[:len(data) // 2])

    def file_longer(self, data):
        """Says less than it sends."""
        self.head(200, len(data) // 2)
        self.wfile.write(data)
        self.close_connection = True

    def file_no_range(self, data):
        self.serve(data, ranges=False)

    def file_other_range(self, data):
        if "Range" not in self.headers:
            return self.serve(data)
        self.head(206, 100, Content_Range="bytes 0-99/%d" % len(data))
        self.wfile.write(data[:100])

    def file_huge_range(self, data):
        """206 with a body that is longer than the range."""
        if "Range" not in self.headers:
            return self.serve(data)
        a, _, b = self.headers["Range"][6:].partition("-")
        self.head(206, None, Content_Range="bytes %s-%s/%d" % (a, b, len(data)), Connection="close")
        self.wfile.write(data[int(a):int(b) + 1] + b"more")
        self.close_connection = True

    def file_changing(self, data):
        """Another file at every request: other bytes, another ETag."""
        n = count(self.path)
        self.serve(bytes([n % 256]) * len(data) if n > 0 else data, etag='"%d"' % n)

    def file_changing_unsaid(self, data):
        """The same, but If-Range is not heeded and the ETag stays."""
        n = count(self.path)
        del self.headers["If-Range"]
        self.serve(data if n == 0 else bytes([n % 256]) * len(data), etag='"same"')

    def file_drip(self, data):
        self.head(200, len(data))
        for i in range(len(data)):
            self.wfile.write(data[i:i + 1])
            self.wfile.flush()
            time.sleep(0.2)

    def file_bomb(self, data):
        """A gigabyte of zeros in a megabyte."""
        packer, zeros = gzip.zlib.compressobj(9, gzip.zlib.DEFLATED, 31), bytes(1 << 20)
        body = b"".join(packer.compress(zeros) for _ in range(1024)) + packer.flush()
        self.head(200, len(body), Content_Encoding="gzip")
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        pass


server = Server(("127.0.0.1", 0), Handler)
if len(sys.argv) > 4:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[4], sys.argv[5])
    server.socket = context.wrap_socket(server.socket, server_side=True)
with open(PORTFILE + ".new", "w") as f:
    f.write("%d\n" % server.server_port)
os.rename(PORTFILE + ".new", PORTFILE)
server.serve_forever()
