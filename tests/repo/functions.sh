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
