#!/usr/bin/env bash
# Builds the image and starts every profile of docker-compose.yml, for real: `cargo xtask containers`.
#
# Not a part of `cargo xtask test`: it needs root, a Docker daemon, docker-compose (1.29 or 2) and
# debootstrap (Debian: docker.io docker-compose debootstrap), and half an hour, since the image compiles a
# release. bases.sh makes those base images that are not there: pull them first where a registry of
# images can be reached, and remove the made ones afterwards where they could be taken for those.
#
# BUSWIRE_BINARY=PATH puts a binary of this machine into the image in place of compiling one: minutes,
# and everything but the build stages is tested.
set -euo pipefail
cd "$(dirname "$0")/../.."
export COMPOSE_PROJECT_NAME=buswire-test
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0

if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
one() { "${compose[@]}" --profile one "$@"; }
demo() { "${compose[@]}" --profile demo "$@"; }
scale() { "${compose[@]}" --profile scale "$@"; }
all() { "${compose[@]}" --profile one --profile demo --profile scale "$@"; }

step() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*"; exit 1; }
# until_true WHAT SECONDS COMMAND…
until_true() {
    local what=$1 end=$((SECONDS + $2))
    until "${@:3}" >/dev/null 2>&1; do
        ((SECONDS < end)) || fail "$what, after $2 s"
        sleep 0.2
    done
    echo "ok: $what"
}
healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$1")" = healthy ]; }
is() {
    [ "$2" = "$3" ] || fail "$1: $2, not $3"
    echo "ok: $1: $3"
}
# Whether gateway NUMBER has answered a post since it was started.
used() { curl --silent "http://localhost:909$1/metrics" | grep -q '^buswire_http_requests_total{method="POST",status="2xx"}'; }
container() { all ps -q "$1"; }
exit_code() { docker inspect --format '{{.State.ExitCode}}' "$1"; }
# A command of the administration, in the container $gateway, with the token of the file $token.
buswire() { docker exec "$gateway" buswire "$@" --token-file "$token"; }
member() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

cleanup() {
    local result=$?
    ((result == 0)) || all logs --tail 20 || true
    all down --volumes --timeout 5 >/dev/null 2>&1 || true
}
trap cleanup EXIT

step "base images"
integration-tests/containers/bases.sh

step "the image"
# The network of this machine, wherever its mirrors are.
if [ -n "${BUSWIRE_BINARY:-}" ]; then
    docker build --network host --target runtime --tag buswire-runtime . >/dev/null
    context=$(mktemp -d)
    cp "$BUSWIRE_BINARY" "$context/buswire"
    echo '{"components": []}' >"$context/sbom.json"
    # The last stage as it is, with the binary from here.
    { echo "FROM buswire-runtime"; sed '1,/^FROM runtime$/d' Dockerfile; } \
        | sed -e '/^COPY --from=build .*sbom/c COPY sbom.json /usr/share/doc/buswire/' \
            -e '/^COPY --from=build/c COPY buswire /usr/local/bin/buswire' >"$context/Dockerfile"
    docker build --network none --tag buswire:local "$context" >/dev/null
    rm -rf "$context"
else
    docker build --network host --tag buswire:local .
fi
docker image inspect --format 'size: {{.Size}} bytes, user: {{.Config.User}}' buswire:local
is "user" "$(docker image inspect --format '{{.Config.User}}' buswire:local)" 10001:10001
sbom=$(docker run --rm --entrypoint cat buswire:local /usr/share/doc/buswire/sbom.json)
if [ -z "${BUSWIRE_BINARY:-}" ]; then
    python3 -c '
import json, sys
sbom = json.load(sys.stdin)
urls = [component.get("purl", "") for component in sbom["components"]]
count = lambda kind: sum(url.startswith("pkg:" + kind) for url in urls)
print("ok: SBOM: CycloneDX", sbom["specVersion"], "crates:", count("cargo"), "packages of Debian:", count("deb"))
assert count("cargo") > 200 and any(url.startswith("pkg:deb/debian/libzmq5@") for url in urls)
' <<<"$sbom"
fi
docker run --rm buswire:local --version

step "profile one"
one up --detach --no-build
gateway=$(container gateway)
until_true "the health check says healthy" 60 healthy "$gateway"
is "uid" "$(docker exec "$gateway" id -u)" 10001
docker exec "$gateway" sh -c 'touch /usr/local/bin/x' 2>/dev/null && fail "the root can be written"
echo "ok: the root is read-only"
is "what it may do" "$(docker exec "$gateway" sed -n 's/^CapEff:\t//p' /proc/1/status)" 0000000000000000
token=/var/lib/buswire/admin.token
buswire bus create shop.example
buswire message publish --bus shop.example --channel c --type order/new --sticky --payload '{"n":1}'
kept() { buswire message read --scope bus:shop.example | grep -c '"payload":{"n":1}'; }
is "messages" "$(kept)" 1
SECONDS=0
docker stop "$gateway" >/dev/null
is "exit code of docker stop, after $SECONDS s" "$(exit_code "$gateway")" 0
one down
one up --detach --no-build
gateway=$(container gateway)
until_true "healthy again after down and up" 60 healthy "$gateway"
is "messages that the volume kept" "$(kept)" 1
docker kill --signal KILL "$gateway" >/dev/null
docker start "$gateway" >/dev/null
until_true "healthy again after kill -9" 60 healthy "$gateway"
is "messages after kill -9" "$(kept)" 1
one down --volumes

step "profile demo"
demo up --detach --no-build
until_true "the demo page is served" 60 curl --fail --silent http://localhost:8080/demo/
docker logs "$(container demo)"
demo stop
is "exit code of the demo" "$(exit_code "$(container demo)")" 0
demo down --volumes
docker run --rm --read-only --tmpfs /tmp --cap-drop ALL buswire:local demo --once >/dev/null
echo "ok: demo --once"

step "profile scale"
scale up --detach --no-build
until_true "the proxy passes requests on" 90 curl --fail --silent http://localhost:8080/.well-known/host-meta
gateway=$(container gateway1)
token=/run/secrets/admin.token
echo "the demo on the Redis of this profile:"
docker run --rm --read-only --tmpfs /tmp --cap-drop ALL --network "${COMPOSE_PROJECT_NAME}_default" \
    --volume "${COMPOSE_PROJECT_NAME}_secrets:/run/secrets:ro" --env BUSWIRE_STORE__URL=redis://redis:6379 \
    --env BUSWIRE_STORE__REDIS__PASSWORD_FILE=/run/secrets/redis.password \
    --env BUSWIRE_BELAY__KEYS_FILE=/run/secrets/belay.keys buswire:local demo --once
buswire bus create shop.example --max-messages 1000000
grant() { buswire cap grant "$1" --target '{"bus":"shop.example","channel":"c"}' --output json | member cap; }
publish=$(grant bus.publish)
read=$(grant bus.read)
request() {
    python3 -c '
import json, sys, urllib.parse
method, url, body = sys.argv[1:]
print(json.dumps({"method": method, "path": urllib.parse.urlsplit(url).path, "body": body, "expect": 200,
                  "headers": {"Content-Type": "application/json"} if body else {}}))' "$@"
}
load() {
    coproc LOAD { python3 integration-tests/py/steady_load.py localhost:8080 4 \
        "$(request POST "$publish" '{"value":{"type":"order/new","payload":1}}')" "$(request GET "$read" '')"; }
    read -r _started <&"${LOAD[0]}"
}
ended() {
    echo stop >&"${LOAD[1]}"
    read -r report <&"${LOAD[0]}"
    # Paths are links: only the methods are shown.
    sed -E 's#(GET|POST) /cap/[^" :]*#\1#g' <<<"$report"
}
load
echo "under load, each gateway is restarted in turn:"
for number in 1 2 3; do
    scale restart "gateway$number" 2>/dev/null
    until_true "gateway$number is healthy again" 60 healthy "$(container "gateway$number")"
    until_true "the proxy uses it" 20 used "$number"
done
ended
is "failed requests of the rolling restart" "$(member failed <<<"$report")" 0
load
docker kill --signal KILL "$(container gateway2)" >/dev/null
echo "gateway2 was killed"
ended
echo "requests in flight that were lost with it: $(member failed <<<"$report")"
load
sleep 3 # So long is the load, not the wait for anything.
ended
is "failed requests while it is gone" "$(member failed <<<"$report")" 0
docker start "$(container gateway2)" >/dev/null
gateway=$(container gateway2)
until_true "gateway2 is back" 60 healthy "$gateway"
before=$(buswire message read --scope bus:shop.example | wc -l)
scale down
scale up --detach --no-build
until_true "the proxy passes requests on after down and up" 90 curl --fail --silent http://localhost:8080/.well-known/host-meta
gateway=$(container gateway3)
is "messages after down and up" "$(buswire message read --scope bus:shop.example | wc -l)" "$before"
# A worker at gateway1, asked for through each gateway, and through the proxy from this machine.
docker exec --detach "$(container gateway1)" buswire mdp cmd-service greet -- printf 'Hello, %s.'
for name in gateway1 gateway2 gateway3; do
    is "answer of a service through $name" \
        "$(docker exec "$(container "$name")" buswire mdp request greet Ada --timeout 20000)" "Hello, Ada."
done
is "answer of a service through the proxy" \
    "$(docker run --rm --network host --entrypoint buswire buswire:local \
        mdp request greet Ada --port 5555 --timeout 20000)" "Hello, Ada."
scale stop
for name in gateway1 gateway2 gateway3 redis proxy; do
    is "exit code of $name" "$(exit_code "$(container $name)")" 0
done
scale down --volumes

printf '\neverything holds\n'
