"The image store from the command line: unreadable files, kills, damaged sets, no network"
import errno
import json
import os
import re
import resource
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import contents
from PIL import Image

from dcgan.data.prepare import prepare, prepare_cli
from dcgan.data.sources import decode
from dcgan.data.store import load


def save(image, path): # image: C×H×W
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.transpose(1, 2, 0)).save(path)

@pytest.fixture
def photos(sandbox, drawn):
    "A folder with 3 images of a cat, 3 of a dog, and two files that only look like images"
    names = ['cat/0.png', 'cat/1.jpg', 'cat/2.png', 'dog/0.png', 'dog/1.jpg', 'dog/2.png']
    for image, name in zip(drawn['street_digits'].images, names):
        save(image, sandbox/'photos'/name)
    whole = (sandbox/'photos/cat/1.jpg').read_bytes()
    (sandbox/'photos/cat/truncated.jpg').write_bytes(whole[:len(whole)//2])
    (sandbox/'photos/dog/fake.png').write_text('not an image')
    return sandbox/'photos'

def described(name):
    return json.loads(Path('data', name, 'dataset.json').read_text())

def without_times(folder):
    "The contents of a set's folder, but for when its files were written"
    found = contents(folder)
    return found | {'dataset.json': re.sub(rb'"mtime_ns": \d+', b'', found['dataset.json'])}

# Fingerprints, which are in cache keys and kept results

fingerprints = dict(digits=('6ac66d7eb9f86d71', '7277be3d4a596b98'),
                    street_digits=('fba94fda60c42074', '145b38b9e578c8c6'))

@pytest.mark.parametrize('world', fingerprints)
def test_fingerprints_stay_what_they_are(world):
    found = [load(world, split, n=8, size=16).fingerprint for split in ('train', 'test')]
    assert found == [*fingerprints[world]]

def test_fingerprint_of_a_part_stays_what_it_is():
    assert load('digits', n=20).subset(5).fingerprint == 'eba91a01eb8bc808'

# From a folder

def test_unreadable_images_are_counted_listed_and_skipped(run, photos):
    done = run('dcgan-prepare', 'pets', source=photos, test_share=0)
    assert done.returncode == 0
    said = re.search('6 images of 3×64×64, 2 classes, 6 enlarged, 2 skipped, most often: (.*) '
                     r'\(all in dataset.json\)', done.stdout)
    assert said[1] in described('pets')['skipped'].values()
    assert [*described('pets')['skipped']] == ['cat/truncated.jpg', 'dog/fake.png']
    assert 'truncated' in described('pets')['skipped']['cat/truncated.jpg'].lower()
    assert described('pets')['classes'] == ['cat', 'dog']
    assert sorted(load('pets').labels) == [0, 0, 0, 1, 1, 1]

def test_hidden_and_system_folders_are_neither_classes_nor_images(photos, drawn):
    for name in ('.ipynb_checkpoints', '.Trash-1000/files', '__MACOSX', '@eaDir'):
        save(drawn['street_digits'].images[9], photos/name/'0.png')
    prepare('pets', source=photos, test_share=0, workers=1)
    assert described('pets')['classes'] == ['cat', 'dog'] and len(load('pets')) == 6

def test_a_stray_picture_costs_no_labels_and_is_listed(photos, drawn):
    save(drawn['street_digits'].images[9], photos/'stray.png')
    prepare('pets', source=photos, test_share=0, workers=1)
    assert len(load('pets').labels) == 6
    assert described('pets')['skipped']['stray.png'] == 'beside the class folders'

def test_splits_of_a_folder_are_kept_and_said(sandbox, photos, capsys):
    (sandbox/'parted').mkdir()
    (sandbox/'parted/train').symlink_to(photos)
    (sandbox/'parted/val').symlink_to(photos)
    prepare('pets', source=sandbox/'parted', workers=1)
    assert 'split by its folders train and val' in capsys.readouterr().out
    assert [len(load('pets', split)) for split in ('train', 'test')] == [6, 6]
    assert described('pets')['classes'] == ['cat', 'dog']

def test_small_pictures_are_enlarged_and_counted(run, photos):
    done = run('dcgan-prepare', 'pets', source=photos, test_share=0, size=64)
    assert ' 2 classes, 6 enlarged, 2 skipped' in done.stdout
    assert load('pets').note.endswith(', 6 enlarged')

def test_a_folder_whose_name_is_no_text_is_noted_readably(sandbox, photos):
    source = os.fsdecode(b'\xe9t\xe9')
    photos.rename(source)
    prepare('pets', source=source, test_share=0, workers=1)
    assert load('pets').note.startswith('folder ?t?: 64×64')

def test_a_lack_of_memory_is_no_property_of_a_picture(sandbox, photos):
    "In a process of its own: what it has left is less than the picture takes"
    big = Image.effect_noise((4000, 3000), 9).convert('RGB')
    big.save(photos/'big.webp')
    child = os.fork()
    if not child:
        os._exit(read_with_little_memory(photos))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == errno.ENOMEM

def read_with_little_memory(folder): # the number of the error
    taken = psutil.Process().memory_info().vms + 2**23
    resource.setrlimit(resource.RLIMIT_AS, (taken, taken))
    try:
        decode(folder/'big.webp', 32)
    except Exception as e:
        return getattr(e, 'errno', None) or 1
    return 0

def test_other_endings_are_used_or_listed(photos, drawn):
    save(drawn['street_digits'].images[9], photos/'cat/9.ppm')
    (photos/'cat/1.jpg').rename(photos/'cat/1.JFIF')
    (photos/'cat/3.heic').write_bytes(b'')
    prepare('pets', source=photos, test_share=0, workers=1)
    assert len(load('pets')) == 7 and 'cat/3.heic' in described('pets')['skipped']

def test_prepared_set_is_left_alone(photos, capsys, error_of):
    prepare('pets', source=photos)
    before = contents('data/pets')
    prepare('pets', source=photos, size=64)
    assert 'it was there already and is left alone' in capsys.readouterr().out
    error = error_of(prepare_cli, 'pets', source=photos, size=16)
    assert 'pets is there already with 64 pixels, not 16: move' in error and '\n' not in error
    assert contents('data/pets') == before

def test_two_processes_prepare_a_set_once(start, photos):
    both = [start('dcgan-prepare', 'pets', source=photos) for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum('it was there already' in text for text in said) == 1

def test_an_enlarged_set_says_so(store):
    assert load('streets', size=64, n=4).note == 'enlarged from 32 pixels'
    assert load('streets', size=16, n=4).note == load('streets').note == ''

# Killed and resumed

@pytest.fixture
def many(sandbox, drawn):
    "A folder of 2048 images, links to 64 different files"
    folder = sandbox/'many'
    folder.mkdir()
    for k, image in enumerate(drawn['street_digits'].images[:64]):
        image = Image.fromarray(image.transpose(1, 2, 0))
        image.resize((128, 128)).save(folder/f'{k:04}.png')
    for k in range(64, 2048):
        os.link(folder/f'{k % 64:04}.png', folder/f'{k:04}.png')
    return folder

def finished(): # records of chunks
    partial = Path('data/many.partial')
    return [*partial.glob('tr*_*.json'), *partial.glob('te*_*.json')]

def kill_after_first_chunk(process): # the number of images that it finished
    while not finished() and process.poll() is None:
        time.sleep(.002)
    process.kill()
    process.communicate()
    return sum(len(json.loads(p.read_text())['kept']) for p in finished())

options = dict(workers=1, size=64)

def test_killed_preparation_goes_on_to_the_same_set(start, run, many):
    done = kill_after_first_chunk(start('dcgan-prepare', 'many', source=many, **options))
    assert 0 < done < 2048 and not Path('data/many').exists()
    resumed = run('dcgan-prepare', 'many', source=many, **options)
    left = re.search(r'/(\d+) ', resumed.stderr)[1]
    assert resumed.returncode == 0
    assert left == str(2048 - done), 'it did not go on where it was killed'
    prepare('many', 'whole', many, **options)
    assert without_times('data/many') == without_times('whole/many')
    assert not Path('data/many.partial').exists()

def test_files_that_a_crash_left_empty_cost_their_chunk_only(start, run, many):
    kill_after_first_chunk(start('dcgan-prepare', 'many', source=many, **options))
    finished()[0].write_text('')
    finished()[0].with_suffix('.npy').write_bytes(b'')
    assert run('dcgan-prepare', 'many', source=many, **options).returncode == 0
    assert sum(len(load('many', split)) for split in ('train', 'test')) == 2048

def test_a_source_that_vanishes_ends_the_preparation(start, run, many):
    process = start('dcgan-prepare', 'many', source=many, **options)
    while not finished() and process.poll() is None:
        time.sleep(.002)
    many.rename(many.with_name('unplugged'))
    error = process.communicate(timeout=300)[1]
    assert process.returncode and not Path('data/many').exists()
    assert 'the same command goes on from here' in error.splitlines()[-1]
    assert 'Traceback' not in error
    many.with_name('unplugged').rename(many)
    assert run('dcgan-prepare', 'many', source=many, **options).returncode == 0
    assert sum(len(load('many', split)) for split in ('train', 'test')) == 2048

def test_a_full_disk_names_the_file(error_of, many):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        error = error_of(prepare_cli, 'many', source=many, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert 'many.partial' in error and '\n' not in error
    prepare('many', source=many, **options)
    assert len(load('many')) + len(load('many', 'test')) == 2048

def test_more_chunks_than_files_may_be_open(sandbox, drawn):
    "As of LSUN, which has thousands"
    drawn = drawn['street_digits'].images[:160]
    for k, image in enumerate(drawn):
        save(image, sandbox/'tiles'/f'{k:03}.png')
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        prepare('tiles', source=sandbox/'tiles', size=32, chunk=1, workers=1, test_share=0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {x.tobytes() for x in load('tiles').images} == {x.tobytes() for x in drawn}

# Damaged sets

def cut(name):
    return lambda folder: os.truncate(folder/name, (folder/name).stat().st_size // 2)

def drop(name):
    return lambda folder: (folder/name).unlink()

def write(name, array):
    return lambda folder: np.save(folder/name, array)

images, labels, described_in = 'train_images.npy', 'train_labels.npy', 'dataset.json'
damages = dict(
    cut_images=(cut(images), f'{images} is damaged'),
    cut_labels=(cut(labels), f'{labels} is damaged'),
    cut_description=(cut(described_in), f'{described_in} is damaged'),
    no_images=(drop(images), f'{images} is missing'),
    no_labels=(drop(labels), f'{labels} is missing'),
    float_images=(write(images, np.zeros((256, 3, 32, 32), np.float32)),
                  'images are float32 .* must be uint8'),
    float_labels=(write(labels, np.zeros(256, np.float32)),
                  'labels are float32 .* must be 256 integers'),
    too_few_labels=(write(labels, np.zeros(255, np.int64)),
                    'must be 256 integers, one for each image'),
    negative_labels=(write(labels, np.full(256, -1)), 'labels are from -1 to -1'),
    endless_labels=(write(labels, np.full(256, 9_000_027)), 'labels are from 9000027 to 9000027'),
    pickled_labels=(write(labels, np.array([{}] * 256)), f'{labels} is damaged'))

@pytest.mark.parametrize('damage, message', damages.values(), ids=damages)
def test_damaged_set_names_the_remedy_and_is_left_alone(store, damage, message):
    damage(store/'streets')
    before = contents(store)
    remedy = r'move \S+streets away and run `dcgan-prepare streets` again'
    with pytest.raises((ValueError, FileNotFoundError), match=rf'{message}.*: {remedy}'):
        load('streets')
    assert contents(store) == before

def test_unknown_set_lists_what_there_is(store):
    there = "unknown data set 'svhm': one of handwritten, streets, .*street_digits"
    with pytest.raises(ValueError, match=rf'{there}.*`dcgan-prepare NAME` adds a set'):
        load('svhm')

def test_an_empty_description_names_the_remedy(error_of, store, photos):
    (store/'streets'/described_in).write_text('{}')
    error = error_of(prepare_cli, 'streets', source=photos)
    assert "dataset.json is damaged ('train'): move" in error and '\n' not in error

# Wrong commands, and no network

wrong = {
    'svhm': "unknown data set 'svhm': one of mnist, svhn, cifar10, lsun_bedroom, face_photos, "
            'or a name of your own with --source FOLDER',
    'svhn --size=64': 'svhn is downloaded as it is, so --size cannot be obeyed',
    'svhn --test_share=.2 --seed=1':
        'svhn is downloaded as it is, so --test_share and --seed cannot be obeyed',
    'face_photos': 'face_photos is made from files of yours: add --source FOLDER',
    'lsun_bedroom --source=photos':
        'photos must hold one category of LSUN, such as bedroom_train_lmdb',
    'street_digits': "'street_digits' is a procedural world, which needs no preparing",
    '../pets --source=photos': "'../pets' cannot name a folder",
    'pets --source=elsewhere': 'elsewhere is not a folder',
    'pets --source=data': 'data holds no images',
    'pets --source=photos --size=0': 'size is 0: it must be a whole number from 1 to 4096',
    'pets --source=photos --test_share=1': 'test_share is 1.0: it must be a number from 0 to 0.9',
    'pets --source=photos --workers=0': 'workers is 0: it must be a whole number from 1 to',
    'pets --source=photos --kind=faces':
        'photos: not one of its 8 images for training can be used, such as cat/'}

@pytest.mark.parametrize('command', wrong)
def test_wrong_command_ends_with_one_clear_line(error_of, photos, command):
    if 'faces' in command:
        command += ' --test_share=0 --workers=1'
    error = error_of(prepare_cli, *command.split())
    assert error.startswith(f"dcgan-prepare: {wrong[command.split(' --test_share=0')[0]]}")
    assert '\n' not in error and not list(Path('data').glob('*/dataset.json'))

def test_download_without_a_network_says_what_to_fetch(run, sandbox):
    done = run('dcgan-prepare', 'svhn')
    assert done.returncode and done.stderr.startswith('dcgan-prepare: svhn: no network')
    files = 'Get train_32x32.mat, test_32x32.mat from http://ufldl.stanford.edu/housenumbers/'
    assert f'{files}, put them into {sandbox}' in done.stderr and done.stderr.count('\n') == 1

def test_damaged_download_says_how_to_replace_it(run, sandbox):
    folder = sandbox/'data/downloads/svhn'
    folder.mkdir(parents=True)
    for name in ('train_32x32.mat', 'test_32x32.mat'):
        (folder/name).write_text('not a matrix')
    done = run('dcgan-prepare', 'svhn')
    assert done.returncode and 'train_32x32.mat is not the original (12 bytes)' in done.stderr
    assert f'put them into {folder}' in done.stderr and 'Traceback' not in done.stderr
    assert (folder/'test_32x32.mat').read_text() == 'not a matrix'
