# SPDX-License-Identifier: Apache-2.0
"""Drop a file in a bucket; a fitted, checked model is served.

The package that the functions, the jobs and the command line share. It imports none of them.
"""

__version__ = "0.1.0"
