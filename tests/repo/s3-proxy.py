#!/usr/bin/env python3
"""In front of an S3 server: hands requests on, and fails as it is told.
SPDX-License-Identifier: BSD-3-Clause
usage: s3-proxy.py MODE TARGET PORTFILE LOG
  501    conditional writes are not implemented
  token  requests without a session token are refused
  hang   parts of an upload after the second are never answered"""
import http.client, http.server, os, re, socketserver, sys, threading
mode, target, portfile, logfile = sys.argv[1:]
host, port = target.split ("//")[1].split (":")
log = open (logfile, "a", buffering=1)

class Handler (http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message (self, *a): pass
    def answer (self, status, code):
        body = ("<Error><Code>%s</Code><Message>said the proxy</Message></Error>" % code).encode ()
        self.send_response (status)
        self.send_header ("Content-Length", str (len (body)))
        self.end_headers ()
        self.wfile.write (body)
    def handle_one (self):
        n = int (self.headers.get ("Content-Length") or 0)
        body = self.rfile.read (n) if n else b""
        conditional = self.headers.get ("If-Match") or self.headers.get ("If-None-Match")
        log.write ("%s %s%s\n" % (self.command, self.path, " conditional" if conditional else ""))
        if mode == "501" and conditional and self.command in ("PUT", "POST"):
            return self.answer (501, "NotImplemented")
        if mode == "token" and self.headers.get ("x-amz-security-token") != "the-token":
            return self.answer (403, "InvalidToken")
        part = re.search (r"partNumber=(\d+)", self.path)
        if mode == "hang" and part and int (part.group (1)) > 2:
            threading.Event ().wait ()
        c = http.client.HTTPConnection (host, int (port))
        c.putrequest (self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for k, v in self.headers.items ():
            if k.lower () not in ("connection", "expect"):
                c.putheader (k, v)
        c.endheaders (body)
        r = c.getresponse ()
        data = r.read ()
        if part:
            log.write ("part %s: %d\n" % (part.group (1), r.status))
        self.send_response (r.status)
        for k, v in r.getheaders ():
            if k.lower () not in ("connection", "transfer-encoding", "server", "date", "content-length"):
                self.send_header (k, v)
        self.send_header ("Content-Length", r.getheader ("Content-Length") if self.command == "HEAD" else str (len (data)))
        self.end_headers ()
        if self.command != "HEAD":
            self.wfile.write (data)
    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_one

class Server (socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
s = Server (("127.0.0.1", 0), Handler)
open (portfile + ".new", "w").write (str (s.server_port))
os.rename (portfile + ".new", portfile)
s.serve_forever ()
