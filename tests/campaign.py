"""Kills at random moments: python tests/campaign.py --kills 40

Trainings (in one process and in two), preparations, keeping results and `dcgan-figures` are killed
with SIGKILL at random moments and started again. Counted is what must not happen: work that is
lost, bits that differ from an undisturbed run's, files that are left over, and runs that do not
end. Not part of `make test`.
"""
import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from dcgan.data.store import load, write_set
from dcgan.gan.checkpoints import read_training
from dcgan.tools.kept import faults_of

root = Path(__file__).parents[1]
scripts = Path(sys.executable).parent
small = '--width=0.0625 --batch=16 --epochs=3 --save_every=1 --device=cpu --precision=fp32'.split()
keeping = '''
import matplotlib.pyplot as plt
from dcgan.base.core import Run
run = Run('kept', dict(scale='smoke'))
for k in range(40):
    run.keep_table([dict(k=k)], 'table', 'A table.')
    fig, ax = plt.subplots(figsize=(2, 2))
    ax.plot([k, 1])
    run.keep_figure(fig, 'figure', 'A figure.')
'''


def train(folder):
    return [scripts/'dcgan-train', 'svhn32', '--dataset=streets', *small]


def train_in_two(folder):
    launcher = '-m torch.distributed.run --standalone --nproc-per-node=2 --no-python'.split()
    return [sys.executable, *launcher, *train(folder), '--patience=60']


def prepare(folder):
    return [scripts/'dcgan-prepare', 'pets', f'--source={folder.parent}/photos', '--workers=2',
            '--size=32']


def keep(folder):
    return [sys.executable, '-c', keeping]


def figures(folder):
    return [scripts/'dcgan-figures', '--scale=smoke']


def position(folder):  # of a training, in (epoch, step); an error if its checkpoint is damaged
    for path in folder.glob('runs/*/checkpoint.safetensors'):
        record = read_training(path)[1]
        return record['epoch'], record['step']
    return 0, 0


def without_times(path):  # the bytes of a file, but for when and at which commit it was made
    if path.suffix == '.safetensors' and 'runs' in path.parts:
        return [(k, v.numpy().tobytes()) for k, v in sorted(read_training(path)[0].items())]
    return re.sub(rb'"(mtime_ns|seconds|commit)": [^,}]+', b'', path.read_bytes())


def results(folder):  # path → what must be the same after any number of kills
    kinds = dict(runs='*/checkpoint.safetensors', data='pets/*', figures='**/*.*')
    paths = [p for part, kind in kinds.items() for p in (folder/part).glob(kind)]
    return {str(p.relative_to(folder)): without_times(p) for p in sorted(paths)
            if p.suffix != '.ipynb' and p.is_file()}


def left_over(folder):  # what nobody will read
    found = [p for p in folder.rglob('*') if re.search(r'\.\d+_', p.name) or p.suffix == '.partial']
    return [str(p.relative_to(folder)) for p in found]


def new_folder(home, job):  # where a job works
    folder = Path(tempfile.mkdtemp(dir=home, prefix=job.__name__))
    (folder/'data').mkdir()
    (folder/'data/streets').symlink_to(home/'streets')
    if job is figures:
        shutil.copytree(root/'dcgan', folder/'dcgan')
        shutil.copy(root/'settings.ini', folder)
        (folder/'nbs').mkdir()
        shutil.copy(root/'nbs/lib/gan/nets.ipynb', folder/'nbs')
    return folder


def start(job, folder):
    roots = {f'DCGAN_{name}': str(folder/name.lower()) for name in ('DATA', 'RUNS', 'FIGURES')}
    env = os.environ | roots | dict(OMP_NUM_THREADS='1', PYTHONPATH=str(root))
    return subprocess.Popen([*map(str, job(folder))], cwd=folder, env=env, text=True,
                            start_new_session=True, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE)


def finish(job, folder, limit):  # seconds; a `TimeoutError` where it does not end
    began, process = time.monotonic(), start(job, folder)
    try:
        error = process.communicate(timeout=limit)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        raise TimeoutError from None
    if process.returncode:
        raise ChildProcessError(error[-500:])
    return time.monotonic() - began


def kill(job, folder, after, limit, draw):  # did it hit? the rest must end by itself
    process = start(job, folder)
    try:
        process.wait(after)
        return False
    except subprocess.TimeoutExpired:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]
        draw.choice(family).kill()
    if psutil.wait_procs(family, limit)[1]:
        os.killpg(process.pid, 9)
        raise TimeoutError
    return True


def attempt(job, home, expected, usual, draw):  # kills; what went wrong
    folder, wrong, kills, before = new_folder(home, job), Counter(), 0, (0, 0)
    limit = 120 + 10 * usual
    try:
        for _ in range(draw.randint(1, 3)):
            kills += kill(job, folder, draw.uniform(.3, 1) * usual, limit, draw)
            wrong['lost'] += position(folder) < before
            before = position(folder)
        finish(job, folder, limit)
        found = results(folder)
        wrong['differing'] += found != expected
        wrong['differing'] += any(faults_of(p, None)[1:] for p in folder.glob('figures/*.json'))
    except TimeoutError:
        wrong['hanging'] += 1
    except (ValueError, OSError) as e:
        print(f'{job.__name__}: {e}')
        wrong['lost'] += 1
    wrong['left over'] += len(left_over(folder))
    if +wrong:
        print(f'{job.__name__}: {dict(+wrong)} in {folder}: {left_over(folder)}', flush=True)
    else:
        shutil.rmtree(folder)
    return kills, wrong


def photos(home):  # 400 images of two classes, and a set of their own for trainings
    rng = np.random.default_rng(0)
    for k in range(400):
        path = home/'photos'/'ab'[k % 2]/f'{k}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(256, size=(96, 96, 3), dtype=np.uint8)).save(path)
    images = load('street_digits', n=256, size=32)
    write_set('streets', (images.images, images.labels), root=home)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--kills', type=int, default=200)
    parser.add_argument('--seed', type=int, default=0)
    jobs = dict(train=train, two=train_in_two, prepare=prepare, keep=keep, figures=figures)
    parser.add_argument('--jobs', nargs='+', choices=jobs, default=[*jobs])
    a = parser.parse_args()
    home, draw = Path(tempfile.mkdtemp(prefix='campaign')), random.Random(a.seed)
    photos(home)
    for name in a.jobs:
        job, kills, wrong = jobs[name], 0, Counter()
        folder = new_folder(home, job)
        usual, expected = finish(job, folder, 1800), results(folder)
        while kills < a.kills / len(a.jobs):
            hit, found = attempt(job, home, expected, usual, draw)
            kills, wrong = kills + hit, wrong + found
        counts = {k: wrong[k] for k in ('lost', 'differing', 'left over', 'hanging')}
        print(json.dumps(dict(job=name, kills=kills, **counts)), flush=True)
    print(f'what went wrong lies in {home}' if any(home.glob('*_*')) else 'nothing is left')
