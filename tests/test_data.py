"The image store from the command line: unreadable files, a kill and a resumption, damaged sets, no network"
import json, os, re, resource, time
from pathlib import Path

import numpy as np
import pytest
from conftest import contents
from dcgan.data.store import load, prepare, prepare_cli
from PIL import Image

@pytest.fixture
def photos(sandbox, drawn):
    "A folder with 3 images of a cat, 3 of a dog, and two files that only look like images"
    for k, name in enumerate(['cat/0.png', 'cat/1.jpg', 'cat/2.png', 'dog/0.png', 'dog/1.jpg', 'dog/2.png']):
        (path := sandbox/'photos'/name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn['street_digits'].images[k].transpose(1, 2, 0)).save(path)
    whole = (sandbox/'photos/cat/1.jpg').read_bytes()
    (sandbox/'photos/cat/truncated.jpg').write_bytes(whole[:len(whole)//2])
    (sandbox/'photos/dog/fake.png').write_text('not an image')
    return sandbox/'photos'

def described(name): return json.loads(Path('data', name, 'dataset.json').read_text())

def without_times(folder):
    "The contents of a set's folder, but for when its files were written"
    found = contents(folder)
    return found | {'dataset.json': re.sub(rb'"mtime_ns": \d+', b'', found['dataset.json'])}

# From a folder

def test_unreadable_images_are_counted_listed_and_skipped(run, photos):
    done = run('dcgan-prepare', 'pets', source=photos, test_share=0)
    assert done.returncode == 0 and '6 images of 3×32×32, 2 skipped' in done.stdout
    assert described('pets')['skipped'] == ['cat/truncated.jpg', 'dog/fake.png']
    assert described('pets')['classes'] == ['cat', 'dog'] and sorted(load('pets').labels) == [0, 0, 0, 1, 1, 1]

def test_prepared_set_is_left_alone(photos, capsys):
    prepare('pets', source=photos)
    before = contents('data/pets')
    prepare('pets', source=photos, size=16)
    assert 'it was there already and is left alone' in capsys.readouterr().out and contents('data/pets') == before

def test_two_processes_prepare_a_set_once(start, photos):
    both = [start('dcgan-prepare', 'pets', source=photos) for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum('it was there already' in text for text in said) == 1

# Killed and resumed

@pytest.fixture
def many(sandbox, drawn):
    "A folder of 4096 images, links to 64 different files"
    (folder := sandbox/'many').mkdir()
    for k in range(4096):
        if k < 64: Image.fromarray(drawn['street_digits'].images[k].transpose(1, 2, 0)).resize((128, 128)).save(folder/f'{k:04}.png')
        else: os.link(folder/f'{k % 64:04}.png', folder/f'{k:04}.png')
    return folder

def kill_after_first_chunk(process):
    finished = lambda: [*Path('data/many.partial').glob('tr*_*.json'), *Path('data/many.partial').glob('te*_*.json')]
    while not finished() and process.poll() is None: time.sleep(.002)
    process.kill(), process.communicate()
    return sum(len(json.loads(p.read_text())['kept']) for p in finished())

def test_killed_preparation_goes_on_to_the_same_set(start, run, many):
    done = kill_after_first_chunk(start('dcgan-prepare', 'many', source=many, workers=1, size=64))
    assert 0 < done < 4096 and not Path('data/many').exists()
    resumed = run('dcgan-prepare', 'many', source=many, workers=1, size=64)
    assert resumed.returncode == 0 and re.search(r'/(\d+) ', resumed.stderr)[1] == str(4096 - done), 'it did not go on where it was killed'
    prepare('many', 'whole', many, workers=1, size=64)
    assert without_times('data/many') == without_times('whole/many')
    assert not Path('data/many.partial').exists()

def test_more_chunks_than_files_may_be_open(sandbox, drawn):
    "As of LSUN, which has thousands"
    (folder := sandbox/'tiles').mkdir()
    for k in range(160): Image.fromarray(drawn['street_digits'].images[k].transpose(1, 2, 0)).save(folder/f'{k:03}.png')
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try: prepare('tiles', source=folder, chunk=1, workers=1, test_share=0)
    finally: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    images = load('tiles').images
    assert {x.tobytes() for x in images} == {x.tobytes() for x in drawn['street_digits'].images[:160]}

# Damaged sets

def cut(name): return lambda folder: os.truncate(folder/name, (folder/name).stat().st_size // 2)
def drop(name): return lambda folder: (folder/name).unlink()
def write(name, array): return lambda folder: np.save(folder/name, array)

damages = dict(
    cut_images=(cut('train_images.npy'), 'train_images.npy is damaged'),
    cut_labels=(cut('train_labels.npy'), 'train_labels.npy is damaged'),
    cut_description=(cut('dataset.json'), 'dataset.json is damaged'),
    no_images=(drop('train_images.npy'), 'train_images.npy is missing'),
    no_labels=(drop('train_labels.npy'), 'train_labels.npy is missing'),
    float_images=(write('train_images.npy', np.zeros((256, 3, 32, 32), np.float32)), 'images are float32 .* must be uint8'),
    float_labels=(write('train_labels.npy', np.zeros(256, np.float32)), 'labels are float32 .* must be 256 integers'),
    too_few_labels=(write('train_labels.npy', np.zeros(255, np.int64)), 'must be 256 integers, one for each image'),
    pickled_labels=(write('train_labels.npy', np.array([{}] * 256)), 'train_labels.npy is damaged'))

@pytest.mark.parametrize('damage, message', damages.values(), ids=damages)
def test_damaged_set_names_the_remedy_and_is_left_alone(store, damage, message):
    damage(store/'streets')
    before = contents(store)
    with pytest.raises((ValueError, FileNotFoundError), match=rf'{message}.*: move \S+streets away and run `dcgan-prepare streets` again'): load('streets')
    assert contents(store) == before

def test_unknown_set_lists_what_there_is(store):
    with pytest.raises(ValueError, match='unknown data set \'svhm\': one of handwritten, streets, .*street_digits.*`dcgan-prepare NAME` adds a set'): load('svhm')

# Wrong commands, and no network

wrong = {
    'svhm': "unknown data set 'svhm': one of mnist, svhn, cifar10, lsun_bedroom, face_photos, or a name of your own with --source FOLDER",
    'face_photos': 'face_photos is made from files of yours: add --source FOLDER',
    'lsun_bedroom --source=photos': 'photos must hold one category of LSUN, such as bedroom_train_lmdb',
    'street_digits': "'street_digits' is a procedural world, which needs no preparing",
    '../pets --source=photos': "'../pets' cannot name a folder",
    'pets --source=elsewhere': 'elsewhere is not a folder',
    'pets --source=data': 'data holds no images',
    'pets --source=photos --size=0': 'size is 0: it must be a whole number from 1 to 4096',
    'pets --source=photos --test_share=1': 'test_share is 1.0: it must be a number from 0 to 0.9',
    'pets --source=photos --workers=0': 'workers is 0: it must be a whole number from 1 to'}

@pytest.mark.parametrize('command', wrong)
def test_wrong_command_ends_with_one_clear_line(error_of, photos, command):
    error = error_of(prepare_cli, *command.split())
    assert error.startswith(f'dcgan-prepare: {wrong[command]}') and '\n' not in error
    assert not list(Path('data').glob('*/dataset.json'))

def test_download_without_a_network_says_what_to_fetch(run, sandbox):
    done = run('dcgan-prepare', 'svhn')
    assert done.returncode and done.stderr.startswith('dcgan-prepare: svhn: no network') and done.stderr.count('\n') == 1
    assert f'Get train_32x32.mat, test_32x32.mat from http://ufldl.stanford.edu/housenumbers/, put them into {sandbox}' in done.stderr

def test_damaged_download_says_how_to_replace_it(run, sandbox):
    (folder := sandbox/'data/downloads/svhn').mkdir(parents=True)
    for name in ('train_32x32.mat', 'test_32x32.mat'): (folder/name).write_text('not a matrix')
    done = run('dcgan-prepare', 'svhn')
    assert done.returncode and 'svhn: the download failed' in done.stderr and f'put them into {folder}' in done.stderr
    assert 'Traceback' not in done.stderr and (folder/'test_32x32.mat').read_text() == 'not a matrix'
