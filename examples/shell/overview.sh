#!/bin/sh
# Reads the overview, resolves an open ticket through the control API, and shows that the figures moved.
#     cstar-mock exec -- sh examples/shell/overview.sh
set -eu

: "${CSTAR_ADMIN_URL:?run me with: cstar-mock exec -- sh examples/shell/overview.sh}"
team="$CSTAR_ADMIN_URL/teams/$CSTAR_TEAM_ID"

# Prints one value of the JSON on standard input: field data tickets open
field() {
    python3 -c '
import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1:]:
    value = value[int(name) if isinstance(value, list) else name]
print(value)' "$@"
}

api() {
    curl --noproxy '*' --silent --show-error --fail -H "Authorization: Bearer $CSTAR_API_KEY" \
        "$CSTAR_BASE_URL/api/v1/teams/$CSTAR_TEAM_ID/analytics/$1"
}

admin() {
    curl --noproxy '*' --silent --show-error --fail -H "Authorization: Bearer ${CSTAR_ADMIN_TOKEN:-}" \
        -H "Content-Type: application/json" "$@"
}

before=$(api overview)
echo "$before" | python3 -m json.tool

ticket=$(admin "$team/tickets?environment=live&status=open&limit=1" | field items 0 id)
admin -X PATCH "$team/tickets/$ticket?environment=live" -d '{"status": "resolved"}' >/dev/null
after=$(api overview)

open_before=$(echo "$before" | field data tickets open)
open_after=$(echo "$after" | field data tickets open)
echo "$ticket is resolved: $open_before open tickets before, $open_after now"
if [ "$open_after" -ne $((open_before - 1)) ]; then
    echo "the figure did not move" >&2
    exit 1
fi
