"The explorer in headless Chromium: generators follow keys and mouse, and draw as PyTorch does"

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from dcgan.base.core import Run, generator
from dcgan.gan.nets import build, latents
from dcgan.paper.walks import freeze
from dcgan.tools.explorer import draw_onnx, from_text, keep_generator

pytestmark = pytest.mark.xdist_group('browser')  # tests that share a site run in one process

root = Path(__file__).parents[1]
docs = root / 'docs'
needed = [
    f'dist/{f}'
    for f in ('ort.wasm.min.mjs', 'ort-wasm-simd-threaded.mjs', 'ort-wasm-simd-threaded.wasm')
]


@pytest.fixture(scope='module')
def runtime(tmp_path_factory):
    "The folder of onnxruntime-web, as `make docs` left it or fetched with npm"
    if not all((docs / 'node_modules/onnxruntime-web' / f).exists() for f in needed):
        if not shutil.which('npm'):
            pytest.skip('no onnxruntime-web: install npm, or run make docs')
        shutil.copy(docs / 'package.json', folder := tmp_path_factory.mktemp('npm'))
        done = subprocess.run(
            ['npm', 'install', '--no-audit', '--no-fund', '--no-package-lock', '--ignore-scripts'],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f'npm could not fetch onnxruntime-web: {done.stderr.strip()[-300:]}')
        return folder / 'node_modules/onnxruntime-web'
    return docs / 'node_modules/onnxruntime-web'


def untrained(
    family, low, folder, name, **more
):  # a generator as the notebook keeps it, of random weights
    (G, _), z = build(family, 1 / 8), latents['uniform'](64, 100, generator('explorer test'))
    for stage in G.stages:
        stage.op.weight.data.mul_(4)  # or all is grey
    G = freeze(G, z, y=torch.arange(64) % 10 if G.classes else None)
    kept = keep_generator(
        Run('10a_explorer', dict(scale='smoke', seed=0)),
        name,
        G,
        z[:9],
        f'{name}, untrained.',
        low,
        **more,
    )
    for p in (kept, kept.with_suffix('.json')):
        shutil.move(p, folder / p.name)


@pytest.fixture(scope='module')
def site(runtime, tmp_path_factory):
    "A folder laid out as `make docs` does, with the explorer's page alone and untrained generators"
    site = tmp_path_factory.mktemp('site')
    shutil.copytree(docs / '_static/explorer', site / '_static/explorer')
    (
        (models := site / '_static/explorer/models').mkdir(),
        (vendor := site / '_static/vendor/onnxruntime-web').mkdir(parents=True),
    )
    for f in needed:
        shutil.copy(runtime / f, vendor)
    body = '\n'.join(
        re.findall(r'(?ms)^```\{raw\} html\n(.*?)^```', (docs / 'explorer.md').read_text())
    )
    (site / 'explorer.html').write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,"><body>{body}'
    )
    a, b, c, d = latents['uniform'](4, 100, generator('directions'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('DCGAN_FIGURES', str(tmp_path_factory.mktemp('figures')))
        untrained('lsun64', -1.0, models, 'rooms')
        untrained(
            'lsun64',
            -1.0,
            models,
            'faces',
            directions=dict(turn=(d, 1.5), long_hair=(a, 3)),
            answers=dict(long_hair=[0, 0.25, 1]),
            sums={
                ('smiling woman', 'neutral woman', 'neutral man', 'smiling man'): torch.stack(
                    [a, b, c]
                )
            },
        )
        untrained('mnist28', 0.0, models, 'digits', in_bytes=(1,))
    return site


@pytest.fixture(scope='module')
def address(site, serve):
    return serve(site)


@pytest.fixture(scope='module')
def page(browser, address):
    "The page, and what went wrong on it: requests that left this machine, errors in the console"
    page, wrong = browser.new_page(viewport=dict(width=1200, height=900)), []
    page.on(
        'request', lambda r: r.url.startswith((address, 'data:', 'blob:')) or wrong.append(r.url)
    )
    page.on('console', lambda m: m.type == 'error' and wrong.append(m.text))
    page.on('pageerror', lambda e: wrong.append(str(e)))
    page.goto(f'{address}/explorer.html')
    ready(page)
    yield page, wrong
    page.close()


@pytest.fixture
def opened(page):
    "The page with its first generator as at the beginning; nothing may have gone wrong at the end"
    page, wrong = page
    page.set_viewport_size(dict(width=1200, height=900))
    choose(page, 'rooms')
    yield page
    assert wrong == []


def ready(page):
    page.wait_for_selector('#explorer[data-state=ready]', timeout=30_000)


def picture(page):
    return page.eval_on_selector('.picture', 'canvas => canvas.toDataURL()')


def changes(page, act):  # the picture, once it is another
    before = picture(page)
    act()
    page.wait_for_function(
        'old => document.querySelector(".picture").toDataURL() !== old', arg=before, timeout=10_000
    )
    page.wait_for_timeout(100)
    return picture(page)


def choose(page, name):
    page.click(f'[data-name={name}]')
    page.wait_for_function(
        'name => document.querySelector(".about").textContent.startsWith(name)'
        ' && document.getElementById("explorer").dataset.state === "ready"',
        arg=name,
        timeout=30_000,
    )


def test_first_picture_is_always_the_same(opened):
    first = picture(opened)
    opened.reload()
    ready(opened)
    assert picture(opened) == first


def test_keys_move_on_the_plane_and_back(opened):
    start = picture(opened)
    opened.focus('.handle')
    moved = changes(opened, lambda: opened.keyboard.press('ArrowRight'))
    assert '52 % to the right, 50 % down' == opened.get_attribute('.handle', 'aria-valuetext')
    far = changes(opened, lambda: opened.keyboard.press('Shift+ArrowDown'))
    changes(opened, lambda: opened.keyboard.press('PageUp'))
    assert (
        changes(opened, lambda: opened.keyboard.press('ArrowLeft')) == start
        and len({start, moved, far}) == 3
    )
    for key, place in [
        ('End', (100, 100)),
        ('PageUp', (100, 90)),
        ('PageDown', (100, 100)),
        ('Home', (0, 0)),
    ]:
        changes(opened, lambda: opened.keyboard.press(key))
        assert (
            opened.get_attribute('.handle', 'aria-valuetext')
            == f'{place[0]} % to the right, {place[1]} % down'
        )


def test_mouse_drags_to_a_corner(opened):
    box, at = opened.query_selector('.plane').bounding_box(), opened.mouse
    at.move(box['x'] + box['width'] / 2, box['y'] + box['height'] / 2), at.down()
    corner = changes(opened, lambda: at.move(box['x'] - 50, box['y'] - 50, steps=3))
    at.up()
    assert opened.get_attribute('.handle', 'aria-valuetext') == '0 % to the right, 0 % down'
    assert corner == opened.eval_on_selector('.plane canvas', 'canvas => canvas.toDataURL()')


def test_new_corners_fill_the_plane_anew(opened):
    def pictures():
        return opened.eval_on_selector_all('.plane canvas', 'all => all.map(c => c.toDataURL())')

    before = pictures()
    changes(opened, lambda: opened.click('.corners'))
    opened.wait_for_function(
        'old => [...document.querySelectorAll(".plane canvas")].at(-1).toDataURL() !== old',
        arg=before[-1],
        timeout=10_000,
    )
    assert len({*before, *pictures()}) == 50


def test_walk_by_slider_and_by_itself(opened):
    opened.focus('.walk')
    changes(opened, lambda: opened.keyboard.press('ArrowRight'))
    assert (
        opened.get_attribute('.walk', 'aria-valuetext') == 'between point 1 and 2, 2 % of the way'
    )
    changes(opened, lambda: opened.click('.play'))
    changes(opened, lambda: None)
    assert opened.get_attribute(
        '.play', 'aria-pressed'
    ) == 'true' and 'pictures a second' in opened.inner_text('.rate')
    opened.click('.play')
    opened.wait_for_timeout(200)
    still = picture(opened)
    opened.wait_for_timeout(200)
    assert picture(opened) == still


def test_faces_have_directions_and_sums(opened):
    assert opened.is_hidden('.directions') and opened.is_hidden('.arithmetic')
    choose(opened, 'faces')
    start = picture(opened)
    assert 'in 0 % of the faces at the left end, in 100 % at the right end' in opened.inner_text(
        '.sliders'
    )
    opened.focus('[aria-label="long hair"]')
    changes(opened, lambda: opened.keyboard.press('End'))
    assert changes(opened, lambda: opened.click('.zero')) == start
    summed = changes(opened, lambda: opened.click('text=smiling man'))
    nine = opened.eval_on_selector_all('.nine canvas', 'all => all.map(c => c.toDataURL())')
    assert (
        len({*nine}) == 9
        and summed == nine[4]
        and opened.eval_on_selector_all('.terms canvas', 'all => all.length') == 3
    )
    assert changes(opened, lambda: opened.click('.nine button >> nth=0')) == nine[0]

    def chosen():
        return opened.eval_on_selector_all(
            '.nine [aria-pressed=true]', 'all => all.map(b => b.ariaLabel)'
        )

    assert chosen() == ['1 of 9: smiling man, with noise']
    changes(opened, lambda: opened.focus('.handle') or opened.keyboard.press('Home'))
    assert chosen() == []


def test_digits_have_classes_and_what_lies_between(opened):
    choose(opened, 'digits')
    opened.focus('.class')
    changes(opened, lambda: opened.keyboard.press('ArrowRight'))
    assert (
        opened.inner_text('.classes .amount')
        == opened.get_attribute('.class', 'aria-valuetext')
        == '95 % 3, 5 % 4'
    )
    changes(opened, lambda: opened.keyboard.press('End'))
    assert opened.inner_text('.classes .amount') == '9'


def told(
    folder, name
):  # of a generator's reference: what its file draws, and what PyTorch drew; in grey levels
    kept = json.loads((folder / f'{name}.json').read_text())['page']
    z, label = from_text(kept['reference']['z'])[None], kept['reference']['label']
    y = torch.eye(10)[[label]] if kept['classes'] else None
    return (
        z[0],
        label,
        255 * draw_onnx(folder / f'{name}.onnx', z, y).flatten(),
        from_text(kept['reference']['image'], 'uint8').float(),
    )


@pytest.mark.parametrize('name', ['rooms', 'faces', 'digits'])
def test_browser_draws_what_pytorch_draws(opened, site, name):
    z, label, in_file, in_torch = told(site / '_static/explorer/models', name)
    drawn = 255 * torch.tensor(
        opened.evaluate(
            '''async ([name, z, label]) => {
        const module = new URL('_static/explorer/explorer.js', location.href).href
        const { load, draw } = await import(module)
        return Array.from((await draw(await load(name), [Float32Array.from(z)], label ?? 0))[0])
    }''',
            [name, z.tolist(), label],
        )
    )
    assert in_torch.std() > 5 and (drawn - in_file).abs().max() <= 0.01
    if name != 'digits':
        assert (drawn.round() - in_torch).abs().max() <= 1  # digits: a layer in bytes


def test_kept_generators_are_small_and_draw_what_pytorch_drew():
    folder = root / 'figures/generators'
    if not (files := sorted(folder.glob('*.onnx'))):
        pytest.skip('no generators are kept: run 10a_explorer at laptop scale')
    assert {f.stem for f in files} == {'rooms', 'faces', 'digits'} and sum(
        f.stat().st_size for f in files
    ) <= 8e6
    for name in ('rooms', 'faces'):
        *_, in_file, in_torch = told(folder, name)
        assert (in_file.round() - in_torch).abs().max() <= 1


def test_page_says_what_failed(browser, address):
    page = browser.new_page()
    page.route('**/rooms.onnx', lambda route: route.fulfill(status=404, body=''))
    page.goto(f'{address}/explorer.html')
    page.wait_for_selector('#explorer[data-state=failed]')
    assert 'rooms.onnx could not be fetched (404' in page.inner_text(
        '.status'
    ) and 'python -m http.server' in page.inner_text('.status')
    choose(page, 'faces')
    assert 'Drawn in this browser' in page.inner_text('.status')
    page.close()


def test_page_as_a_file_says_to_serve_it(browser, site):
    page = browser.new_page()
    page.goto((site / 'explorer.html').as_uri())
    assert 'python -m http.server -d _docs' in page.inner_text('.status') and page.is_hidden(
        '.panel'
    )
    page.close()


def test_narrow_page_does_not_scroll_sideways(opened):
    opened.set_viewport_size(dict(width=390, height=844))
    choose(opened, 'faces')
    opened.click('text=smiling man')
    assert opened.evaluate('document.documentElement.scrollWidth') <= 390


def test_on_a_phone_the_picture_is_a_bar_that_covers_no_control_in_use(opened):
    opened.set_viewport_size(dict(width=390, height=844))
    choose(opened, 'faces')
    opened.click('text=smiling man')

    def box(selector):
        return opened.query_selector(selector).bounding_box()

    for control in ('.zero', '.walk', '.handle'):  # from the page's end upwards
        opened.evaluate('scrollTo(0, 1e6)')
        opened.focus(control)
        view = box('.view')
        assert (
            view['width'] == box('.panel')['width']
            and view['height'] < 200
            and box(control)['y'] >= view['y'] + view['height']
        ), control
