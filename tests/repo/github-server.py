#!/usr/bin/env python3
"""As much of GitHub's REST API as releases need. SPDX-License-Identifier: BSD-3-Clause

github-server.py DIR PORTFILE LOGFILE

Serves the releases of owner/repo, newest first: each folder of DIR is one, by its tag; its files
are the assets. Two releases make a page. Assets lie on another origin (localhost instead of
127.0.0.1), behind an address that is signed. While DIR/.limited is there, the hourly limit of
requests is used up; while DIR/.private is there, only the token "right" opens anything; while
DIR/.wrong-digests is there, digests are of other bytes.
"""
import hashlib, http.server, json, os, sys, threading, time, urllib.parse

ROOT, PORTFILE, LOGFILE = sys.argv[1:4]
LOCK = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, text=b"", **headers):
        with LOCK, open(LOGFILE, "a") as log:
            log.write("%d %s %s\n" % (status, self.path, self.headers.get("Authorization", "-")))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def asset(self, tag, name):
        with open(os.path.join(ROOT, tag, name), "rb") as f:
            data = f.read()
        size = len(data)
        if os.path.exists(ROOT + "/.wrong-digests"):
            data += b"X"
        number = int(hashlib.md5((tag + name).encode()).hexdigest()[:6], 16)
        return {"id": number, "name": name, "size": size,
                "url": "%s/repos/owner/repo/releases/assets/%s/%s" % (self.base, tag, name),
                "updated_at": "2024-01-02T03:04:05Z",
                "digest": "sha256:" + hashlib.sha256(data).hexdigest(),
                "browser_download_url": "%s/owner/repo/releases/download/%s/%s" % (self.base, tag, name)}

    def release(self, tag):
        return {"tag_name": tag, "draft": tag.startswith("draft"), "prerelease": False,
                "published_at": "2024-01-02T03:04:05Z",
                "assets": [self.asset(tag, n) for n in sorted(os.listdir(os.path.join(ROOT, tag)))]}

    def tags(self):
        return sorted((d for d in os.listdir(ROOT) if not d.startswith(".")), reverse=True)

    def say(self, value, **headers):
        text = json.dumps(value).encode()
        tag = 'W/"%s"' % hashlib.md5(text).hexdigest()
        if self.headers.get("If-None-Match") == tag:
            return self.answer(304, ETag=tag)
        self.answer(200, text, ETag=tag, Content_Type="application/json", **headers)

    def do_GET(self):
        host, port = "127.0.0.1", self.server.server_port
        self.base = "http://%s:%d" % (host, port)
        path, _, query = urllib.parse.unquote(self.path).partition("?")
        part = path.strip("/").split("/")
        if part[0] == "blob":  # the other origin: an address that needs no credentials
            with open(os.path.join(ROOT, part[1], part[2]), "rb") as f:
                data = f.read()
            return self.blob(data)
        if os.path.exists(ROOT + "/.limited"):
            return self.answer(403, b'{"message": "API rate limit exceeded"}', X_RateLimit_Limit="60",
                               X_RateLimit_Remaining="0", X_RateLimit_Reset=str(int(time.time()) + 1800))
        if os.path.exists(ROOT + "/.private") and self.headers.get("Authorization") != "Bearer right":
            return self.answer(404, b'{"message": "Not Found"}')
        blob = "http://localhost:%d/blob/%%s/%%s?signature=secret" % port
        if part[:2] == ["owner", "repo"]:
            return self.answer(302, Location=blob % (part[-2], part[-1]))
        if part[:3] != ["repos", "owner", "repo"]:
            return self.answer(404, b'{"message": "Not Found"}', Content_Type="application/json")
        if part[4:5] == ["assets"]:
            return self.answer(302, Location=blob % (part[-2], part[-1]))
        tags = self.tags()
        if part[4:5] == ["tags"]:
            if part[5] not in tags:
                return self.answer(404, b'{"message": "Not Found"}', Content_Type="application/json")
            return self.say(self.release(part[5]))
        if part[4:5] == ["latest"]:
            return self.say(self.release([t for t in tags if not t.startswith("draft")][0]))
        page = int(urllib.parse.parse_qs(query).get("page", ["1"])[0])
        link = {}
        if len(tags) > 2 * page:
            link["Link"] = '<%s/repos/owner/repo/releases?page=%d>; rel="next", <x>; rel="last"' % (
                self.base, page + 1)
        self.say([self.release(t) for t in tags[2 * page - 2:2 * page]], **link)

    def blob(self, data):
        tag, wanted = '"%s"' % hashlib.md5(data).hexdigest(), self.headers.get("Range", "")
        if not wanted.startswith("bytes="):
            return self.answer(200, data, ETag=tag)
        first, _, last = wanted[6:].partition("-")
        first, last = int(first), min(int(last or len(data)), len(data) - 1)
        if first > last:
            return self.answer(416)
        self.answer(206, data[first:last + 1], ETag=tag,
                    Content_Range="bytes %d-%d/%d" % (first, last, len(data)))


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


server = Server(("127.0.0.1", 0), Handler)
with open(PORTFILE + ".new", "w") as f:
    f.write("%d\n" % server.server_port)
os.rename(PORTFILE + ".new", PORTFILE)
server.serve_forever()
