# SPDX-License-Identifier: Apache-2.0
"""From the laptop to Google Cloud: bundle and images, checks before and after, deploy, destroy, what it costs."""
