#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Whether a build of cloudbuild.yaml deploys: exit 0 when its trigger says so and it is the main branch's.
# What a build can do at all is the affair of its account: a pull request may change this file, its account only reads.
if [ "${_ACTION:-}" = deploy ] && [ "${BRANCH_NAME:-}" = "${_BRANCH:-main}" ]; then
  exit 0
fi
echo "left out: action ${_ACTION:-none} of branch ${BRANCH_NAME:-none}; only a deploy of ${_BRANCH:-main} changes anything"
exit 1
