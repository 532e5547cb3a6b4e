"On the GPU machine: wheels, data and environment, in a folder that stays while the machine does"
import os
import shutil
import subprocess
import sys
import time

folders = ('logs', 'store', 'runs', 'figures')


def pip(*args):
    "Run pip without a network; what it says on failure, else ''"
    command = [sys.executable, '-m', 'pip', 'install', '-q', '--no-index', '--no-deps', *args]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stderr[-500:] if done.returncode else ''


def install(bundle, keep):
    "Put the wheels into a folder of their own"
    for name in folders:
        (keep/name).mkdir(parents=True, exist_ok=True)
    wheels, site = sorted(map(str, bundle.glob('whl/*.whl'))), keep/'site'
    if wheels and not site.exists():
        shutil.rmtree(keep/'site.part', ignore_errors=True)  # of a call that was killed
        said = pip('--no-compile', '--no-cache-dir', '--target', str(keep/'site.part'), *wheels)
        if said:
            raise SystemExit(f'the wheels do not fit this Python: {said}')
        (keep/'site.part').rename(site)
    if site.exists():
        sys.path.insert(0, str(site))


def copy_missing(source, to):
    "Copy a file or folder as a whole; what is there already may be newer, and stays"
    if to.exists():
        return
    part = to.with_name(f'.{to.name}.part')
    shutil.rmtree(part, ignore_errors=True)
    to.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copy)(source, part)
    part.rename(to)


def carry(bundle, keep, scale):
    "Take in finished trainings and the authors' networks, if the bundle has them"
    for source, to in ((bundle/'runs', keep/'runs'/scale), (bundle/'weights', keep/'weights')):
        for path in source.glob('*'):
            copy_missing(path, to/path.name)


def environment(bundle, keep, out, scale):
    "The environment of all parts; each scale has trainings of its own"
    path = [str(p) for p in (keep/'site', bundle.parent) if p.exists()]
    env = os.environ | dict(
        PYTHONPATH=os.pathsep.join([*path, os.environ.get('PYTHONPATH', '')]).rstrip(os.pathsep),
        DCGAN_DATA=str(keep/'store'), DCGAN_RUNS=str(keep/'runs'/scale),
        DCGAN_FIGURES=str(keep/'figures'), MPLBACKEND='agg', PYTHONWARNINGS='ignore', OUT=str(out))
    if (keep/'weights').exists():
        env['DCGAN_WEIGHTS'] = str(keep/'weights')
    if (bundle/'commit').exists():  # the tree travels without .git
        env['DCGAN_COMMIT'] = (bundle/'commit').read_text().strip()
    return env


class Store:
    "Data sets that the bundle carries, unpacked side by side"

    def __init__(self, bundle, keep):
        self.data, self.folder = bundle/'data', keep/'store'
        wanted = self.data/'sets'
        names = wanted.read_text().split() if wanted.exists() else []
        self.coming = {n: self.unpack(n) for n in names if not self.has(n)}

    def has(self, name):
        return (self.folder/name/'dataset.json').exists()

    def unpack(self, name):
        "Start to unpack a set; its dataset.json is written last"
        tar = self.data/f'{name}.tar.gz'
        if tar.exists():
            command = [sys.executable, '-m', 'tarfile', '-e', str(tar), str(self.folder)]
        else:
            command = [sys.executable, str(self.data/'unpack.py'), str(self.folder), name]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def wait(self, until):
        "Wait for them, and name those that failed; a later call unpacks anew what is not there"
        failed = []
        for name, process in self.coming.items():
            try:
                if process.wait(max(0, until - time.time())):
                    failed.append(name)
            except subprocess.TimeoutExpired:
                process.kill()
        return failed
