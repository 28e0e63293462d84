# SPDX-License-Identifier: Apache-2.0
"""The other servers: each as good as its documentation, and an hour of a good engineer's time, make it."""
