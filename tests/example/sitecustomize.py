# SPDX-License-Identifier: Apache-2.0
"""Python imports this when it starts, where a test has put this folder into PYTHONPATH: see stand_in.py."""

import stand_in

stand_in.install()
