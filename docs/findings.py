"The findings of the front page: sentences of site.yml on what the ledger decides, with numbers"

import json
import re
from fnmatch import fnmatchcase

from dcgan.tools.claims import decided
from dcgan.tools.readings import stale


def row_of(where, result):
    "The row of a kept table that `where` describes; None where it is missing or stale"
    path = result(where['table'])
    kept = json.loads(path.read_text()) if path else None
    if kept is None or stale(kept):
        return None
    wanted = where['row'].items()
    found = [r for r in kept['rows'] if all(r.get(k) == v for k, v in wanted)]
    return found[0] if len(found) == 1 else None


def decided_row(claim, result):
    "The ledger's row of a claim, `*` for any text; None where it is missing or not decided"
    path = result('claims')
    rows = json.loads(path.read_text())['rows'] if path else []
    found = [r for r in rows if fnmatchcase(r['claim'], claim)]
    return found[0] if len(found) == 1 and found[0]['verdict'] in decided else None


def text_of(value):
    return f'{value:.2f}' if isinstance(value, float) else f'{value}'


def filled(template, rows):
    "A sentence with its numbers: {a} is ours ± its interval, {a.column} any column of row a"

    def number(m):
        row, column = rows[m[1]], m[2]
        if column:
            return text_of(row[column])
        return f"{text_of(row['ours'])} ± {text_of(row['interval'])}"

    return re.sub(r'\{(\w+)(?:\.([^}]+))?\}', number, template)


def findings(plan, result, most=3):
    "The first findings that the ledger decides: dicts with link, number, and text with verdict"
    found = []
    for one in plan:
        rows = {name: row_of(where, result) for name, where in one['rows'].items()}
        rows['ledger'] = decided_row(one['ledger'], result)
        if all(rows.values()):
            number, text = (filled(one[part], rows) for part in ('number', 'text'))
            text += filled(' The ledger: {ledger.verdict}, on {ledger.data}.', rows)
            found.append(dict(notebook=one['notebook'], number=number, text=text))
    return found[:most]
