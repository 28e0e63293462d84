# SPDX-License-Identifier: Apache-2.0
"""Everything that runs in the background, on workers."""
