# SPDX-License-Identifier: Apache-2.0
"""Terraform, flat, in files named by what they hold; `deploy/` drives it."""
