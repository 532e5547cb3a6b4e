"""Faults of a machine that a test can only pretend: python tests/hazards.py (as root, for mounts)

A disk is filled, a store is mounted read-only or truncated while it is read, and a training is
started twice at once. What fails must say so in one line and leave nothing behind; once the fault
is mended the same command must give the bits of an undisturbed run. Not part of `make test`.
"""
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from campaign import finish, keep, left_over, new_folder, photos, prepare, results, start, train

long = 1800 # seconds until a run counts as hanging


def mount(*args):
    subprocess.run(['mount', *map(str, args)], check=True)


@contextlib.contextmanager
def mounted(folder, *args): # a folder that is a mount of its own within the block
    folder.mkdir(exist_ok=True)
    mount(*args, folder)
    try:
        yield
    finally:
        subprocess.run(['umount', '-l', str(folder)], check=True)


def outcome(job, folder): # how it ended: '', or the last line that it said
    process = start(job, folder)
    error = process.communicate(timeout=long)[1]
    return error.strip().split('\n')[-1] if process.returncode else ''


def compared(said, job, folder, expected): # after the fault; the same command once more
    finish(job, folder, long)
    return dict(said=said, same=results(folder) == expected, left=left_over(folder))


def full_disk(job, part, room): # `part`: where it writes; `room`: MB that are too few
    def hazard(home, expected):
        folder = new_folder(home, job)
        with mounted(folder/part, '-t', 'tmpfs', '-o', f'size={room}', 'tmpfs'):
            if part == 'data':
                (folder/'data/streets').symlink_to(home/'streets')
            said = outcome(job, folder)
            mount('-o', 'remount,size=1g', folder/part)
            return compared(said, job, folder, expected[job])
    return hazard


def read_only(home, expected): # a training only reads the store; a preparation must say it cannot
    folder = new_folder(home, train)
    with mounted(folder/'data', '--bind', folder/'data'):
        mount('-o', 'remount,ro,bind', folder/'data')
        said = outcome(prepare, folder)
        return compared(said, train, folder, expected[train])


def truncated(home, expected): # while it is read; then the store is whole again
    folder = new_folder(home, train)
    store, whole = home/'streets', home/'whole'
    shutil.copytree(store, whole)
    process = start(train, folder)
    time.sleep(6)
    os.truncate(store/'train_images.npy', 100_000)
    process.communicate(timeout=long)
    said = outcome(train, new_folder(home, train))
    shutil.rmtree(store)
    whole.rename(store)
    return compared(said, train, folder, expected[train])


def twice(home, expected): # two trainings in one folder
    folder = new_folder(home, train)
    both = [start(train, folder) for _ in range(2)]
    said = [p.communicate(timeout=long)[1].strip().split('\n')[-1] for p in both if p.wait(long)]
    return compared(said, train, folder, expected[train])


if __name__ == '__main__':
    home = Path(tempfile.mkdtemp(prefix='hazards'))
    photos(home)
    hazards = {'full disk, training': full_disk(train, 'runs', '1m'),
               'full disk, preparation': full_disk(prepare, 'data', '1m'),
               'full disk, results': full_disk(keep, 'figures', '16k'),
               'read-only store': read_only, 'truncated store': truncated, 'twice': twice}
    expected = {}
    for job in (train, prepare, keep):
        folder = new_folder(home, job)
        finish(job, folder, long)
        expected[job] = results(folder)
    for name, hazard in hazards.items():
        print(json.dumps(dict(hazard=name) | hazard(home, expected)), flush=True)
    shutil.rmtree(home)
