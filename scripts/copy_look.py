"""Copy the dashboard's tokens, parts and pictures to the jobs page, as the two packages never import each other.

Run this after a change of the originals; a test compares the copies with them.
"""

import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent
ORIGINALS = ROOT / "emulator" / "http" / "dashboard" / "static"
COPIES = ROOT / "jobs_core" / "monitoring" / "static"
NAMES = (
    "dom.js", "format.js", "theme.js", "parts/picture.js",
    "style/base.css", "style/frame.css", "style/parts.css", "style/views.css",
)  # fmt: skip


def main() -> None:
    for name in NAMES:
        (COPIES / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ORIGINALS / name, COPIES / name)
    print(f"{len(NAMES)} files copied to {COPIES.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
