# SPDX-License-Identifier: Apache-2.0
"""What is compared, a module each: `main()` imports, loads the model, and serves one file."""
