#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A Dataflow worker's container begins here, with the arguments of boot. Dataflow mounts a folder of root's for what
# boot is to stage; we are not root. Of a flag that is given twice, boot takes the last.
exec /opt/apache/beam/boot "$@" --semi_persist_dir=/tmp
