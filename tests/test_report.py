"The PDF of tables, figures, claims and methods"

import json
import re
import sys
import zlib
from pathlib import Path

import pytest
import yaml

root = Path(__file__).parents[1]
typst = pytest.importorskip('typst', reason='typst is not installed: make setup')
sys.path.append(str(root / 'docs'))
from report import claims, gathered, report, row  # noqa: E402

plan = yaml.safe_load((root / 'docs/site.yml').read_text())
figures = root / 'figures'


def result(name):
    return path if (path := figures / f'{name}.json').exists() else None


def streams(pdf):
    "The content streams of a PDF that hold text"
    for m in re.finditer(rb'stream\r?\n(.*?)endstream', pdf, re.S):
        try:
            text = zlib.decompress(m[1])
        except zlib.error:
            continue  # a picture
        if b' Tf' in text:
            yield text


def strings(text):
    "The strings of a content stream, as bytes; brackets in them are escaped or in pairs"
    names = {b'n': b'\n', b'r': b'\r', b't': b'\t', b'b': b'\b', b'f': b'\f'}
    depth, found = 0, b''
    for m in re.finditer(rb'\\(\d{3}|\d{1,2}|.)|.', text, re.S):
        if m[0] == b')':
            depth -= 1
            if depth == 0:
                yield found
        if depth and m[1]:
            found += bytes([int(m[1], 8)]) if m[1].isdigit() else names.get(m[1], m[1])
        elif depth:
            found += m[0]
        if m[0] == b'(':
            depth += 1
            found = found if depth > 1 else b''


def glyphs(pdf):
    "The numbers of all glyphs; 0 stands for a character that no font has"
    for text in streams(pdf):
        shown = re.sub(rb'<<[^>]*>>BDC', b'', text)  # without what a hyphen is called when copied
        for s in strings(shown):
            assert len(s) % 2 == 0
            yield from (int.from_bytes(s[i : i + 2], 'big') for i in range(0, len(s), 2))


@pytest.fixture(scope='module')
def pdf(tmp_path_factory):
    path = tmp_path_factory.mktemp('report') / 'report.pdf'
    report(plan, figures, result, path)
    return path.read_bytes()


def test_pdf_has_at_most_20_pages_and_all_glyphs(pdf):
    pages = len(report(plan, figures, result, None, 'svg'))
    assert pdf.startswith(b'%PDF') and 5 <= pages <= 20 and len(pdf) < 8e6
    found = [*glyphs(pdf)]
    assert len(found) > 10_000 and found.count(0) == 0


def test_a_missing_glyph_is_found(tmp_path):
    path = tmp_path / 'missing.typ'
    path.write_text('#set text(font: "Libertinus Serif")\n(a) b 中')
    found = [*glyphs(typst.compile(path, ignore_system_fonts=True))]
    assert found.count(0) == 1 and len(found) > 4


def test_tables_pictures_claims_and_provenance_are_those_that_are_kept(tmp_path):
    told = gathered(plan, figures, result, tmp_path)
    entries = {e['title']: e for g in told['groups'] for e in g['entries']}
    kept = json.loads((figures / 'table2.json').read_text())['rows']
    rows = entries['Table 2']['shown'][0]['rows']
    dcgan = next(r for r in kept if r['model'] == 'DCGAN + L2-SVM')
    assert [r[0] for r in rows] == [r['model'] for r in kept] and row(dcgan) in rows
    assert f"{dcgan['ours']:.2f} ± {dcgan['interval']:.2f}" == row(dcgan)[2]
    assert (tmp_path / entries['Figure 1']['shown'][0]['picture']).stat().st_size > 1000
    ledger = json.loads((figures / 'claims.json').read_text())['rows']
    sections, reasons = claims(figures / 'claims.json')
    said = [cells for _, rows in sections for cells in rows]
    assert len(said) == len(ledger)
    assert {reasons[int(cells[-1]) - 1] for cells in said if cells[-1]} == {
        r['why'] for r in ledger if r['why']
    }
    names = {name for name, *_ in told['provenance']}
    assert {'table1', 'table2', 'table3', 'claims'} <= names
    commits = {name: cells[-2] for name, *cells in told['provenance']}
    assert commits['table2'] == json.loads((figures / 'table2.json').read_text())['commit']
