"""What comes back: at most 8 files of 16 MiB, 64 MiB together

    results.tgz, results_large.tgz   figures, executed notebooks, logs
    weights.tar.0 … .4               networks by value: cat weights.tar.* | tar x
"""
import io
import tarfile
import time
from pathlib import Path

piece, together, pieces = 16_000_000, 66_000_000, 5
archives = 'results.tgz', 'results_large.tgz'
kept = ('figures/**/*', 'logs/*', 'runs/*/*/log.jsonl', 'runs/**/executed/*', 'runs/*/parts/**/*')


def small_files(keep):
    "The files of `kept`, smallest first"
    found = {p for pattern in kept for p in Path(keep).glob(pattern) if p.is_file()}
    taken = [p for p in found if p.suffix != '.onnx' and not p.name.startswith('.')]
    return sorted(taken, key=lambda p: p.stat().st_size)


def add(tar, name, data):
    "Put bytes into a tar"
    member = tarfile.TarInfo(name)
    member.size, member.mtime = len(data), int(time.time())
    tar.addfile(member, io.BytesIO(data))


def archive(keep, paths, to, most):
    "Write files into an archive; those that found no room come back"
    left, missing = most, []
    part = to.with_name(f'.{to.name}')
    with tarfile.open(part, 'w:gz') as tar:
        for path in paths:
            data = path.read_bytes()  # a running stage may write to it meanwhile
            if len(data) > left:
                missing.append(path)
                continue
            left -= len(data)
            add(tar, str(path.relative_to(keep)), data)
    part.rename(to)
    return missing


def pack_results(keep, out, most=piece):
    "Write the archives, small files first; the files that found no room in either come back"
    left = small_files(keep)
    for name in archives:
        left = archive(keep, left, Path(out)/name, most)
    return left


def fitting(networks, room, slim):
    "(file name, bytes) of the networks that fit, in order of value; a tar adds up to 1 KB to each"
    taken, missing = [], []
    for path, net in networks:
        name = f'{path.parent.name}.{net}.safetensors'
        data = slim(path, net) if room > 100_000 else None
        if data is None or len(data) + 1024 > room:
            missing.append(name)
            continue
        room -= len(data) + 1024
        taken.append((name, data))
    return taken, missing


def pack_weights(runs, out, room):
    "Write weights.tar.0 … by value; what was taken and what was not come back"
    from weights import by_value, slim  # torch is needed only here
    taken, missing = fitting(by_value(runs), min(room, pieces * piece) - 10_240, slim)
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode='w') as tar:
        for name, data in taken:
            add(tar, name, data)
    for old in Path(out).glob('weights.tar.*'):
        old.unlink()
    if taken:
        for i in range(0, len(whole.getvalue()), piece):
            (Path(out)/f'weights.tar.{i // piece}').write_bytes(whole.getvalue()[i:i + piece])
    return [name for name, _ in taken], missing


def collect(keep, out, scale):
    "Pack all that there is; networks of smoke runs never travel. What found no room comes back"
    missing = [str(p.relative_to(keep)) for p in pack_results(keep, out)]
    if scale == 'smoke':
        return [], missing
    room = together - sum((Path(out)/name).stat().st_size for name in archives)
    taken, left = pack_weights(Path(keep)/'runs'/scale, out, room)
    return taken, missing + left
