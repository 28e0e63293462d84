# SPDX-License-Identifier: Apache-2.0
"""How fast Dropfit serves, beside the web server alone and the servers people write or install otherwise.

    make bench-serving                                  # about 9 minutes, on a machine that does nothing else
    make bench-serving ARGS='--only rounds --rounds 3'

One flights model, made by a local cloud from January's file, is served by every server; their answers are compared
before anything is measured. This package's `rivals` are the other servers.
"""
