"The explorer in headless Chromium: generators follow keys and mouse, and draw as PyTorch does"

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from dcgan.base.core import Run, generator
from dcgan.data.store import load, resize_images
from dcgan.gan.nets import build, latents
from dcgan.paper.walks import freeze
from dcgan.tools.explorer import draw_onnx, export_onnx, from_text, keep_generator

pytestmark = pytest.mark.xdist_group('browser')  # tests that share a site run in one process

root = Path(__file__).parents[1]
docs = root / 'docs'
sys.path.append(str(docs))
from generators import buttons, outdated, write_all  # noqa: E402
from nearest import compared, small, thumbnails, worlds  # noqa: E402

needed = [
    *('dist/ort.wasm.min.mjs', 'dist/ort.jspi.min.mjs'),
    *(f'dist/ort-wasm-simd-threaded.{e}' for e in ('mjs', 'wasm', 'jspi.mjs', 'jspi.wasm')),
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
    run = Run('10a_explorer', dict(scale='smoke', seed=0))
    if name == 'rooms':
        run.uses(load('rooms', size=64, n=64))
    kept = keep_generator(
        run,
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
    Image.new('RGB', (384, 128)).save(site / '_static/moving_still.webp')
    text = (docs / 'explorer.md').read_text().replace('{generators}', buttons(models))
    text = text.replace('{stale}', outdated(models))
    body = '\n'.join(
        re.findall(r'(?ms)^```\{raw\} html\n(.*?)^```', text)
    )
    (site / 'explorer.html').write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,"><body>{body}'
    )
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
    page.goto(f'{address}/explorer.html#g=rooms')
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
        const module = new URL('_static/explorer/generators.js', location.href).href
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
    page.goto(f'{address}/explorer.html#g=rooms')
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


# What a reader takes along, and brings


def quiet(page):  # until the address holds what is seen
    page.wait_for_timeout(400)
    return page.url


def test_nothing_large_loads_before_a_generator_is_chosen(browser, address):
    page, asked = browser.new_page(), []
    page.on('request', lambda r: asked.append(r.url))
    page.goto(f'{address}/explorer.html', wait_until='networkidle')
    assert not [url for url in asked if 'onnx' in url and 'vendor' in url or 'models' in url]
    assert page.is_visible('.still') and page.is_hidden('.panel')
    page.close()


def test_link_restores_what_is_seen(opened, browser):
    choose(opened, 'faces')
    changes(opened, lambda: opened.click('.corners'))
    opened.focus('[aria-label="long hair"]')
    changes(opened, lambda: opened.keyboard.press('End'))
    changes(opened, lambda: opened.focus('.handle') or opened.keyboard.press('End'))
    link, seen = quiet(opened), picture(opened)
    assert 'g=faces' in link and 'seed=1' in link and 'long_hair=3' in link
    again = browser.new_page()
    again.goto(link)
    ready(again)
    assert picture(again) == seen
    assert again.input_value('[aria-label="long hair"]') == '3'
    again.close()


def test_link_restores_a_sum_and_a_class(opened, browser):
    choose(opened, 'faces')
    opened.click('text=smiling man')
    opened.wait_for_selector('.nine button')
    opened.click('.noise')
    quiet(opened)
    changes(opened, lambda: opened.click('.nine button >> nth=7'))
    link, seen = quiet(opened), picture(opened)
    choose(opened, 'digits')
    opened.focus('.class')
    changes(opened, lambda: opened.keyboard.press('End'))
    digit, nine = quiet(opened), picture(opened)
    again = browser.new_page()
    for address, wanted in ((link, seen), (digit, nine)):
        again.goto(address)  # the second by hashchange, in the same page
        again.wait_for_function(
            'seen => document.querySelector(".picture").toDataURL() === seen', arg=wanted
        )
    again.close()


@pytest.mark.parametrize('hash', ['#g=rooms&x=7&walk=-1&nth=x&equation=5&base=sum', '#g=absent'])
def test_links_that_make_no_sense_do_no_harm(browser, address, hash):
    page, wrong = browser.new_page(), []
    page.on('pageerror', lambda e: wrong.append(str(e)))
    page.goto(f'{address}/explorer.html{hash}')
    if 'rooms' in hash:
        ready(page)
        assert page.get_attribute('.handle', 'aria-valuetext') == '50 % to the right, 50 % down'
    else:
        assert page.inner_text('.status').startswith('Choose a generator')
    assert wrong == []
    page.close()


def test_png_is_the_picture_enlarged(opened, tmp_path):
    with opened.expect_download() as started:
        opened.click('.save')
    started.value.save_as(tmp_path / 'saved.png')
    saved = np.asarray(Image.open(tmp_path / 'saved.png').convert('RGB'))
    seen = opened.evaluate(
        """() => { const c = document.querySelector('.picture')
        return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data] }"""
    )
    assert started.value.suggested_filename == 'rooms.png' and saved.shape == (512, 512, 3)
    assert (saved[::8, ::8] == np.array(seen).reshape(64, 64, 4)[..., :3]).all()
    assert (saved[7::8, 7::8] == saved[::8, ::8]).all()


def bring(page, path):
    page.set_input_files('.file', path)
    page.wait_for_function(
        'name => document.querySelector(".about").textContent.startsWith(name)'
        ' && document.getElementById("explorer").dataset.state === "ready"',
        arg=path.name,
    )


def test_own_file_is_drawn(opened, tmp_path, site):
    own = tmp_path / 'mine.onnx'
    shutil.copy(site / '_static/explorer/models/digits.onnx', own)
    opened.click('.yours summary')
    bring(opened, own)
    assert opened.is_visible('.classes') and opened.is_disabled('.share')
    assert 'z of 100 numbers, images of 1×28×28' in opened.inner_text('.about')
    uniform = picture(opened)
    plane = opened.eval_on_selector_all(".plane canvas", "all => all.map(c => c.toDataURL())")
    assert len({*plane}) > 9
    changes(opened, lambda: opened.select_option('.latent', 'normal'))
    assert uniform != picture(opened) and '#' not in quiet(opened)


def test_own_file_with_tanh_for_one_image_at_a_time(opened, tmp_path):
    (G, _), z = build('lsun64', 1 / 8), latents['uniform'](64, 100, generator('own'))
    path = export_onnx(freeze(G, z), tmp_path / 'signed.onnx', 0)  # low 0 leaves tanh as it is
    model = onnx.load(path)
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, path)
    bring(opened, path)
    assert 'values from -1 to 1' in opened.inner_text('.about')
    mean = opened.evaluate(
        """() => { const c = document.querySelector('.picture')
        const { data } = c.getContext('2d').getImageData(0, 0, 64, 64)
        return data.filter((_, i) => i % 4 < 3).reduce((a, b) => a + b) / 3 / 4096 }"""
    )
    assert 100 < mean < 156  # an untrained network is grey


@pytest.mark.parametrize('what', ['no ONNX file', 'not N×1×H×W', 'needs one input'])
def test_own_files_that_do_not_fit_are_refused(opened, tmp_path, what):
    path = tmp_path / 'wrong.onnx'
    path.write_text('no graph')
    if what != 'no ONNX file':
        names = ['z'] if 'not' in what else ['a', 'b', 'c']
        ports = [onnx.helper.make_tensor_value_info(n, 1, ['N', 8]) for n in names]
        out = onnx.helper.make_tensor_value_info('x', 1, ['N', 8])
        nodes = [onnx.helper.make_node('Sum', names, ['x'])]
        graph = onnx.helper.make_graph(nodes, 'wrong', ports, [out])
        opset = [onnx.helper.make_opsetid('', 17)]
        onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    opened.set_input_files('.file', path)
    opened.wait_for_selector('#explorer[data-state=failed]')
    assert what in opened.inner_text('.status')


# Nearest training images


def test_a_training_image_finds_itself_first(opened, site):
    found = opened.evaluate(
        """async () => {
        const module = new URL('_static/explorer/nearest.js', location.href).href
        const { nearest, thumbnails } = await import(module), set = await thumbnails('rooms')
        const { size, compared, colours } = set, length = 3 * compared ** 2
        const image = i => Float32Array.from({ length: 3 * size * size }, (_, at) => {
          const k = Math.floor(at / size ** 2), y = Math.floor(at / size) % size, x = at % size
          return colours[i * length + (k * compared + (y >> 1)) * compared + (x >> 1)] / 255
        })
        const found = [5, 2047].map(i => nearest(set, image(i), { maps: 3, height: size })[0])
        return [found, [...colours.slice(5 * length, 6 * length)]]
    }"""
    )
    kept = thumbnails(Image.open(docs / '_static/explorer/nearest/rooms.webp').convert('RGB'))
    assert [f['index'] for f in found[0]] == [5, 2047]
    assert max(f['distance'] for f in found[0]) < 0.01
    assert np.abs(small(kept[5:6])[0] - found[1]).max() < 1  # as Python reads the file


def test_nearest_images_are_shown_where_the_world_is_known(opened):
    opened.check('.find')
    opened.wait_for_selector('.near canvas')
    shown = opened.eval_on_selector_all('.near canvas', 'all => all.map(c => c.dataset.index)')
    assert len({*shown}) == 6 and 'of 64 training images' in opened.inner_text('.told')
    assert 'near=true' in quiet(opened)
    choose(opened, 'digits')
    assert opened.is_hidden('.find') and opened.is_visible('.none')


@pytest.mark.parametrize('world', worlds)
def test_kept_thumbnails_are_those_of_the_world(world):
    path = docs / f'_static/explorer/nearest/{world}.webp'
    assert path.stat().st_size < 500_000
    kept = small(thumbnails(Image.open(path).convert('RGB'))[:8])
    drawn = small(resize_images(load(world, size=64, n=8).images, 32))
    assert kept.shape == (8, 3 * compared**2) and np.abs(kept - drawn).mean() < 4


# Kept weights, and a GPU


def test_kept_weights_become_generators_of_the_page(tmp_path):
    weights = root / 'figures/weights'
    if not [*weights.glob('*.safetensors')]:
        pytest.skip('no weights are kept')
    write_all(weights, tmp_path)
    assert (names := sorted(p.stem for p in tmp_path.glob('*.onnx')))
    for name in names:
        *_, in_file, in_torch = told(tmp_path, name)
        assert in_torch.std() > 20 and (in_file - in_torch).abs().max() <= 1
        assert f'data-name="{name}"' in buttons(tmp_path)


def test_webgpu_draws_the_same(browser, address):
    "By a GPU that Chromium pretends on the CPU; a page takes it only if its link asks for it"
    options = ['no-sandbox', 'disable-background-networking', 'enable-unsafe-webgpu',
               'use-webgpu-adapter=swiftshader', 'enable-features=Vulkan']
    chromium = browser.browser_type.launch(
        executable_path=shutil.which('chromium'), args=[f'--{o}' for o in options]
    )
    page, told = chromium.new_page(), []
    page.on('console', lambda m: told.append(m.text))
    page.goto(f'{address}/explorer.html#g=rooms')
    ready(page)
    assert 'by WebAssembly' in page.inner_text('.status')
    seen = page.evaluate('navigator.gpu?.requestAdapter().then(Boolean)')
    if not seen:
        chromium.close()
        pytest.skip('this Chromium has no WebGPU without a GPU')
    page.goto('about:blank')
    page.goto(f'{address}/explorer.html#g=rooms&on=webgpu')
    page.wait_for_function(
        "document.querySelector('.status').textContent.startsWith('Drawn in')", timeout=200_000
    )
    assert 'by WebGPU' in page.inner_text('.status'), told
    assert re.search(r'at most [01] of 255', page.inner_text('.status'))
    chromium.close()
