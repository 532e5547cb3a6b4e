"The notebooks from outside: export and clean change nothing, papermill makes the results"

import csv
import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import contents
from copies import copy_repository

from dcgan.base.core import figures_root, generator, protocol
from dcgan.data.store import write_set
from dcgan.gan.nets import build, latents, sample
from dcgan.gan.released import load_released
from dcgan.tools.claims import Claim, Entry, ledger, verdicts
from dcgan.tools.claims_of_the_paper import claims
from dcgan.tools.kept import fill_first_screen
from dcgan.tools.readings import Found, stale_results
from dcgan.worlds.world import worlds

root = Path(__file__).parents[1]


def at_hand(*variables):
    return next((os.path.abspath(os.environ[v]) for v in variables if os.environ.get(v)), None)


real, weights = at_hand('DCGAN_TEST_STORE'), at_hand('DCGAN_TEST_WEIGHTS', 'DCGAN_WEIGHTS')
needs_real = pytest.mark.skipif(
    not real,
    reason='the real images are not at hand: point $DCGAN_TEST_STORE at a store that holds svhn',
)
needs_weights = pytest.mark.skipif(
    not weights,
    reason="the authors' networks are not at hand: point $DCGAN_TEST_WEIGHTS at their folder",
)


@pytest.fixture(scope='module')
def repository(tmp_path_factory):
    "A copy of the repository: notebooks export into the folder that they run in"
    return copy_repository(tmp_path_factory.mktemp('copy') / 'repository')


def sources(folder):
    return {k: v for k, v in contents(folder).items() if '__pycache__' not in k}


@pytest.mark.parametrize('command', ['nbdev_export', 'nbdev_clean'])
def test_command_leaves_no_diff(run, repository, command):
    before = sources(repository)
    done = run(command, cwd=repository)
    after = sources(repository)
    assert done.returncode == 0, done.stderr
    assert sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k)) == []


def test_readme_is_made_from_the_index_notebook(repository):
    subprocess.run(['make', '-B', 'README.md'], cwd=repository, check=True, capture_output=True)
    assert (repository / 'README.md').read_text() == (root / 'README.md').read_text()


def test_first_screens_show_the_kept_results(repository, monkeypatch):
    monkeypatch.setenv('DCGAN_FIGURES', str(root / 'figures'))
    monkeypatch.chdir(repository)
    paths = [p for p in sorted((repository / 'nbs').rglob('*.ipynb')) if p.stem != 'index']
    assert [p.name for p in paths if fill_first_screen(p)] == []


def test_one_sitting_counts_its_lines():
    "Code from the networks to the end of the loop; a comment alone on a line is none"
    cells = json.loads((root / 'nbs/00_one_sitting.ipynb').read_text())['cells']
    texts = [''.join(c['source']) for c in cells]
    start, end = (
        next(i for i, text in enumerate(texts) if text.startswith(title))
        for title in ('## The networks', '## Samples')
    )
    code = [texts[i] for i in range(start, end) if cells[i]['cell_type'] == 'code']
    lines = [line.strip() for text in code for line in text.splitlines()]
    said = re.search(r'and the loop take (\d+) lines', '\n'.join(texts))[1]
    assert sum(bool(line) and not line.startswith('#') for line in lines) == int(said)


# Table 2


@pytest.fixture
def papermill(run, repository, sandbox):
    "Runs a notebook at smoke scale with further parameters"

    def papermill(notebook='05_svhn', **parameters):
        given = [
            text
            for k, v in (dict(scale='smoke') | parameters).items()
            for text in ('-y', f'{k}: {v}')
        ]
        return run(
            'papermill',
            next(repository.glob(f'nbs/**/{notebook}.ipynb')),
            sandbox / 'out.ipynb',
            *given,
            cwd=repository,
        )

    return papermill


def printed():  # by the executed notebook
    cells = json.loads(Path('out.ipynb').read_text())['cells']
    return ''.join(''.join(o.get('text', '')) for c in cells for o in c.get('outputs', []))


def table2(done):  # model → row, and the provenance; checked for what every table must say
    assert done.returncode == 0, done.stderr
    kept, folder = json.loads(Path('figures/smoke/table2.json').read_text()), Path('figures/smoke')
    rows = list(csv.DictReader((folder / 'table2.csv').open()))
    assert [r['model'] for r in rows] == [r['model'] for r in kept['rows']]
    assert {r['source'] for r in rows} == {'measured', 'cited'}
    assert all(
        bool(r['ours']) == bool(r['interval']) == bool(r['n']) == (r['source'] == 'measured')
        for r in rows
    )
    assert (
        kept['notebook'] == '05_svhn'
        and kept['scale'] == 'smoke'
        and 'Scale: smoke.' in kept['caption']
    )
    assert {p.name for p in Path('figures').iterdir()} == {'smoke'}, 'another scale was overwritten'
    return {r['model']: r for r in rows}, kept


def test_table2_without_any_images_is_of_the_world(papermill):
    rows, kept = table2(papermill())
    assert re.search(r'Data: street_digits.* \(procedural world\)', kept['caption']) and {
        d['name'] for d in kept['datasets']
    } == {'street_digits'}
    assert 'svhn is not in the store, this world stands in for it' in printed()
    dcgan = rows['DCGAN + L2-SVM']
    assert (
        (dcgan['source'], dcgan['paper']) == ('measured', '22.48')
        and int(dcgan['n']) >= 2
        and float(dcgan['interval']) >= 0
    )
    assert not any('released' in model for model in rows)


@pytest.fixture
def pretended(sandbox, drawn):
    "A few images of a world under the name svhn"
    d = drawn['street_digits']
    write_set('svhn', (d.images, d.labels), (d.images[:64], d.labels[:64]), note='not the real one')


def test_auto_picks_svhn_where_the_store_has_it(papermill, pretended):
    _, kept = table2(papermill())
    assert (
        re.search(r'Data: svhn.* \(not the real one\)', kept['caption'])
        and "svhn (the paper's data set)" in printed()
    )


wrong = {
    'scale=huge': "unknown scale 'huge': one of auto, smoke, laptop, overnight, paper",
    'dataset=svhm': "unknown data set 'svhm': one of",
}


@pytest.mark.parametrize('parameter', wrong)
def test_wrong_parameter_stops_the_notebook(papermill, parameter):
    done = papermill(**dict([parameter.split('=')]))
    assert done.returncode and f'ValueError: {wrong[parameter]}' in done.stderr
    assert (
        wrong[parameter] in Path('out.ipynb').read_text()
        and not Path('figures').exists()
        and not Path('runs').exists()
    )


# The other notebooks

results = {
    'acceptance': ['acceptance.csv', 'defects.png'],
    'metrics': ['metrics.png'],
    '01_guidelines': [
        'guidelines.csv',
        'guidelines_numbers.csv',
        'guidelines_checks.csv',
        'guidelines_ratios.png',
        'guideline_no_norm.png',
    ],
    '02b_dedup': ['dedup.csv', 'dedup_collisions.png'],
    '03_lsun': ['fig02_rooms.png', 'fig03_rooms.png', 'lsun.csv', 'lsun_kid.png', 'collapse.png'],
    '06_walks': ['fig04_rooms.png', 'walk_rooms.gif', 'walks.csv'],
    '07_guided': ['fig05_rooms.png', 'guided.csv'],
    '08_forget': ['fig06_rooms.png', 'forget_curve.png', 'forget.csv'],
    '09a_photographs': ['faces_contact.png', 'inverted_faces.png', 'inverted.csv'],
    '09_faces': ['fig07_faces.png', 'fig08_faces.png', 'fig10_faces.png', 'arithmetic.csv'],
    '04_cifar10': ['table1.csv', 'fig11.png', 'cifar10_layers.png', 'kmeans_centroids.png'],
    '10_mnist': ['table3.csv', 'fig09.png', 'mnist_samples.png'],
    '10a_explorer': [
        'explorer.csv',
        'explorer_planes.png',
        'generators/rooms.onnx',
        'generators/faces.onnx',
        'generators/digits.onnx',
    ],
    '11_large_images': [
        'cppn_claims.csv',
        'cppn_digits.png',
        'cppn_digits_table.csv',
        'cppn_sizes.png',
        'cppn_cost.csv',
        'cppn_walk.gif',
    ],
    '12_turing': [
        'turing_claims.csv',
        'turing_curves.png',
        'turing_sizes.csv',
        'turing_samples.png',
    ],
    '13_deligan': [
        'deligan_claims.csv',
        'deligan_points.png',
        'deligan_toy.csv',
        'deligan_digits_scores.csv',
        'deligan_natural_scores.csv',
    ],
    '15_speed': ['speed_training.png', 'speed.csv'],
    '15a_growth': ['speed_memory.csv', 'speed_image_sizes.csv', 'speed_sizes.png'],
    '00_one_sitting': [
        'one_sitting_samples.png',
        'one_sitting_losses.png',
        'one_sitting_trainer.csv',
    ],
}


def test_every_notebook_of_the_paper_runs_here():  # `make test` runs only the library's elsewhere
    papers = {p.stem for p in (root / 'nbs').glob('*.ipynb')} - {'index'}
    assert papers <= {*results, '05_svhn', '14_claims'}


@pytest.mark.parametrize('notebook', results)
def test_notebook_leaves_its_results_with_provenance(papermill, notebook):
    done = papermill(notebook)
    assert done.returncode == 0, done.stderr
    for path in map(Path('figures/smoke').joinpath, results[notebook]):
        kept = json.loads(path.with_suffix('.json').read_text())
        used = {d['name'] for d in kept['datasets']}
        if notebook == '09a_photographs':
            used.remove('lfw')  # of its kept network
        assert (
            path.stat().st_size > 0
            and kept['notebook'] == notebook
            and used <= {*worlds, '1 blob', '2 blobs'}
        )
        assert 'Scale: smoke.' in kept['caption']
        assert ('procedural world' in kept['caption']) == bool(used)


def first_error(path, parameters):  # of a notebook run in this process, which has imported torch
    cells, names = json.loads(path.read_text())['cells'], dict(__name__='__main__')
    for cell in (c for c in cells if c['cell_type'] == 'code'):
        try:
            exec(''.join(cell['source']), names)
        except Exception as e:
            return f'{type(e).__name__}: {e}'
        if 'parameters' in cell['metadata'].get('tags', []):
            names |= parameters
    return ''


@pytest.mark.parametrize(
    'notebook, parameters, message',
    [
        ('04_cifar10', dict(unlabelled='imagenett'), "unknown data set 'imagenett'"),
        ('04_cifar10', dict(centroids=1), 'centroids is 1'),
        ('10_mnist', dict(samples=[500, 200]), 'ascending'),
        ('03_lsun', dict(long=0), 'long is 0'),
        ('06_walks', dict(walks=0), 'walks is 0'),
        ('09_faces', dict(trials=1), 'trials is 1'),
        ('09a_photographs', dict(exemplars={'smiling child': [1]}), 'smiling woman'),
        ('09a_photographs', dict(network='lwf'), 'a pretrained name ('),
        ('10a_explorer', dict(digits='digit'), "unknown data set 'digit'"),
        ('11_large_images', dict(epochs=0), 'epochs is 0'),
        ('12_turing', dict(sizes=[48]), "unknown size 48: one of 32, 64, 128, 256"),
        ('13_deligan', dict(trials=1), 'trials is 1'),
        ('14_claims', dict(scale='big'), "unknown scale 'big'"),
        ('15_speed', dict(rounds=0), 'rounds is 0'),
        ('15a_growth', dict(rounds=0), 'rounds is 0'),
        ('00_one_sitting', dict(maps=0), 'maps is 0'),
    ],
)
def test_wrong_parameter_stops_other_notebooks(repository, notebook, parameters, message):
    error = first_error(repository / f'nbs/{notebook}.ipynb', dict(scale='smoke') | parameters)
    assert error.startswith('ValueError: ') and message in error
    assert not Path('runs').exists()


def claims_kept(scale, **more):  # the repository's figures, as if they were made at this scale
    figures_root(scale).mkdir(parents=True, exist_ok=True)
    for path in (root / 'figures').glob('*.json'):
        kept = json.loads(path.read_text()) | dict(scale=scale)
        if more:
            kept |= {k: make(kept['notebook']) for k, make in more.items()}
        (figures_root(scale) / path.name).write_text(json.dumps(kept))


def up_to_date(scale):  # and with what measures them now
    claims_kept(scale, protocol=lambda notebook: protocol(notebook)[0])


def test_ledger_has_every_claim_and_is_kept(papermill):
    up_to_date('laptop')
    done = papermill('14_claims')
    assert done.returncode == 0, done.stderr
    kept = json.loads(Path('figures/smoke/claims.json').read_text())
    assert kept['notebook'] == '14_claims' and 'Scale: smoke.' in kept['caption']
    assert Path('figures/smoke/claims_overview.png').stat().st_size > 0
    assert {d['id'] for d in kept['details']} == {c.text for c in claims}
    assert len(kept['details']) == len(kept['rows'])
    decided = [r for r in kept['rows'] if r['verdict'] in verdicts[:3]]
    assert {r['verdict'] for r in decided} >= {'supported', 'undecided'}
    assert all(r['scale'] == 'laptop' and r['n'] and r['ours'] and r['p'] for r in decided)


def test_ledger_decides_nothing_without_results_or_from_smoke_runs():
    assert {r['verdict'] for r in ledger(claims)} == {'not measured'}
    up_to_date('smoke')
    assert {r['verdict'] for r in ledger(claims)} == {'not measured', 'not measured at this scale'}


def test_stale_results_decide_nothing_and_are_named():
    claims_kept('laptop', protocol=lambda notebook: protocol(notebook)[0] - 1)
    numbers = [r for r in ledger(claims) if r['ours']]
    assert {r['verdict'] for r in numbers if protocol(r['notebook'])[1]} == {'stale'}
    named = {r['notebook'] for r in stale_results()}
    assert named >= {'03_lsun', '05_svhn', '12_turing'} and '00_one_sitting' not in named


def test_claims_about_training_need_several_trainings():
    up_to_date('laptop')
    rows = [r for r in ledger(claims) if r['n'] == '1 training']
    assert {'§5.1', '§8.1'} <= {r['section'] for r in rows}
    assert not {r['verdict'] for r in rows} & set(verdicts[:3])


def test_trainings_with_other_seeds_are_counted():
    up_to_date('laptop')
    path = figures_root('laptop') / 'table2.json'
    table2 = json.loads(path.read_text())
    table2.pop('errors_of_trainings', None)  # of one training, as each of these
    path.write_text(json.dumps(table2))
    for seed, off in ((1, 0.2), (2, -0.3)):
        other = table2 | dict(seed=seed, parameters=table2['parameters'] | dict(seed=seed))
        other |= dict(errors={k: [e + off for e in x] for k, x in table2['errors'].items()})
        folder = figures_root() / f'seed_{seed}/laptop'
        folder.mkdir(parents=True)
        (folder / 'table2.json').write_text(json.dumps(other))
    [knn] = [r for r in ledger(claims) if 'nearest neighbours in pixels' in r['claim']]
    assert knn['n'] == '3 trainings' and knn['seeds'] == [0, 1, 2] and knn['verdict'] == 'supported'


def test_holm_leaves_a_marginal_row_undecided():
    found = Found(1.0, 0.02, 1.98, '9 images')  # p = 0.046 alone
    entry = Entry('table1', lambda kept, name: found, about='data')
    certain = replace(entry, find=lambda kept, name: Found(1.0, 0.9, 1.1, '9 images'))
    kept = dict(
        scale='laptop', notebook='00_one_sitting', commit='0', seed=0, parameters={}, datasets=[]
    )
    figures_root().mkdir(parents=True)
    (figures_root() / 'table1.json').write_text(json.dumps(kept))

    def says(*entries):
        return [r['verdict'] for r in ledger([Claim('§0', 'High', '', list(entries))])]

    assert says(entry) == ['supported']
    assert says(entry, certain, entry) == ['undecided', 'supported', 'undecided']


def test_claim_that_says_nothing_of_its_measurement_is_an_error():
    with pytest.raises(ValueError, match='neither an entry nor a reason'):
        Claim('§9', 'It also sings', '', [])


def test_features_never_come_from_the_labelled_images(papermill, sandbox, drawn):
    d = drawn['street_digits']
    write_set('cifar10', (d.images, d.labels), (d.images[:64], d.labels[:64]))
    done = papermill('04_cifar10', unlabelled='cifar10')
    assert (
        done.returncode
        and 'features must come from other images' in done.stderr
        and not Path('runs').exists()
    )


# What only some machines have


@needs_real
def test_table2_of_the_real_images(papermill, monkeypatch):
    monkeypatch.setenv('DCGAN_DATA', real)
    _, kept = table2(papermill())
    assert {d['name'] for d in kept['datasets']} == {'svhn'} and 'Data: svhn' in kept['caption']


@needs_weights
def test_released_networks_are_read_and_compute():
    G, D = build('svhn32')
    folder = Path(weights) / 'svhn_unsup_all_conv_dcgan_100z_gaussian_lr_0.0005_64mb'
    assert [
        load_released(net, folder, f'{stem}_params') for net, stem in ((G, 'gen'), (D, 'discrim'))
    ] == [4, 4]
    with torch.no_grad():
        logits = D(sample(G, latents['normal'](32, 100, generator('released'))))
    assert logits.shape == (32,) and logits.isfinite().all()


@needs_weights
def test_released_discriminator_has_its_row(papermill, pretended, monkeypatch):
    monkeypatch.setenv('DCGAN_WEIGHTS', weights)
    rows, _ = table2(papermill())
    assert rows["the authors' released D + L2-SVM"]['source'] == 'measured'


# Run from elsewhere


def test_a_notebook_leaves_another_nbdev_project_alone(run, repository, sandbox):
    (sandbox / 'settings.ini').write_text(
        '[DEFAULT]\nlib_name = theirs\nlib_path = theirs\nnbs_path = nbs\n'
    )
    (sandbox / 'theirs').mkdir()
    (sandbox / 'theirs/core.py').write_text('# mine\n')
    subprocess.run(['git', 'init', '-q'], check=True)
    done = run('papermill', repository / 'nbs/lib/base/core.ipynb', 'out.ipynb', cwd=sandbox)
    assert done.returncode == 0, done.stderr
    assert contents(sandbox / 'theirs') == {'core.py': b'# mine\n'}
