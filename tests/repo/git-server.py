#!/usr/bin/env python3
"""A Git server over HTTP, with Git LFS. SPDX-License-Identifier: BSD-3-Clause

git-server.py DIR PORTFILE LOGFILE [CERT KEY]

Serves the repositories in DIR through `git http-backend` on a port of 127.0.0.1: the one that
PORTFILE has, or a free one, which it writes there. Below /open/ anybody may read and push; below /closed/ only user "ann" with
the password "s3cret+/=". LFS objects lie in DIR/lfs; the batch API is where the convention
says: REPO.git/info/lfs. LOGFILE gets a line for each request: method, path, range, user.

Files in DIR/faults change how it behaves, as long as they are there:
  no-lfs        no LFS here (404)           lfs-cut      half of an object, then the end
  lfs-wrong     other bytes of that length  lfs-whole    a Range is not heeded
  lfs-elsewhere href of another scheme      lfs-headers  a header with a line break
  413           pushes are too large        503          later (Retry-After: 0), once
  redirect      to URL in the file          cut          the pack stops in the middle
"""
import base64, hashlib, http.server, json, os, re, shutil, ssl, subprocess, sys, threading

ROOT, PORTFILE, LOGFILE = sys.argv[1:4]
AUTH = "Basic " + base64.b64encode(b"ann:s3cret+/=").decode()
TOKEN = "RemoteAuth of-the-batch"
LFS = os.path.join(ROOT, "lfs")
LOCK = threading.Lock()


def fault(name):
    return os.path.exists(os.path.join(ROOT, "faults", name))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def note(self):
        auth = self.headers.get("Authorization") or "-"
        who = {"-": "-", AUTH: "ann", TOKEN: "token"}.get(auth, "wrong")
        with LOCK, open(LOGFILE, "a") as f:
            f.write(f"{self.command} {self.path} {self.headers.get('Range') or '-'} {who}\n")

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body_pieces(self):
        """The body of the request, piece by piece."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while True:
                n = int(self.rfile.readline().split(b";")[0], 16)
                data = self.rfile.read(n)
                self.rfile.readline()
                if n == 0:
                    return
                yield data
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0:
            data = self.rfile.read(min(left, 65536))
            if not data:
                return
            left -= len(data)
            yield data

    def drain(self):
        for _ in self.body_pieces():
            pass

    def handle_any(self):
        self.note()
        if self.path.startswith("/lfs-store/"):
            return self.lfs_object(self.path.rsplit("/", 1)[1])
        if self.path.startswith("/closed/") and self.headers.get("Authorization") != AUTH:
            self.drain()
            return self.answer(401, b"who are you?", WWW_Authenticate='Basic realm="git"')
        if fault("redirect"):
            self.drain()
            to = open(os.path.join(ROOT, "faults", "redirect")).read().strip()
            return self.answer(302, Location=to + self.path)
        if self.path.split("?")[0].endswith("/info/lfs/objects/batch"):
            return self.lfs_batch()
        if self.path.endswith("/lfs-verify"):
            return self.lfs_verify()
        if fault("503"):
            os.unlink(os.path.join(ROOT, "faults", "503"))
            self.drain()
            return self.answer(503, b"busy", Retry_After="0")
        if fault("413") and self.path.endswith("git-receive-pack"):
            self.drain()
            return self.answer(413, b"too large")
        return self.backend()

    do_GET = do_POST = do_PUT = do_HEAD = handle_any

    # ---- git http-backend

    def backend(self):
        path, _, query = self.path.partition("?")
        env = dict(os.environ, GIT_PROJECT_ROOT=ROOT, GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path,
                   QUERY_STRING=query, REQUEST_METHOD=self.command, REMOTE_ADDR="127.0.0.1",
                   REMOTE_USER="ann", CONTENT_TYPE=self.headers.get("Content-Type", ""),
                   GIT_CONFIG_NOSYSTEM="1", HOME=ROOT)
        for name in ("Git-Protocol", "Content-Encoding"):
            if self.headers.get(name):
                env["HTTP_" + name.upper().replace("-", "_")] = self.headers[name]
        if self.headers.get("Content-Length"):
            env["CONTENT_LENGTH"] = self.headers["Content-Length"]
        child = subprocess.Popen(["git", "http-backend"], env=env, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

        def feed():
            try:
                for piece in self.body_pieces():
                    child.stdin.write(piece)
            except (BrokenPipeError, ValueError):
                pass
            child.stdin.close()
        feeder = threading.Thread(target=feed)
        feeder.start()
        status, headers = 200, []
        for line in iter(child.stdout.readline, b"\r\n"):
            if not line:
                break
            name, _, value = line.decode("latin-1").partition(":")
            if name.lower() == "status":
                status = int(value.split()[0])
            else:
                headers.append((name, value.strip()))
        self.send_response(status)
        for h in headers:
            self.send_header(*h)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = 0
        while True:
            data = child.stdout.read1(65536)
            if fault("cut") and sent + len(data) > 400000:
                child.kill()
                self.close_connection = True
                self.connection.shutdown(2)
                break
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            sent += len(data)
            if not data:
                break
        feeder.join()
        child.stdout.close()
        child.wait()

    # ---- LFS

    def lfs_batch(self):
        q = json.loads(b"".join(self.body_pieces()))
        mime = "application/vnd.git-lfs+json"
        if fault("no-lfs"):
            return self.answer(404, b"no such page")
        if self.headers.get("Accept") != mime or self.headers.get("Content-Type") != mime:
            return self.answer(406, b"not the type of LFS")
        objects = []
        for o in q["objects"]:
            oid, size = o["oid"], o["size"]
            path = os.path.join(LFS, oid)
            there = os.path.exists(path)
            out = {"oid": oid, "size": size}
            base = f"{SCHEME}://127.0.0.1:{PORT}"
            if fault("lfs-elsewhere"):
                base = "http://127.0.0.2:1"
            header = {"Authorization": TOKEN}
            if fault("lfs-headers"):
                header = {"X-Evil": "a\r\nHost: b"}
            if q["operation"] == "download":
                if there:
                    out["actions"] = {"download": {"href": f"{base}/lfs-store/{oid}", "header": header}}
                else:
                    out["error"] = {"code": 404, "message": "no such object"}
            elif not there:
                verify = re.sub(r"/info/lfs/.*", "/lfs-verify", self.path)
                out["actions"] = {"upload": {"href": f"{base}/lfs-store/{oid}", "header": header},
                                  "verify": {"href": f"{base}{verify}", "header": {"Authorization": AUTH}}}
            objects.append(out)
        text = json.dumps({"transfer": "basic", "objects": objects}).encode()
        return self.answer(200, text, Content_Type=mime)

    def lfs_verify(self):
        q = json.loads(b"".join(self.body_pieces()))
        path = os.path.join(LFS, q["oid"])
        good = os.path.exists(path) and os.path.getsize(path) == q["size"]
        return self.answer(200 if good else 422, b"{}")

    def lfs_object(self, oid):
        path = os.path.join(LFS, oid)
        if self.headers.get("Authorization") != TOKEN:
            self.drain()
            return self.answer(403, b"no token")
        if self.command == "PUT":
            h = hashlib.sha256()
            with open(path + ".part", "wb") as f:
                for piece in self.body_pieces():
                    h.update(piece)
                    f.write(piece)
            if h.hexdigest() != oid:
                return self.answer(400, b"the digest is another")
            os.rename(path + ".part", path)
            return self.answer(200)
        size = os.path.getsize(path)
        first, m = 0, re.match(r"bytes=(\d+)-$", self.headers.get("Range") or "")
        if m and not fault("lfs-whole"):
            first = int(m.group(1))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(size - first))
        self.end_headers()
        with open(path, "rb") as f:
            f.seek(first)
            if fault("lfs-wrong"):
                return self.wfile.write(b"\0" * (size - first))
            if fault("lfs-cut"):
                self.wfile.write(f.read((size - first) // 2))
                self.close_connection = True
                return None
            return shutil.copyfileobj(f, self.wfile)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        pass


os.makedirs(LFS, exist_ok=True)
os.makedirs(os.path.join(ROOT, "faults"), exist_ok=True)
wanted = int(open(PORTFILE).read()) if os.path.exists(PORTFILE) else 0
server = Server(("127.0.0.1", wanted), Handler)
PORT, SCHEME = server.server_address[1], "http"
if len(sys.argv) > 5:
    SCHEME = "https"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[4], sys.argv[5])
    server.socket = context.wrap_socket(server.socket, server_side=True)
with open(PORTFILE + ".new", "w") as f:
    f.write(f"{PORT}\n")
os.rename(PORTFILE + ".new", PORTFILE)
server.serve_forever()
