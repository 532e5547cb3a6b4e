"A copy of the repository, for what exports or builds into the folder that it runs in"

import shutil
import subprocess
from pathlib import Path

root = Path(__file__).parents[1]


def copy_repository(to):
    "Copy what git tracks, and what it would if it were added, to a new folder"
    command = ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split('\0')):
        if (root / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, to / name)
    return to
