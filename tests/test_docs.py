"The site in headless Chromium: it is built once, and every page is visited on a narrow screen"

import importlib.util
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import nbformat
import pytest
from copies import copy_repository
from nbformat.v4 import new_code_cell as code
from nbformat.v4 import new_markdown_cell as text
from nbformat.v4 import new_notebook, new_output
from test_house import imports, layers, modules

from dcgan.base.core import protocol

pytestmark = pytest.mark.xdist_group('browser')  # tests that share a site run in one process

root = Path(__file__).parents[1]


@pytest.fixture
def module(monkeypatch):
    "A module of docs/ by its name"
    monkeypatch.syspath_prepend(root / 'docs')

    def module(name):
        spec = importlib.util.spec_from_file_location(f'docs_{name}', root / f'docs/{name}.py')
        spec.loader.exec_module(found := importlib.util.module_from_spec(spec))
        return found

    return module


@pytest.fixture(scope='session')
def site(tmp_path_factory):
    "The site, built in a copy of the repository"
    fetched = subprocess.run(
        ['make', 'docs/node_modules/.ready'], cwd=root, capture_output=True, text=True
    )
    if fetched.returncode:
        pytest.skip(f'what comes from npm is not at hand: {fetched.stderr.strip()[-300:]}')
    copy = copy_repository(tmp_path_factory.mktemp('docs') / 'repository')
    (copy / 'docs/node_modules').symlink_to(root / 'docs/node_modules')
    built = subprocess.run(
        [sys.executable, 'docs/build.py'], cwd=copy, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return copy / '_docs'


@pytest.fixture(scope='session')
def address(site, serve):
    return f'{serve(site)}/'


@pytest.fixture(scope='module')
def tab(browser, address):
    "A phone-wide page, and what went wrong in it"
    page, wrong = browser.new_page(viewport=dict(width=390, height=844)), []
    page.on('console', lambda m: m.type == 'error' and wrong.append(f'{page.url}: {m.text}'))
    page.on('pageerror', lambda e: wrong.append(f'{page.url}: {e}'))
    page.on(
        'requestfailed',
        lambda r: (
            r.failure != 'net::ERR_ABORTED'
            and wrong.append(f'{page.url}: {r.url} failed, {r.failure}')
        ),
    )
    page.on(
        'request',
        lambda r: (
            r.url.startswith((address, 'data:', 'blob:'))
            or wrong.append(f'{page.url}: asks another host for {r.url}')
        ),
    )
    yield page, wrong
    page.close()  # what moves on it costs time


seen = r'''async () => {
    await window.MathJax?.startup?.promise
    const all = (s, f) => [...document.querySelectorAll(s)].map(f)
    return {
    links: all('a[href]', a => new URL(a.getAttribute('href'), document.baseURI).href),
    ids: all('[id]', e => e.id),
    lost: all('img', i => i.naturalWidth ? null : i.src).filter(Boolean),
    unnamed: all('article img', i => i)
        .filter(i => /^\w*$|\.(png|gif)$/.test(i.alt)).map(i => i.src),
    pictures: all('article img', i => i.src).length,
    formulas: all('mjx-container', e => e).length,
    wrong: all('mjx-merror, .problematic', e => e.textContent),
    wide: document.documentElement.scrollWidth }}'''


@pytest.fixture(scope='module')
def pages(tab, site, address):
    "What there is on every page: name → links, ids, pictures, formulas, width"
    names = sorted(
        p.relative_to(site).as_posix() for p in site.rglob('*.html') if '_static' not in p.parts
    )

    def visit(name):
        return tab[0].goto(address + name) and tab[0].evaluate(seen)

    return {name: visit(name) for name in names}


def test_every_page_loads_without_errors_and_without_another_host(pages, tab):
    assert tab[1] == [] and len(pages) > 40
    assert {k: v for k, p in pages.items() if (v := p['lost'] + p['wrong'])} == {}


def test_every_picture_says_what_it_shows(pages):
    "Its alternative text is words, not the name of its file"
    assert {name: p['unnamed'] for name, p in pages.items() if p['unnamed']} == {}


def test_no_link_is_broken(pages, site, address):
    def broken(link):
        url, anchor = urldefrag(unquote(link))
        name = url.removeprefix(address) or 'index.html'
        return (
            not (site / name).is_file()
            or bool(anchor)
            and name in pages
            and anchor not in pages[name]['ids']
        )

    assert {
        (k, l) for k, p in pages.items() for l in p['links'] if l.startswith(address) and broken(l)
    } == set()
    assert {
        l for p in pages.values() for l in p['links'] if urlsplit(l).scheme not in ('http', 'https')
    } == set()


def test_every_notebook_and_module_has_its_page(site):
    pages = {p.relative_to(site).as_posix() for p in site.rglob('*.html')}
    assert {f'{p.stem}.html' for p in (site.parent / 'nbs').rglob('[!._]*.ipynb')} <= pages
    assert {
        f'api/{p.parent.name}.{p.stem}.html' for p in (site.parent / 'dcgan').rglob('[!_]*.py')
    } <= pages


def test_mathematics_and_figures_are_in_place(pages, site):
    nbs, figures = site.parent / 'nbs', site.parent / 'figures'
    said = {
        p.stem: '\n'.join(c.source for c in nbformat.read(p, 4).cells if c.cell_type == 'markdown')
        for p in nbs.rglob('[!._]*.ipynb')
        if p.stem != 'index'
    }
    formulas = [
        name
        for name, text in said.items()
        if re.search(r'\$\S[^$\n]*\$', re.sub('`[^`]*`', '', text))
    ]
    assert formulas and [n for n in formulas if not pages[f'{n}.html']['formulas']] == []
    # results of a notebook that does not exist any more are shown on no page but the front page
    kept = Counter(
        name
        for p in figures.glob('*.png')
        if (name := json.loads(p.with_suffix('.json').read_text())['notebook']) in said
    )
    assert {n: k for n, k in kept.items() if pages[f'{n}.html']['pictures'] < k} == {}


def test_pages_are_light_and_fit_a_phone(pages, site):
    assert {k: n for k in pages if (n := (site / k).stat().st_size) > 1e6} == {}
    assert {k: p['wide'] for k, p in pages.items() if p['wide'] > 390} == {}


before_pictures = r"""() => performance.getEntries()
    .filter(e => e.decodedBodySize && !/\.(png|jpe?g|gif|webp|svg)($|\?)/.test(e.name))
    .reduce((sum, e) => sum + e.decodedBodySize, 0)"""


@pytest.mark.parametrize(
    'name', ['index', '00_one_sitting', '05_svhn', 'gan2d', 'explorer', 'api/gan.trainer']
)
def test_what_comes_before_the_pictures_is_at_most_a_megabyte(browser, address, name):
    page = browser.new_page()  # with an empty cache
    page.goto(f'{address}{name}.html', wait_until='networkidle')
    assert 1e5 < page.evaluate(before_pictures) <= 1e6
    page.close()


def test_code_of_100_columns_fits_a_laptop_and_is_broken_on_a_phone(browser, address):
    "The 100 columns that ruff allows; `wide` above says that the page itself never scrolls"
    page = browser.new_page()
    cut = """() => [...document.querySelectorAll('.cell_input pre')].filter(
        e => e.scrollWidth > e.clientWidth).map(e => e.textContent.slice(0, 80))"""
    for name in ('01_guidelines', '03_lsun', '05_svhn', 'trainer'):
        page.goto(f'{address}{name}.html')
        page.evaluate(unfold)
        for width in (1280, 390):
            page.set_viewport_size(dict(width=width, height=844))
            assert page.evaluate(cut) == [], (name, width)
    page.close()


def test_front_page_lists_every_table_and_figure(tab, address):
    page, _ = tab
    page.goto(address)
    cards = {c.query_selector('h3').inner_text(): c for c in page.query_selector_all('.card-ours')}
    assert [*cards][:14] == [f'Table {i}' for i in (1, 2, 3)] + [
        f'Figure {i}' for i in range(1, 12)
    ]
    for title, card in cards.items():
        assert card.query_selector('p').inner_text() and card.query_selector('h3 a').get_attribute(
            'href'
        ).endswith('.html')
        if title.split()[0] in ('Table', 'Figure'):
            assert (
                card.query_selector('.ours table' if title.startswith('Table') else '.ours img')
                and (title == 'Figure 1' or 'Data: ' in card.inner_text())  # a drawing has none
            ), title
    dcgan = next(
        r
        for r in json.loads((root / 'figures/table2.json').read_text())['rows']
        if r['model'] == 'DCGAN + L2-SVM'
    )
    assert f"{dcgan['ours']:.2f} ± {dcgan['interval']:.2f}" in cards['Table 2'].inner_text()
    assert (
        'supervised CNN' in cards['Table 2'].inner_text()
    )  # the paper's number is of the validation images: its cell is empty
    assert (
        cards['Figure 1']
        .query_selector('img')
        .get_attribute('alt')
        .startswith('Fig. 1: the lsun64 generator')
    )


def test_first_screen_moves_says_what_was_found_and_leads_on(browser, address, site):
    page = browser.new_page(viewport=dict(width=1280, height=900))
    page.goto(address)
    ways = page.eval_on_selector_all('.way', 'all => all.map(a => a.getAttribute("href"))')
    assert ways[0] == '00_one_sitting.html' and 'gan2d.html' in ways
    found = page.eval_on_selector_all('.findings li', 'all => all.map(e => e.innerText)')
    rows = json.loads((site.parent / 'figures/table2.json').read_text())['rows']
    dcgan = next(r for r in rows if r['model'] == 'DCGAN + L2-SVM')
    number = f"{dcgan['ours']:.2f} ± {dcgan['interval']:.2f} %"
    assert 1 <= len(found) <= 3 and sum(number in f for f in found) == 1
    seen = 'document.querySelector(".moving canvas").toDataURL()'
    page.wait_for_selector('.moving[data-state=playing]')
    before = page.evaluate(seen)
    page.wait_for_function(f'old => {seen} !== old', arg=before)
    page.click('.moving button')
    before = page.evaluate(seen)
    page.wait_for_timeout(500)
    assert page.evaluate(seen) == before and page.inner_text('.moving button') == 'Play'
    page.close()


def test_moving_picture_is_still_where_motion_is_reduced(browser, address):
    page = browser.new_page(reduced_motion='reduce')
    page.goto(address)
    page.wait_for_selector('.moving[data-state=paused]')
    page.close()


def test_paper_notebooks_fold_their_code_and_say_how_to_run_them(browser, address, site):
    page = browser.new_page()
    page.goto(f'{address}05_svhn.html')
    open_code = """() => [...document.querySelectorAll('.cell_input')]
        .filter(e => !e.closest('details') || e.closest('details').open).length"""
    assert page.evaluate(open_code) == 0
    assert 'papermill nbs/05_svhn.ipynb out.ipynb' in page.inner_text('.run')
    assert (site / page.get_attribute('.run a[download]', 'href')).is_file()
    result = "document.querySelector('article :is(table, img)').getBoundingClientRect().top"
    assert page.evaluate(result) < 500
    names = "all => all.map(a => a.getAttribute('href'))"
    sidebar = page.eval_on_selector_all('.bd-links li.toctree-l1 > a', names)
    assert '10_mnist.html' in sidebar and 'trainer.html' not in sidebar
    page.goto(f'{address}00_one_sitting.html')
    assert page.evaluate(open_code) > 0
    page.close()


def test_next_leads_through_the_sidebar(browser, address):
    "From the first page to the last: pages of the library are reached by the lists of them"
    page = browser.new_page()
    page.goto(address)
    links = '.bd-links li.toctree-l1 > a'
    sidebar = page.eval_on_selector_all(links, 'all => all.map(a => a.href)')
    for at, link in enumerate(sidebar):
        page.click('.right-next')
        assert page.url == link
        before = page.locator('.left-prev').evaluate('a => a.href')
        assert before == (sidebar[at - 1] if at else f'{address}index.html')
    assert not page.query_selector('.right-next')
    page.close()


def test_a_phone_shows_no_button_that_opens_nothing(browser, address):
    page = browser.new_page(viewport=dict(width=390, height=844))
    for name, contents in dict(index=False, gan2d=False, failing=True).items():
        page.goto(f'{address}{name}.html')
        assert page.is_visible('.secondary-toggle') == contents
    page.click('.secondary-toggle')
    page.wait_for_selector('#pst-secondary-sidebar-modal a:visible')
    page.close()


def test_results_stand_in_the_section_that_makes_them(browser, address):
    page = browser.new_page()
    page.goto(f'{address}05_svhn.html')
    for section, name in dict(training='epochs', **{'real-and-generated-digits': 'digits'}).items():
        assert page.query_selector(f'#{section} img[src*=svhn_{name}]'), section
    assert not page.query_selector('#results')
    page.close()


main_pages = ['index', '00_one_sitting', '01_guidelines', '05_svhn', '14_claims', 'gan2d',
              'explorer', 'explorer#g=faces', 'failing', 'house', 'library', 'running',
              'objectives', 'api/gan.trainer']
settled = """mode => document.readyState === 'complete' && !document.getAnimations().length
    && document.documentElement.dataset.theme === mode"""
unfold = "document.querySelectorAll('article details').forEach(d => { d.open = true })"
rules = dict(light=['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'],
             dark=['color-contrast'])  # what else the rules ask is the same in both
broken_rules = """async rules => {
    const found = await axe.run({ runOnly: rules })
    return found.violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 200))])
}"""


@pytest.mark.parametrize('width', [1280, 390])
def test_main_pages_are_accessible(browser, address, width):
    "axe-core's rules of WCAG 2.1 A and AA, and its best practices: names, contrast, landmarks …"
    axe = (root / 'docs/node_modules/axe-core/axe.min.js').read_text()
    page = browser.new_page(viewport=dict(width=width, height=900))
    found = {}
    for name in main_pages:
        path, _, state = name.partition('#')
        page.goto('about:blank')
        page.goto(f'{address}{path}.html{"#" + state if state else ""}')
        if state:
            page.wait_for_selector('#explorer[data-state=ready]')
        page.evaluate(unfold)
        page.evaluate(axe)
        for mode, some in rules.items():
            page.emulate_media(color_scheme=mode)
            page.wait_for_function(settled, arg=mode)  # unfolded code fades in
            found[name, mode] = page.evaluate(broken_rules, some)
    page.close()
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_pdf_is_linked(browser, address):
    page = browser.new_page()
    page.goto(address)
    link = page.get_attribute('.ways a[href$=".pdf"]', 'href')
    assert page.request.get(address + link).body().startswith(b'%PDF')
    page.close()


def test_search_finds_a_function(tab, address):
    page, wrong = tab
    page.goto(address + 'search.html?q=draw_walks')
    page.wait_for_selector(
        '#search-results a[href*="api/paper.walks.html#dcgan.paper.walks.draw_walks"]'
    )
    assert wrong == []


def test_dark_mode_changes_the_ground(tab, address):
    page, _ = tab
    page.goto(address)

    def ground(mode):
        page.locator('.theme-switch-button:visible').first.click()
        page.locator(f'.theme-change-button[data-mode={mode}]:visible').first.click()
        return page.evaluate('getComputedStyle(document.body).backgroundColor')

    assert ground('dark') != ground('light')


# How a page is made


def test_outputs_come_from_the_run_and_only_to_cells_that_did_not_change(module):
    def said(s):
        return [new_output('stream', text=s)]

    figure = new_output('display_data', {'text/markdown': '![](../fig04.png)'})
    path = new_output(
        'execute_result', {'text/plain': '/somewhere/.venv/lib/python3.11/x.py:43: UserWarning'}
    )
    bar, warning = (
        new_output('display_data', {'application/vnd.jupyter.widget-view+json': {}}),
        new_output('stream', name='stderr', text='5%'),
    )
    parameters = code("scale = 'auto'", metadata=dict(tags=['parameters']))
    now = new_notebook(cells=[text('# Title'), parameters, code('1'), code('new'), code('draw()')])
    ran = new_notebook(
        cells=[
            parameters,
            code("scale = 'smoke'", metadata=dict(tags=['injected-parameters'])),
            code('1', outputs=said('1')),
            code('old', outputs=said('old')),
            code('draw()', outputs=[bar, figure, path, warning]),
        ]
    )
    page, changed = module('build').merged(now, ran)
    assert [c.source for c in page.cells] == [
        '# Title',
        "scale = 'auto'",
        "scale = 'smoke'",
        '1',
        'new',
        'draw()',
    ] and changed == 1
    assert [
        [o.get('text') or o.data['text/markdown'] for o in c.outputs] for c in page.cells[3:]
    ] == [['1'], [], ['![](figures/fig04.png)']]


@pytest.mark.parametrize('protocol, last', [(1, '*The kept run printed no conclusion'),
                                            (9, '**5 %**')])
def test_conclusion_of_the_kept_run_stays_where_its_code_changed(module, protocol, last):
    build, title = module('build'), text('## What was seen\n\nErrors.')
    printed = new_output('display_data', {'text/markdown': '**5 %**'})
    ran = new_notebook(cells=[code('1', outputs=[printed]), title, code('old', outputs=[printed])])
    now = new_notebook(cells=[code('1'), title, code('new'), text('## Next'), code('2')])
    build.conclude(now, ran, dict(table2=dict(notebook='05_svhn', protocol=protocol)))
    shown = [[o.data['text/markdown'] for o in c.get('outputs', [])] for c in now.cells]
    assert shown[2][-1].startswith(last) and shown[:2] + shown[3:] == [[]] * 4


def test_results_are_put_under_the_code_that_keeps_them(module):
    build = module('build')
    cells = [code("t = of('table2')"), code("run.keep_table(rows, 'table2')"), text("keep_ 'x'"),
             code("run.keep_figure(fig, f'fig04_{m.name}{at}', 'Fig. 4: walks.')")]
    unseen = [(name, name.upper()) for name in ('fig04_rooms', 'table2', 'fig05_rooms')]
    assert build.put_in_place(unseen, cells) == ['FIG05_ROOMS']
    shown = [[o.data['text/markdown'] for o in c.get('outputs', [])] for c in cells]
    assert shown == [[], ['TABLE2'], [], ['FIG04_ROOMS']]


def test_pictures_are_described_by_their_captions(module, tmp_path, monkeypatch):
    build = module('build')
    monkeypatch.setattr(build, 'figures', tmp_path)
    caption = 'Fig. 4: walks in `Z` [closed]. Each row leads on. Scale: smoke. Data: none.'
    (tmp_path / 'fig04.json').write_text(json.dumps(dict(caption=caption)))
    found = build.described('![](figures/fig04.png) ![fig04](../figures/fig04.png)')
    said = 'Fig. 4: walks in Z closed.'
    assert found == f'![{said}](figures/fig04.png) ![{said}](../figures/fig04.png)'
    for kept in ('![](figures/absent.png)', '![Two words](figures/fig04.png)'):
        assert build.described(kept) == kept


def test_scale_and_data_are_told_where_they_change(module):
    told = [f'Scale: laptop. Data: {name}, 9 images (a. b).' for name in ('mnist', 'svhn')]
    tell = module('build').told_once()
    assert tell(f'Fig. 1. {told[0]}\n\n| a |') == f'Fig. 1. {told[0]}\n\n| a |'
    assert tell(f'*{told[0]}*') == '*Scale and data as above.*'
    assert [tell(t) for t in told[::-1]] == told[::-1]


def test_imports_that_follow_on_imports_are_one_cell(module):
    cells = [
        text('# Title'),
        code('#| export\nimport math'),
        code('import os'),
        code('f = 1'),
        code('import re'),
    ]
    assert [c.source for c in module('build').joined(cells)] == [
        '# Title',
        'import math\n\nimport os',
        'f = 1',
        'import re',
    ]


def test_code_that_follows_on_code_is_folded_with_the_result_below_it(module):
    build = module('build')
    cells = [code('a = 1'), code('b = 2\n\nb'), text('Says'), code('c')]
    cells[1].outputs = [new_output('stream', text='2')]
    found = build.runs(cells)
    assert [c.source for c in found] == ['a = 1\n\nb = 2\n\nb', 'Says', 'c']
    assert found[0].outputs and not found[2].outputs
    folded = build.looks(found[0], True)
    assert folded['tags'] == ['hide-input']
    assert folded['mystnb']['code_prompt_show'] == 'Code, 3 lines'
    assert build.looks(found[2], False) == dict(tags=[])


def test_findings_leave_out_what_is_stale_missing_or_undecided(module, tmp_path):
    found = module('findings')

    def keep(name, **more):
        row = dict(model='DCGAN', ours=1.5, interval=0.25, paper=2.0)
        kept = dict(notebook='05_svhn', rows=[row]) | more
        (tmp_path / f'{name}.json').write_text(json.dumps(kept))

    def result(name):
        return path if (path := tmp_path / f'{name}.json').exists() else None

    def finding(table, model='DCGAN', claim='A*'):
        rows = dict(a=dict(table=table, row=dict(model=model)))
        said = dict(number='{a} %', text=f'{table}: {{a.paper}}.')
        return dict(notebook='05_svhn', ledger=claim, rows=rows, **said)

    number, _ = protocol('05_svhn')
    keep('now', protocol=number)
    keep('old', protocol=number - 1)
    ledger = dict(A1='supported', B='undecided', C1='supported', C2='supported')
    rows = [dict(claim=k, verdict=v, data='svhn') for k, v in ledger.items()]
    keep('claims', rows=rows)
    plan = [finding('old'), finding('absent'), finding('now', 'GAN'), *[finding('now')] * 4]
    plan[:0] = [finding('now', claim=claim) for claim in ('B', 'C*', 'none')]
    told = found.findings(plan, result)
    text = 'now: 2.00. The ledger: supported, on svhn.'
    assert told == [dict(notebook='05_svhn', number='1.50 ± 0.25 %', text=text)] * 3


def test_stale_generators_are_named(module, tmp_path):
    number, why = protocol('10a_explorer')
    for name, off in dict(faces=0, rooms=1).items():
        kept = dict(notebook='10a_explorer', protocol=number - off)
        (tmp_path / f'{name}.json').write_text(json.dumps(kept))
    told = module('generators').outdated(tmp_path)
    assert f'Before a correction: rooms; {why}.' in told and 'faces' not in told


def test_results_at_the_papers_scale_take_the_card(module, tmp_path, monkeypatch):
    build, kept = (
        module('build'),
        lambda ours, scale: json.dumps(
            dict(
                caption=f'Errors. Scale: {scale}. Data: none.',
                rows=[
                    dict(model='A & B', paper=None, ours=ours, interval=0.5),
                    dict(model='cited', paper=3.5, ours=None, interval=None),
                ],
            )
        ),
    )
    monkeypatch.setattr(build, 'figures', tmp_path)
    (tmp_path / 'paper').mkdir(), (tmp_path / 'table2.json').write_text(kept(22.5, 'laptop'))

    def card():
        return build.card('Table 2', '05_svhn', 'Says.', ['table2', 'absent'])

    assert (
        '<td>A &amp; B</td><td></td><td><b>22.50</b> ± 0.50</td>' in card()
        and 'cited' not in card()
        and 'Scale: laptop' in card()
    )
    (tmp_path / 'paper/table2.json').write_text(kept(11.25, 'paper'))
    assert '<b>11.25</b>' in card() and 'Scale: paper' in card() and 'Scale: laptop' not in card()


def test_a_notebook_in_no_group_stops_the_build(module):
    build = module('build')
    with pytest.raises(ValueError, match='16_new: in no group of the sidebar'):
        build.listed(['05_svhn', '16_new', 'index'], build.plan['sidebar'])
    assert build.listed(['10a_explorer', '05_svhn'], build.plan['sidebar']) == [
        '05_svhn',
        '10a_explorer',
    ]
    with pytest.raises(ValueError, match='05_svhn: more than once'):
        build.listed(['05_svhn'], {'one': ['05_svhn'], 'two': ['Digits <05_svhn>']})


def test_links_to_notebooks_in_other_folders_lead_to_their_pages(module):
    flat = module('build').flat
    assert flat('[a](lib/gan/nets.ipynb#fig)') == '[a](/nets.ipynb#fig)'
    assert flat('[b](../../05_svhn.ipynb)') == '[b](/05_svhn.ipynb)'
    assert flat('[c](https://x.org/a/b.ipynb)') == '[c](https://x.org/a/b.ipynb)'
    assert flat('[d](../docs/failing.md) [e](a/b.md)') == '[d](/failing.md) [e](a/b.md)'


def test_a_page_of_docs_shows_only_kept_pictures(module):
    page = '![a](../figures/fig01.png) ![b](../figures/absent.png) [c](../nbs/05_svhn.ipynb)'
    assert module('build').illustrated(page) == '![a](figures/fig01.png)  [c](/05_svhn.ipynb)'


def test_the_house_is_drawn_from_the_imports(module):
    library, house = module('library').Library(root / 'dcgan', ['05_svhn']), module('house')
    assert [*module('build').plan['house']] == layers
    graph = house.graph(library).items()
    found = {package: {to: {*by} for to, by in needs.items()} for package, needs in graph}
    expected = {}
    for path in modules:
        package = path.parent.name
        for (to, _), _ in imports(path):
            if to != package:
                by = expected.setdefault(package, {}).setdefault(to, set())
                by.add(f'{package}.{path.stem}')
    assert found == expected
    with pytest.raises(ValueError, match='base: not in the house'):
        house.house(library, {})
    assert library.linked('`05_svhn`, `06_x`', {}) == '[`05_svhn`](/05_svhn.ipynb), `06_x`'


def test_docments_are_read_from_the_source(module):
    source = (
        "__all__ = ['f']\ndef f(a:int, # first, N×z\n      b=2, # second\n"
        "      **kw): # what comes back\n    'Says'\n"
    )
    ((kind, name, given, _, meaning),) = module('library').entries(source)
    assert (
        (kind, name, given) == ('function', 'f', '(a: int, b=2, **kw)')
        and meaning['a'] == 'first, N×z'
        and meaning['b'] == 'second'
    )
