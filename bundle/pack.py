"""What a GPU machine without a network needs: python bundle/pack.py [--to FOLDER] [A]

Without a copy's name, a folder with the project, wheels of all that it needs for the target's
Python, and every data set of the store; `./run` in it does the rest. A, B … are small copies for a
machine that has torch: they are put into .gpu/ of this project, which then travels. A list does
too: wheels,mnist. Each has scripts and the commit.
"""
import argparse
import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

here = Path(__file__).resolve().parent
root = here.parent
scripts = ('go', 'install.py', 'results.py', 'weights.py')
unused = {'debugpy', 'jedi', 'parso', 'widgetsnbextension', 'jupyterlab-widgets', 'watchdog',
          'tzdata'}  # what ipykernel and papermill ask for and no run imports
most = 64 * 2**20  # bytes that travel at once: the tree and the bundle
copies = dict(  # what each carries: wheels, the authors' networks, data sets
    A=('wheels', 'weights', 'mnist', 'cifar10'),
    B=('svhn', 'tiny_imagenet'),
    C=('places_bedroom',),
    D=('lfw',))
named = dict(mnist='MNIST', svhn='svhn_test10k', cifar10='cifar10',
             tiny_imagenet='tiny_imagenet_32', places_bedroom='places_bedroom_64', lfw='lfw_64')


def folder(variable, default=None):
    "The folder that an environment variable names, else a default"
    return Path(os.environ[variable]) if os.environ.get(variable) else default


def read_arguments():
    parser = argparse.ArgumentParser('pack', description=__doc__.split(':')[0])
    add = parser.add_argument
    add('part', nargs='?', help=f'{", ".join(copies)}, or a list such as wheels,mnist')
    add('--to', type=Path, default=root/'runs/bundle', help='the folder to write, without a part')
    add('--data', type=Path, default=folder('DCGAN_PACKED', root/'data'),
        help='packed sets with unpack.py ($DCGAN_PACKED), or a store')
    add('--weights', type=Path, default=folder('DCGAN_WEIGHTS'),
        help="the authors' released networks ($DCGAN_WEIGHTS); left out where not given")
    add('--runs', type=Path, nargs='*', default=[], help='finished trainings to take along')
    add('--python', default='3.12', help="the target's Python")
    add('--there', type=Path, help='a file that lists the packages that the target has; without a '
                                   'part none, else those of there.txt')
    return parser.parse_args()


def carried(part, data):
    "What a part, a list, or the whole carries: then all sets that are there"
    known = ['wheels', 'weights', *named]
    if not part:
        there = [n for n in named if (data/n/'dataset.json').exists() or (data/named[n]).exists()]
        print(f"sets: {', '.join(there) or 'none'}; not in {data}: "
              f"{', '.join(n for n in named if n not in there) or 'none'}")
        return ('wheels', 'weights', *there)
    names = copies.get(part) or tuple(part.split(','))
    unknown = [n for n in names if n not in known]
    if unknown:
        raise SystemExit(f"pack: unknown {unknown[0]!r}: one of {', '.join([*copies, *known])}")
    return names


def canonical(requirement):
    "A package's name without version, in the form that indexes compare"
    return re.sub(r'[-_.]+', '-', re.split(r'[<>=!~\[; ]', requirement)[0]).lower()


def platform(python):
    "Options of pip that ask for another machine's wheels: Linux on x86-64"
    tags = [f'manylinux_2_{n}_x86_64' for n in (28, 27, 24, 17, 12, 5)]
    tags += ['manylinux2014_x86_64', 'manylinux1_x86_64']
    return ['--only-binary=:all:', '--implementation', 'cp', '--python-version', python,
            *(f'--platform={tag}' for tag in tags)]


def resolve(wanted, python, has):
    "Requirements and what they need, but not what the target has: name → version here, or None"
    found, waiting, target = {}, list(wanted), dict(python_version=python, extra='')
    while waiting:
        name = canonical(waiting.pop())
        if name in found or name in has | unused:
            continue
        try:
            there = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # such as what only the target's Python needs
            found[name] = None
            continue
        found[name] = there.version.partition('+')[0]  # indexes know no local versions
        needs = map(Requirement, there.requires or [])
        waiting += [r.name for r in needs if not r.marker or r.marker.evaluate(target)]
    return found


def download(to, python, *args):
    "Run `pip download` for the target"
    command = [sys.executable, '-m', 'pip', 'download', '-qq', *platform(python), '-d', str(to)]
    subprocess.run([*command, *args], check=True)


def fetch_absent(to, python, names, pinned):
    "Wheels of packages that are not installed here, and of what they need in turn"
    print(f"not installed here, so pip chooses the version: {', '.join(names)}")
    (to/'pinned.txt').write_text('\n'.join(pinned))
    download(to, python, '-c', str(to/'pinned.txt'), *names)


def fetch_wheels(python, there):
    "The folder with wheels of what settings.ini asks for and the target lacks, downloaded once"
    to = root/f'runs/wheels-{python}'
    settings = configparser.ConfigParser(delimiters=['='])
    settings.read(root/'settings.ini')
    has = {canonical(p) for p in there.read_text().split()} if there else set()
    cfg = settings['DEFAULT']
    needed = [*cfg['requirements'].split(), *cfg['paper_requirements'].split()]
    asked = ' '.join([python, *sorted(needed), *sorted(has)])
    if (to/'asked').exists() and (to/'asked').read_text() == asked:
        return to
    shutil.rmtree(to, ignore_errors=True)
    lacking = resolve(needed, python, has)
    pinned = [f'{k}=={v}' for k, v in sorted(lacking.items()) if v]
    download(to, python, '--no-deps', *pinned)
    if absent := sorted(k for k, v in lacking.items() if not v):
        fetch_absent(to, python, absent, pinned)
    for wheel in to.glob('*.whl'):
        if canonical(wheel.name.split('-')[0]) in has | unused:
            wheel.unlink()
    (to/'asked').write_text(asked)
    return to


def pack_set(data, name, to):
    "Copy a packed set, or pack one of the store; dataset.json comes last"
    if (data/'unpack.py').exists():
        shutil.copy(data/'unpack.py', to)
        lossless = shutil.ignore_patterns('*lossless*')  # CIFAR-10's true pixels: 15 MB, not used
        shutil.copytree(data/named[name], to/named[name], ignore=lossless)
    elif (data/name/'dataset.json').exists():
        with tarfile.open(to/f'{name}.tar.gz', 'w:gz') as tar:
            for path in sorted((data/name).iterdir(), key=lambda p: p.name == 'dataset.json'):
                tar.add(path, f'{name}/{path.name}')
    else:
        raise SystemExit(f'pack: {name} is not in {data}: dcgan-prepare {name}, or --data FOLDER')


def pack_weights(source, to):
    "Copy the authors' discriminators, which Tables 1 and 2 measure"
    if source is None or not source.exists():
        print(f"weights: {source or 'not given'}: Tables 1 and 2 leave out the authors' networks")
        return
    for path in source.rglob('*discrim_params.jl_*.npy'):
        target = to/path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def git(*args):
    done = subprocess.run(['git', '-C', str(root), *args], capture_output=True, text=True)
    return done.stdout.strip()


def commit():
    "The commit of the sources, '+' if they differ; one that only takes away figures/ is skipped"
    head = git('log', '-1', '--format=%H', '--invert-grep', '--grep=^Without figures')
    changed = git('status', '--porcelain', '--', 'nbs', 'dcgan', 'settings.ini')
    return head[:12] + ('+' if changed else '')


def size(paths):
    return sum(p.stat().st_size for p in paths if p.is_file())


def tell_size(to):
    "Print what travels, and fail where it is too much for one copy"
    listed = git('ls-files', '-z', '-co', '--exclude-standard').split('\0')
    tree, own = size(root/name for name in listed if name), size(to.rglob('*'))
    figures = size(root/name for name in listed if name.startswith('figures/'))
    print(f'the tree {tree / 1e6:.1f} MB ({figures / 1e6:.1f} of them figures/), '
          f'the bundle {own / 1e6:.1f}, together {(tree + own) / 1e6:.1f} of {most / 1e6:.1f} MB')
    if tree + own > most:
        print('too much for one copy: see "Without figures" in bundle/README.md')


def fill(to, names, args):
    "Write .gpu: scripts, and what the names ask for; `commit` comes last"
    (to/'data').mkdir(parents=True)
    if 'wheels' in names:
        shutil.copytree(fetch_wheels(args.python, args.there), to/'whl')
    if 'weights' in names:
        pack_weights(args.weights, to/'weights')
    sets = [name for name in names if name in named]
    for name in sets:
        pack_set(args.data, name, to/'data')
    (to/'data/sets').write_text('\n'.join(sets))
    for folder in args.runs:
        shutil.copytree(folder, to/'runs'/folder.name)
    for name in scripts:
        shutil.copy(here/name, to)
    subprocess.run(['chmod', '-R', 'u+w', str(to)], check=True)
    (to/'commit').write_text(commit())


def refuse_foreign(to):
    "End with one line where a bundle would take the place of something else"
    if root.is_relative_to(to):
        raise SystemExit(f'pack: {to} holds this project: --to names a folder of its own')
    if to.exists() and not to.is_dir():
        raise SystemExit(f'pack: {to} is a file: --to names a folder')
    bundle = (to/'.gpu/commit').exists() and not (to/'.git').exists()
    if to.exists() and any(to.iterdir()) and not bundle:
        raise SystemExit(f'pack: {to} is not empty and holds no bundle: choose a new folder, '
                         'or empty it yourself')


def copy_project(to):
    "Copy the project's files but figures/, and `run`, into a new folder"
    for name in git('ls-files', '-z').split('\0'):
        if name and not name.startswith('figures/') and (root/name).exists():
            (to/name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root/name, to/name)
    shutil.copy(here/'run', to)


def write_bundle(to, names, args):
    "Write the whole beside its place; an older bundle goes only once the new one is complete"
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{to.name}.', dir=to.parent) as part:
        new = Path(part)/to.name
        copy_project(new)
        fill(new/'.gpu', names, args)
        if to.exists():
            to.rename(Path(part)/'old')
        new.rename(to)


def main():
    args = read_arguments()
    names = carried(args.part, args.data)
    if args.part:
        args.there = args.there or here/'there.txt'
        shutil.rmtree(root/'.gpu', ignore_errors=True)
        fill(root/'.gpu', names, args)
        tell_size(root/'.gpu')
        return
    to = args.to.resolve()
    refuse_foreign(to)
    write_bundle(to, names, args)
    print(f'{to}: {size(to.rglob("*")) / 1e6:.1f} MB. Copy it, then: ./run')


if __name__ == '__main__':
    main()
