"""The page for those who come from TypeScript: its "before" runs as it stands, against the emulator."""

import os
import re
import subprocess
from pathlib import Path

from tests.bounds import HANG_SECONDS
from tests.node_packages import node_with_packages

_PAGE = Path(__file__).parent.parent.parent / "docs" / "from-typescript.md"
_PACKAGES = Path(__file__).parent / "javascript"


def test_the_job_as_it_was_before_is_published_verified_and_done(
    tenant: dict[str, str], tmp_path: Path
) -> None:
    node = node_with_packages(_PACKAGES)
    (before,) = re.findall(r"```js before\n(.*?)```", _PAGE.read_text(), re.DOTALL)
    (tmp_path / "before.mjs").write_text(before)
    (tmp_path / "node_modules").symlink_to(_PACKAGES / "node_modules")
    done = subprocess.run(
        [node, "before.mjs"],
        cwd=tmp_path,
        env={**os.environ, **tenant},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "sent to +4915112345678 for user 7\n"), done.stderr
