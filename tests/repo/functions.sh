# Sourced by the tests of repositories, after tests/functions.sh. Servers listen on free ports
# of 127.0.0.1 and are ended by their process id.
# make_ca: $work/ca.pem, and $work/cert.pem with $work/key.pem for localhost and 127.0.0.1
make_ca () {
  requires openssl version
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
    -subj "/CN=capstan test CA" -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=localhost" \
    -keyout "$work/key.pem" -out "$work/cert.csr" 2>/dev/null
  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >"$work/cert.ext"
  openssl x509 -req -in "$work/cert.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -days 2 \
    -CAcreateserial -extfile "$work/cert.ext" -out "$work/cert.pem" 2>/dev/null
}
# start_liar NAME DIR [CERT KEY]: $work/NAME.log has its requests; the port is in $port
start_liar () {
  requires python3 -c 'import http.server, ssl'
  liar=$1; shift
  : >"$work/$liar.log"
  python3 "$top_srcdir/tests/repo/lying-server.py" "$1" "$work/$liar.port" "$work/$liar.log" \
    ${2:+"$2" "$3"} 2>"$work/$liar.err" &
  cleanup "kill $!"
  wait_for 20 test -s "$work/$liar.port"
  port=$(cat "$work/$liar.port")
}
# free_port: prints one that nobody listens on now
free_port () {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
# start_nginx NAME <SERVERS: `server' blocks, in which @PORT@ and @TLS@ are free ports ($port and
# $tls_port from then on). $work/NAME.access is its log: method, path, status, range, protocol.
start_nginx () {
  PATH=$PATH:/usr/sbin
  requires nginx -v
  requires python3 -c 'import socket'
  nginx=$1
  cat >"$work/$nginx.servers"
  for attempt in 1 2 3 4 5; do
    port=$(free_port) tls_port=$(free_port)
    {
      echo "daemon off; pid $work/$nginx.pid; error_log $work/$nginx.error;"
      [ "$(id -u)" != 0 ] || echo "user root;"
      echo "events {} http { default_type application/octet-stream; client_max_body_size 0;"
      for t in client_body proxy fastcgi uwsgi scgi; do echo "${t}_temp_path $work/$nginx.$t;"; done
      echo "log_format t '\$request_method \$uri \$status \$http_range \$server_protocol';"
      echo "access_log $work/$nginx.access t; sendfile on;"
      sed "s/@PORT@/$port/g; s/@TLS@/$tls_port/g" "$work/$nginx.servers"
      echo "}"
    } >"$work/$nginx.conf"
    nginx -p "$work" -c "$work/$nginx.conf" 2>"$work/$nginx.start" &
    nginx_pid=$!
    while kill -0 $nginx_pid 2>/dev/null && [ ! -s "$work/$nginx.pid" ]; do sleep 0.05; done
    if kill -0 $nginx_pid 2>/dev/null; then
      cleanup "kill $nginx_pid 2>/dev/null"
      return
    fi
  done
  cat "$work/$nginx.start" "$work/$nginx.error" >&2
  fail "nginx does not start"
}
# make_image FILE MIB: a raw disk with a boot sector, of bytes that do not compress
make_image () {
  head -c "$2"M /dev/urandom >"$1"
  printf '\125\252' | dd of="$1" bs=1 seek=510 conv=notrunc 2>/dev/null
}
# readme_block LANGUAGE TEXT [SED]: into $work/block, the code block of README.md of that language
# which has the text, as SED changes it
readme_block () {
  awk -v lang="$1" -v text="$2" '
    /^```/ { if (inside) { if (index (s, text)) { printf "%s", s; exit } inside = 0 } else { inside = ($0 == "```" lang); s = "" } next }
    inside { s = s $0 "\n" }' "$top_srcdir/README.md" | sed "s|~/.capstan|$CAPSTAN_ROOT|g; ${3:-}" >"$work/block"
  [ -s "$work/block" ] || fail "README.md has no block of $1 with $2"
}
