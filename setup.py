"The package, described by settings.ini."

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

parser = ConfigParser(delimiters=['='])
parser.read('settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']
extras = {k: cfg[f'{k}_requirements'].split() for k in ('paper', 'hub', 'dev')}
extras['dev'] += extras['paper']
setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    license='Apache-2.0',
    long_description=Path('README.md').read_text(encoding='utf-8')
    if Path('README.md').exists()
    else '',
    long_description_content_type='text/markdown',
    packages=find_packages(include=['dcgan', 'dcgan.*']),
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg['requirements'].split(),
    extras_require=extras,
    entry_points=dict(console_scripts=[s.strip() for s in cfg['console_scripts'].splitlines()]),
)
