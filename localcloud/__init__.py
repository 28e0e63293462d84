# SPDX-License-Identifier: Apache-2.0
"""The laptop's cloud: emulators, a local Eventarc and the two functions, started and stopped together."""
