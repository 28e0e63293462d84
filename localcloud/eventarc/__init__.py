# SPDX-License-Identifier: Apache-2.0
"""A local Eventarc: storage notifications come in over Pub/Sub and go out as CloudEvents, at least once."""
