"The GAN that trains in the page: its numbers against PyTorch's, and the page in Chromium"

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from dcgan.beyond.deligan import Mixture
from dcgan.beyond.plane import energy_distance
from dcgan.gan.objectives import bce, gradient_penalty

pytestmark = pytest.mark.xdist_group('browser')  # tests that share a site run in one process

docs = Path(__file__).parents[1] / 'docs'
sources = docs / '_static/gan2d'

# A few rounds of training, and all that PyTorch needs to repeat them
recorder = """
import { Gan, batchOf, energyDistance } from './gan.js'
const [options, rounds] = JSON.parse(process.argv[2])
const gan = new Gan(options), n = gan.options.batch
const values = key => [gan.D, gan.G, gan.mixture].map(
  net => net ? net.parameters.map(p => [...p[key]]) : [])
const drawn = z => gan.mixture
  ? { chosen: [...gan.mixture.chosen], noise: [...gan.mixture.noise] } : { noise: [...z] }
const told = { start: values('value'), rounds: [] }
const before = process.cpuUsage()
for (let k = 0; k < rounds; k++) {
  const x = batchOf(gan.point, n, gan.r), zD = gan.latents(n), forD = drawn(zD)
  const D = gan.trainD(x, zD), gradD = values('grad')[0]
  const zG = gan.latents(n), forG = drawn(zG), G = gan.trainG(zG)
  told.rounds.push({ x: [...x], forD, forG, D, G, gradD, gradG: values('grad').slice(1) })
}
const spent = process.cpuUsage(before)
told.milliseconds = (spent.user + spent.system) / 1000 / rounds
const seen = gan.look()
told.end = values('value')
told.look = { samples: [...seen.samples], held: [...seen.held], energy: seen.energy }
console.log(JSON.stringify(told))
"""


@pytest.fixture(scope='session')
def record(tmp_path_factory):
    "Trains in Node.js: `record(options, rounds)`"
    if not shutil.which('node'):
        pytest.skip('no Node.js: the numbers of the page are not compared with PyTorch')
    folder = tmp_path_factory.mktemp('gan2d')
    for name in ('nets.js', 'gan.js'):
        shutil.copy(sources / name, folder)
    (folder / 'package.json').write_text('{"type": "module"}')
    (folder / 'record.js').write_text(recorder)

    def record(options, rounds=3):
        given = json.dumps([options, rounds])
        done = subprocess.run(['node', folder / 'record.js', given], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return record


def network(sizes, activation, norm=False, end=()):
    "Dense layers with an activation after each but the last, in float64"
    layers = []
    for a, b in zip(sizes[:-2], sizes[1:-1]):
        layers += [nn.Linear(a, b), *([nn.BatchNorm1d(b)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:]), *end).double()


def put(parameters, values):
    for p, v in zip(parameters, values, strict=True):
        p.data.copy_(torch.tensor(v, dtype=torch.float64).view_as(p))


def close(parameters, values, tolerance, of=lambda p: p):
    for p, v in zip(parameters, values, strict=True):
        told = torch.tensor(v, dtype=torch.float64).view_as(p)
        torch.testing.assert_close(of(p).detach(), told, rtol=tolerance, atol=tolerance)


def points(flat):
    return torch.tensor(flat, dtype=torch.float64).view(-1, 2)


def r1(D, x):
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return slope.square().sum(1).mean()


class Repeated:
    "The same networks and optimisers in PyTorch"

    def __init__(self, told, options):
        layers, norm, components = (options.get(k, 0) for k in ('layers', 'norm', 'mixture'))
        self.options = dict(r1=0, sigma=0.1, rateD=0.005, rateG=0.002, beta1=0.5) | options
        self.D = network((2, 32, 32, 1), lambda: nn.LeakyReLU(0.2))
        self.G = network((2, *[32] * (layers or 1), 2), nn.ReLU, norm, [nn.Tanh()])
        self.mixture = Mixture(components, 2, torch.Generator()).double() if components else None
        self.of_D, self.of_G = list(self.D.parameters()), list(self.G.parameters())
        self.of_mixture = list(self.mixture.parameters()) if components else []
        for parameters, values in zip((self.of_D, self.of_G, self.of_mixture), told['start']):
            put(parameters, values)
        betas = self.options['beta1'], 0.999
        self.optim_D = torch.optim.Adam(self.of_D, self.options['rateD'], betas, 1e-8)
        both = [*self.of_G, *self.of_mixture]
        self.optim_G = torch.optim.Adam(both, self.options['rateG'], betas, 1e-8)

    def latent(self, drawn):  # and DeLiGAN's penalty
        noise = points(drawn['noise'])
        if self.mixture is None:
            return noise, 0.0
        share = (torch.tensor(drawn['chosen']) + 0.5) / len(self.mixture.mean)
        return self.mixture(torch.cat([share[:, None].double(), noise], 1))

    def loss_of_D(self, round):
        x, fake = points(round['x']), self.G(self.latent(round['forD'])[0]).detach()
        loss = F.softplus(-self.D(x)).mean() + F.softplus(self.D(fake)).mean()
        return loss + self.options['r1'] / 2 * r1(self.D, x)

    def loss_of_G(self, round):
        z, penalty = self.latent(round['forG'])
        return F.softplus(-self.D(self.G(z))).mean() + self.options['sigma'] * penalty

    def step(self, optimiser, loss):
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return float(loss.detach())


@pytest.mark.parametrize(
    'options',
    [
        dict(batch=64),
        dict(batch=65, r1=0.7, beta1=0.0),
        dict(batch=64, layers=3, norm=True, mixture=5, data='ring'),
        dict(batch=64, layers=2, mixture=50, sigma=1.0, r1=0.05),
    ],
)
def test_training_is_that_of_pytorch(record, options):
    told = record(options)
    mine = Repeated(told, options)
    for round in told['rounds']:
        assert mine.step(mine.optim_D, mine.loss_of_D(round)) == pytest.approx(round['D'], 1e-10)
        close(mine.of_D, round['gradD'], 1e-9, lambda p: p.grad)
        assert mine.step(mine.optim_G, mine.loss_of_G(round)) == pytest.approx(round['G'], 1e-10)
        for parameters, values in zip((mine.of_G, mine.of_mixture), round['gradG']):
            close(parameters, values, 1e-9, lambda p: p.grad)
    for parameters, values in zip((mine.of_D, mine.of_G, mine.of_mixture), told['end']):
        close(parameters, values, 1e-6)


def test_losses_and_energy_distance_are_those_of_the_library(record):
    options = dict(batch=64, r1=0.05)
    told = record(options, rounds=1)
    mine, (round,) = Repeated(told, options), told['rounds']
    x, z = points(round['x']), mine.latent(round['forD'])[0]

    def D(x, y=None):
        return mine.D(x)

    loss = bce(D(x), True) + bce(D(mine.G(z)), False) + 0.05 / 2 * gradient_penalty(D, x)
    assert float(loss.detach()) == pytest.approx(round['D'], 1e-5)
    look = told['look']
    energy = energy_distance(points(look['samples']), points(look['held']))
    assert energy == pytest.approx(look['energy'], 1e-9)


def test_a_step_of_256_points_is_fast_enough_for_30_a_second(record):
    "CPU time, so that a busy machine does not matter, of the costliest preset"
    costly = dict(batch=256, layers=5, norm=True, start='small')
    assert record(costly, rounds=40)['milliseconds'] < 1000 / 30


def test_the_same_seed_trains_the_same(record):
    first, again, other = (record(dict(batch=16, seed=s), rounds=2)['end'] for s in (3, 3, 4))
    assert first == again != other


# The page


@pytest.fixture(scope='module')
def address(serve, tmp_path_factory):
    "The page alone, laid out as `make docs` does"
    site = tmp_path_factory.mktemp('gan2d_site')
    shutil.copytree(sources, site / '_static/gan2d')
    text = (docs / 'gan2d.md').read_text()
    body = '\n'.join(re.findall(r'(?ms)^```\{raw\} html\n(.*?)^```', text))
    (site / 'gan2d.html').write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,"><body>{body}'
    )
    return f'{serve(site)}/gan2d.html'


@pytest.fixture
def opened(browser, address):
    "Opens the page with settings; nothing may have gone wrong at the end"
    pages, wrong = [], []

    def opened(settings='', **options):
        page = browser.new_page(viewport=dict(width=1200, height=900), **options)
        page.on('console', lambda m: m.type == 'error' and wrong.append(m.text))
        page.on('pageerror', lambda e: wrong.append(str(e)))
        pages.append(page)
        page.goto(f'{address}{settings}')
        page.wait_for_selector('#gan2d[data-energy]')
        return page

    yield opened
    for page in pages:
        page.close()
    assert wrong == []


def reaches(page, condition, seconds=120):
    "Waits until what the page measures fulfils a condition on `d`, and stops the training"
    code = f'() => {{ const d = document.getElementById("gan2d").dataset; return {condition} }}'
    page.wait_for_function(code, timeout=1000 * seconds)
    page.click('.run')
    page.wait_for_selector('[data-state=paused]')


def measured(page, name):
    return float(page.get_attribute('#gan2d', f'data-{name}'))


def test_a_laptop_shows_the_whole_plane_and_the_chosen_experiment(opened):
    page = opened()
    page.set_viewport_size(dict(width=1280, height=800))
    box = page.locator('.plane').bounding_box()
    assert box['y'] + box['height'] <= 800 and box['height'] > 300
    assert page.locator('.pair p:visible').count() == 1


def test_learns_two_blobs(opened):
    page = opened()
    assert measured(page, 'energy') > 100
    page.click('[data-preset=learns]')
    reaches(page, 'd.energy < 10')
    assert 'Paused. Step' in page.inner_text('.status')


def test_deep_generator_collapses_without_batch_norm_and_not_with_it(opened):
    page = opened()
    page.click('[data-preset=collapse]')
    reaches(page, 'd.rounds > 200')
    assert measured(page, 'spread') < 0.15 and measured(page, 'energy') > 100  # of the data: 0.52
    page.click('[data-preset=collapse_mended]')
    reaches(page, 'd.spread > 0.3 && d.energy < 60')


def test_steps_one_by_one_and_by_halves(opened):
    page = opened()
    for button, rounds in (('.step', 1), ('.only-D', 2), ('.only-G', 3)):
        page.focus(button)
        page.keyboard.press('Enter')
        page.wait_for_selector(f'#gan2d[data-rounds="{rounds}"]')
    page.click('.again')
    page.wait_for_selector('#gan2d[data-rounds="0"]')


def test_link_restores_the_settings(opened):
    page = opened()
    page.select_option('[data-option=data]', 'ring')
    page.check('[data-option=norm]')
    page.focus('[data-option=beta1]')
    page.keyboard.press('End')
    settings = '#' + page.url.partition('#')[2]
    again = opened(settings)
    assert again.input_value('[data-option=data]') == 'ring'
    assert again.is_checked('[data-option=norm]')
    assert again.get_attribute('[data-option=beta1]', 'aria-valuetext') == '0.95'
    assert measured(again, 'energy') == measured(page, 'energy')


def test_draws_data_by_keyboard(opened):
    page = opened('#data=drawing')
    page.focus('.plane')
    for key in ('ArrowRight', 'ArrowUp', ' ', 'Shift+ArrowLeft', ' '):
        page.keyboard.press(key)
    page.click('.step')
    page.wait_for_selector('#gan2d[data-rounds="1"]')
    assert 0.05 < float(page.inner_text('[data-number=spreadHeld]')) < 0.15


def test_every_control_has_a_name_and_the_page_fits_a_phone(opened):
    page = opened()
    unnamed = """() => [...document.querySelectorAll('#gan2d :is(button, input, select, canvas)')]
        .filter(e => !(e.ariaLabel || e.textContent.trim() && e.tagName === 'BUTTON'
                       || e.closest('label')?.textContent.trim())).map(e => e.outerHTML)"""
    assert page.evaluate(unnamed) == []
    page.set_viewport_size(dict(width=390, height=844))
    assert page.evaluate('document.documentElement.scrollWidth') <= 390


def test_reduced_motion_is_respected(opened):
    page = opened(reduced_motion='reduce')
    page.click('[data-preset=learns]')
    page.wait_for_selector('#gan2d[data-rate]:not([data-rate=""])')
    seen = page.evaluate("""async () => {
        let count = 0
        const root = document.getElementById('gan2d')
        const watch = new MutationObserver(() => { count += 1 })
        watch.observe(root, { attributeFilter: ['data-rounds'] })
        await new Promise(done => setTimeout(done, 3000))
        return count
    }""")
    assert seen <= 4
