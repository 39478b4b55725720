#!/usr/bin/env bash
# Checks what packaging/monitoring has: the alert rules and their tests, and the
# dashboard's queries against the metrics of a real daemon; and these metrics by
# the conventions for Prometheus.
set -euo pipefail
cd "$(dirname "$0")/.."
promtool=$(.ci/promtool)
work=$(mktemp -d)
daemon=
trap '[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true; rm -rf "$work"' EXIT

"$promtool" check rules packaging/monitoring/espgate-alerts.yml
"$promtool" test rules packaging/monitoring/espgate-alerts.test.yml

cargo build -q --locked
espgate=${CARGO_TARGET_DIR:-target}/debug/espgate
export ESPGATE_DATA_DIR=$work/data ESPGATE_CONFIG=$work/espgate.toml
printf '[http]\nlisten = ["127.0.0.1:0"]\n[serial]\ndiscover = "off"\n' >"$ESPGATE_CONFIG"

start() {
    "$espgate" serve 2>"$work/journal" &
    daemon=$!
    for _ in $(seq 100); do
        [ -S "$ESPGATE_DATA_DIR/run/control.sock" ] && "$espgate" status >/dev/null 2>&1 && break
        kill -0 "$daemon" || { cat "$work/journal"; exit 1; }
        sleep 0.1
    done
    url=https://localhost:$(sed 's/.*://' "$ESPGATE_DATA_DIR/run/https-address")
}

stop() {
    kill "$daemon"
    wait "$daemon"
    daemon=
}

get() { curl -sSf --cacert "$ESPGATE_DATA_DIR/tls/ca.pem" "$@"; }

start
"$espgate" models add lamp
token=$("$espgate" devices add k1 --model lamp --json | jq -r .token)
# an image as the checks want it: header, description, nothing else
python3 - "$work/lamp.bin" <<'PY'
import os, struct, sys
image = bytearray(20_000)
image[0], image[12:14] = 0xE9, struct.pack("<H", 0)
image[32:36] = struct.pack("<I", 0xABCD5432)
image[48:53] = b"1.2.3"
image[300:] = os.urandom(len(image) - 300)
open(sys.argv[1], "wb").write(image)
PY
"$espgate" firmware add "$work/lamp.bin" --model lamp
get -H "Authorization: Bearer $token" "$url/api/iot/firmware-version?running=1.2.3" >/dev/null
get -H "Authorization: Bearer $token" --data-binary "@$ESPGATE_SHARED_DATA/coredumps/cases/esp32.raw" \
    "$url/api/iot/coredump?chip=esp32&firmware_version=1.2.3" >/dev/null
# the fleet is counted at the start, and every minute
stop
start
for _ in $(seq 100); do
    get "$url/metrics" >"$work/metrics"
    ! grep -q '^espgate_fleet_metrics_age_seconds ' "$work/metrics" || break
    sleep 0.1
done
grep -q '^espgate_active_build{model="lamp",version="1.2.3",build="[0-9a-f]\{8\}"} 1$' "$work/metrics"
stop

# promtool reads the older text format, in which a counter's lines have its whole name
awk 'NR == FNR { if ($2 == "TYPE" && $4 == "counter") counter[$3] = 1; next }
     $1 == "#" && $3 in counter { $3 = $3 "_total" } { print }' \
    "$work/metrics" "$work/metrics" >"$work/metrics.txt"
"$promtool" check metrics <"$work/metrics.txt"

# the dashboard's queries as rules, for promtool
python3 - packaging/monitoring/espgate-dashboard.json "$work/metrics.txt" "$work/queries.json" <<'PY'
import json, re, sys

dashboard = json.load(open(sys.argv[1]))
shown = re.findall(r"^([a-z_]+)[{ ]", open(sys.argv[2]).read(), re.M)

def all_of(key, value):
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        value = list(value.values())
    for inner in value if isinstance(value, list) else []:
        yield from all_of(key, inner)

sources = [source for source in all_of("datasource", dashboard)]
assert sources and all(source["uid"] == "${datasource}" for source in sources), sources
panels = [panel["id"] for panel in dashboard["panels"]]
assert len(set(panels)) == len(panels), panels
queries = list(all_of("expr", dashboard))
variables = [v["definition"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
names = set(re.findall(r"espgate_[a-z_]+", " ".join(queries + variables)))
assert len(queries) > 20 and names, queries
missing = names - set(shown)
assert not missing, f"not in the metrics: {sorted(missing)}"
variables = set(re.findall(r"\$\w+", " ".join(queries))) - {"$instance", "$model"}
assert not variables, variables
rules = [{"record": f"query:{at}", "expr": expr} for at, expr in enumerate(queries)]
json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, open(sys.argv[3], "w"))
print(f"dashboard: {len(queries)} queries, {len(names)} metrics")
PY
"$promtool" check rules "$work/queries.json"
