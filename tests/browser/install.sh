#!/bin/sh
# Makes sure that a Chromium is there for the browser tests. Never fails: without one they are skipped, and say so.
for browser in "$CHROMIUM" chromium chromium-browser google-chrome google-chrome-stable; do
    [ -n "$browser" ] && command -v "$browser" >/dev/null 2>&1 && exit 0
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "Installing Chromium for the browser tests …"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null && exit 0
fi
echo "No Chromium found: the browser tests will be skipped. Install one (Debian, Ubuntu: sudo apt-get install chromium;" >&2
echo "macOS: brew install --cask chromium) or name one in the environment variable CHROMIUM." >&2
