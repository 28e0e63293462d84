# SPDX-License-Identifier: Apache-2.0
# A state, as `terraform state pull` prints it, in which functions and jobs that never became ready may be made anew:
# what infra/deploy/stillborn.py does, for Terraform's image, which has neither Python nor jq. Fails when there are none.

/^  "serial": / { match($0, /[0-9]+/); $0 = "  \"serial\": " substr($0, RSTART, RLENGTH) + 1 "," }
/^      "type": / { ours = /"google_cloud_run_v2_(service|job)"/ }
/^        [{]/ { tainted = 0 }
/^          "status": "tainted"/ { tainted = 1 }
ours && tainted && /^            "deletion_protection": true/ {
  sub(/true/, "false")
  released++
}
{ print }
END { exit !released }
