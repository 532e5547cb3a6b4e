"The PDF of tables, figures, claims and methods: figures/*.json and site.yml, set by Typst"

import json
import tempfile
from pathlib import Path

import typst
from findings import findings
from PIL import Image

from dcgan.tools.readings import stale

template = Path(__file__).parent / 'report.typ'


def number(value):
    return '' if value is None else f'{value:.2f}' if isinstance(value, float) else f'{value:,}'


def row(r):
    "Model, the paper's number, ours, and over how many it is"
    name = ', '.join(r[k] for k in ('model', 'labels') if r.get(k))
    ours = number(r['ours'])
    if ours and r['interval'] is not None:
        ours = f"{ours} ± {number(r['interval'])}"
    return [name, number(r['paper']), ours, number(r['n'])]


def shown(path, folder, side=1000):
    "A kept table's rows, or a small copy of a kept picture; with its caption and where it was made"
    kept = json.loads(path.read_text())
    text, _, made = kept['caption'].partition(' Scale: ')
    told = dict(name=path.stem, caption=text, made=made, stale=stale(kept), rows=[], picture='')
    if (picture := path.with_suffix('.png')).exists():
        (small := Image.open(picture).convert('RGB')).thumbnail((side, side))
        small.save(folder / f'{path.stem}.jpg', quality=85)
        return told | dict(picture=f'{path.stem}.jpg', ratio=small.width / small.height)
    return told | dict(rows=[row(r) for r in kept['rows']])


def claims(path):
    "Rows of the ledger by section, reasons numbered: [(section, rows)], reasons"
    kept, reasons, sections = json.loads(path.read_text()), {}, {}
    for r in kept['rows']:
        why = reasons.setdefault(r['why'], len(reasons) + 1) if r['why'] else ''
        ours = ' '.join(
            filter(None, [r['ours'], r['95 % interval'] and f"({r['95 % interval']})"])
        )
        cells = [r['claim'], r['paper'], ours, r['data'], r['verdict'], str(why)]
        sections.setdefault(r['section'], []).append(cells)
    return [*sections.items()], [*reasons]


def provenance(path):
    "A row of the appendix"
    kept = json.loads(path.read_text())
    data = ', '.join(dict.fromkeys(f"{d['name']} {d['n']:,}" for d in kept['datasets']))
    first = min(kept.get('files', {}).items(), default=('', ''))
    made = [kept[k] for k in ('notebook', 'scale')]
    minutes = f"{kept['seconds'] / 60:.1f}"
    return [path.stem, *made, data, str(kept['seed']), minutes, kept['commit'], first[1][:12]]


def gathered(plan, figures, result, folder):
    "All that the template is told"
    groups = [
        dict(title=title, entries=[
            dict(title=c['title'], notebook=c['notebook'], paper=c['paper'],
                 shown=[shown(p, folder) for p in map(result, c['shows']) if p])
            for c in cards])
        for title, cards in plan['gallery'].items()
    ]
    ledger, reasons = claims(path) if (path := figures / 'claims.json').exists() else ([], [])
    made = [p for p in sorted(figures.glob('*.json')) if 'notebook' in json.loads(p.read_text())]
    return dict(findings=findings(plan['findings'], result), groups=groups, claims=ledger,
                reasons=reasons, provenance=[provenance(p) for p in made])


def report(plan, figures, result, to, format='pdf'):
    "Write the PDF; with format svg or png, the bytes of each page come back"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told = gathered(plan, figures, result, folder)
        (folder / 'report.json').write_text(json.dumps(told))
        (folder / 'report.typ').write_text(template.read_text())
        made = typst.compile(folder / 'report.typ', format=format, ignore_system_fonts=True)
    if format == 'pdf':
        to.write_bytes(made)
    return made if isinstance(made, list) else [made]
