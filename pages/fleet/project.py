"""Not yet."""

from monitor.ui import blocks

blocks.guard()
